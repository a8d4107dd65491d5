"""Baseline files: JSON with one value a line, sorted, so that a change is read in a diff.

Import it lazily: pydantic takes a while.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_sae.errors import BaselineError
from pytest_sae.gate.baseline import Baseline, Entry, entries_of
from pytest_sae.gate.published import entries_published
from pytest_sae.records.influence_file import read_influence, write_influence

VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Value(_Strict):
    sae: str
    metric: str
    params: dict[str, bool | int | float | str]
    value: float
    se: float | None
    ci: list[float | None] | None
    n: dict[str, int]
    seeds: int
    made: str


class _File(_Strict):
    baseline_version: Literal[1]
    saes: dict[str, str]
    made: dict[str, dict[str, str]]
    values: list[_Value]


def layout(entries: Sequence[Entry]) -> str:
    """Return the text of a baseline file: the same for the same entries, one value a line."""
    ordered = sorted(entries, key=lambda entry: entry.order)
    saes = {entry.sae: entry.fingerprints.get("sae", "") for entry in ordered}
    made = {_mark(entry): _made(entry) for entry in ordered}
    values = [_line(_value(entry)) for entry in ordered]
    return (
        f'{{\n"baseline_version": {VERSION},\n'
        f'"saes": {_table(saes)},\n"made": {_table(dict(sorted(made.items())))},\n'
        f'"values": [{_block(values)}]\n}}\n'
    )


def _made(entry: Entry) -> dict[str, str]:
    # Of the code only what decides: otherwise every release would touch every line.
    kept = {name: mark for name, mark in sorted(entry.fingerprints.items()) if name != "sae"}
    return {**kept, "code": kept["code"].rpartition("/")[2]} if "code" in kept else kept


def _mark(entry: Entry) -> str:
    return hashlib.sha256(_line(_made(entry)).encode()).hexdigest()[:8]


def _value(entry: Entry) -> dict[str, Any]:
    names = ("sae", "metric", "params", "value", "se", "ci", "n", "seeds")
    told = {name: getattr(entry, name) for name in names}
    return {**told, "params": dict(sorted(entry.params.items())), "made": _mark(entry)}


def _table(pairs: Mapping[str, object]) -> str:
    return f"{{{_block([f'{_line(name)}: {_line(value)}' for name, value in pairs.items()])}}}"


def _block(lines: Sequence[str]) -> str:
    return "\n" + ",\n".join(lines) + "\n" if lines else ""


def _line(value: object) -> str:
    # json writes floats with repr: what is read is to the bit what was written.
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_baseline(path: Path, shown: str) -> Baseline:
    """Read a baseline: a file of values, a report.json, one of SAEBench's, or a directory of them.

    Args:
        path: the file or directory.
        shown: how messages and reports call it.

    Returns:
        The values of all its files, sorted.

    Raises:
        BaselineError: nothing there, none of these formats, of a run that did not end, or two
            values for one key.
    """
    if not path.exists():
        raise BaselineError(
            f"{shown} does not exist: there is no baseline yet. Expected one of an earlier run: "
            f"make it with --sae-baseline={shown} --sae-baseline-update, and commit it."
        )
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise BaselineError(
            f"{shown} is a directory without a baseline. Expected *.json files, which "
            "--sae-baseline-update writes."
        )
    entries = [entry for file in files for entry in read_entries(file)]
    _check_once(entries, shown)
    return Baseline(shown, sorted(entries, key=lambda entry: entry.order))


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.json"))


def read_entries(path: Path) -> list[Entry]:
    """Read the values of one file; `read_baseline` says the rest."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BaselineError(f"{path} cannot be read: {error.strerror}.") from None
    if is_report(raw):
        return _entries_of_report(path)
    return entries_published(raw, path) if is_published(raw) else _entries_of_file(raw, path)


def is_report(raw: bytes) -> bool:
    """Whether a file is a report.json, which only a run writes, and no baseline file."""
    return "measurements" in _document(raw)


