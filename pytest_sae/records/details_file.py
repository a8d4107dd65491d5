"""The details of a report's rows, one JSON line each, in a file beside the report.

    sidecar(path) -> Path                     report.json has report.details.jsonl
    lines_of(rows) -> text of the file        of all details that are not kept with their rows
    with_details(report, path, file) -> Report    with a remark where they cannot be had

The report names the file's checksum, so that details of another report are never taken for its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_sae.errors import ReportError
from pytest_sae.records.builtin import writable_in
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.written import KEPT, DetailsFile

_LEFT_OUT = "curves, tables and evidence of its rows are left out"


@dataclass(frozen=True)
class _Line:
    """Of which row details are, by its place among the measurements and by name."""

    row: int
    sae: str
    metric: str
    params: dict[str, object]
    details: dict[str, object]


def sidecar(path: Path) -> Path:
    """Return the file beside a report that holds its details."""
    return path.with_suffix(".details.jsonl")


def lines_of(rows: Sequence[Row]) -> str:
    """Return the text of the file, empty where no row has more than what is kept with it.

    Args:
        rows: of the report, in its order.
    """
    return "".join(f"{line}\n" for line in _told(rows))


def _told(rows: Sequence[Row]) -> Iterator[str]:
    for place, row in enumerate(rows):
        details = {name: each for name, each in row.details.items() if name not in KEPT}
        if details:
            line = _Line(place, row.sae, row.metric, {**row.params}, details)
            yield json.dumps(writable_in(vars(line)), allow_nan=False, ensure_ascii=False)


def digest(raw: bytes) -> str:
    """Return what a report knows its file by."""
    return hashlib.sha256(raw).hexdigest()


def with_details(report: Report, path: Path, file: DetailsFile) -> Report:
    """Return a report with the details that stand beside it, or with a remark that says why not.

    Args:
        report: as read.
        path: of report.json.
        file: what it says of the file.
    """
    beside = sidecar(path)
    try:
        raw = beside.read_bytes()
    except FileNotFoundError:
        return _remarked(report, f"{beside.name} is not beside {path.name}. Move both together")
    except OSError as error:
        return _remarked(report, f"{beside.name} cannot be read: {error.strerror}")
    if digest(raw) != file.sha256:
        return _remarked(report, f"{beside.name} belongs to another report than {path.name}")
    try:
        return replace(report, measurements=_joined(report.measurements, raw))
    except (ValueError, TypeError, LookupError, RecursionError, ReportError) as error:
        return _remarked(report, f"{beside.name} holds no details of {path.name}: {error}")


def _remarked(report: Report, why: str) -> Report:
    return replace(report, remarks=(*report.remarks, f"{_LEFT_OUT}: {why}"))


def _joined(rows: Sequence[Row], raw: bytes) -> tuple[Row, ...]:
    joined = [*rows]
    for told in raw.decode().split("\n")[:-1]:
        line = _Line(**json.loads(told, parse_constant=_refused))
        row = joined[line.row]
        if (row.sae, row.metric, row.params) != (line.sae, line.metric, line.params):
            raise ReportError(f"row {line.row} is not {line.metric} of {line.sae}")
        joined[line.row] = replace(row, details={**row.details, **line.details})
    return tuple(joined)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