def is_published(raw: bytes) -> bool:
    """Whether a file is a result file of SAEBench, and no baseline file."""
    return "eval_result_metrics" in _document(raw)


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _entries_of_report(path: Path) -> list[Entry]:
    from pytest_sae.records.row import values_of
    from pytest_sae.records.schema import read_values

    report = read_values(path)
    if not report.complete:
        raise BaselineError(
            f"{path} is of a run that did not end, or missed something. "
            "Expected a complete run to compare with."
        )
    try:
        influence = read_influence(path, values_of(report.measurements))
        return entries_of(report.measurements, influence)
    except ValueError as error:
        raise BaselineError(f"{path}: {error}.") from None


def _entries_of_file(raw: bytes, path: Path) -> list[Entry]:
    try:
        file = _File.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BaselineError(f"{path} is no baseline: {where}: {first['msg']}.") from None
    for value in file.values:
        if value.made not in file.made or value.sae not in file.saes:
            raise BaselineError(
                f"{path}: {value.metric} of {value.sae} was made {value.made!r}, and the file "
                "does not say with what. Expected its tables saes and made to have both."
            )
    entries = [_entry(value, file) for value in file.values]
    _check_once(entries, str(path))
    found = read_influence(path, {entry.key: entry.value for entry in entries})
    return [replace(entry, influence=found.get(entry.key, ())) for entry in entries]


def _entry(value: _Value, file: _File) -> Entry:
    told = value.model_dump(exclude={"made"})
    fingerprints = dict(file.made[value.made])
    if file.saes[value.sae]:
        fingerprints["sae"] = file.saes[value.sae]
    return Entry(**told, fingerprints=fingerprints)


def _check_once(entries: Sequence[Entry], shown: str) -> None:
    seen = set()
    for entry in entries:
        if entry.key in seen:
            raise BaselineError(
                f"{shown} has two values for {entry.key[1]} of {entry.sae}. Expected one."
            )
        seen.add(entry.key)


def check_updatable(path: Path, shown: str) -> None:
    """Refuse to update what holds reports, or results of others.

    Args:
        path: the file or directory; what is not there yet may be written.
        shown: how the message calls a file.

    Raises:
        BaselineError: a file to be written is a report, or of others.
    """
    for file in _files(path) if path.is_dir() else [path]:
        raw = file.read_bytes() if file.is_file() else b""
        if is_report(raw) or is_published(raw):
            what = "a report, which only a run writes" if is_report(raw) else "SAEBench's"
            raise BaselineError(
                f"{file.name if path.is_dir() else shown} is {what}. "
                "Expected --sae-baseline to name a directory, or a file for values alone."
            )


def write_baseline(
    path: Path, entries: Sequence[Entry], limit: int = 0
) -> tuple[list[Path], list[str]]:
    """Write a baseline, each file whole or not at all: one for all SAEs, or a directory.

    Args:
        path: a file (*.json), or a directory, which gets one file for each SAE.
        entries: all of its values.
        limit: most bytes that are kept of what each text adds to the errors, for one SAE.

    Returns:
        The files that changed, and what of the texts was not kept, a sentence each.
    """
    if path.is_dir() or (path.suffix != ".json" and not path.is_file()):
        grouped = groupby(sorted(entries, key=lambda e: e.order), key=lambda entry: entry.sae)
        files = {path / f"{sae}.json": list(group) for sae, group in grouped}
    else:
        files = {path: list(entries)}
    changed: list[Path] = []
    left_out: list[str] = []
    for file, held in files.items():
        changed += [file] if _written(file, layout(held)) else []
        beside = write_influence(
            file,
            {entry.key: entry.value for entry in held},
            {entry.key: entry.influence for entry in held},
            limit,
        )
        changed += [beside.file] if beside.file else []
        left_out += beside.left_out
    return changed, left_out


def _written(path: Path, text: str) -> bool:
    from pytest_sae.records.schema import write_whole

    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_whole(path, text)
    return True
