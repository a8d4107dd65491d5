"""The schema of report.json, and the checked way into and out of JSON.

Import it lazily: pydantic takes a while.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pytest_sae.errors import PytestSAEError, ReportError
from pytest_sae.records.builtin import writable_in
from pytest_sae.records.details_file import digest, lines_of, sidecar, with_details
from pytest_sae.records.fields import Json
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.written import LINES, DetailsFile, WrittenReport, packed, unpacked

T = TypeVar("T")

#: What the published schema calls the classes that have another name here.
_PUBLISHED = {
    "WrittenReport": "Report",
    "WrittenRow": "Measurement",
    "WrittenSpec": "Metric",
    "WrittenMeasured": "Measured",
    "WrittenSource": "Source",
    "WrittenAgainst": "Baseline",
    "WrittenControl": "Control",
    "WrittenDictionary": "ControlOf",
    "WrittenPlan": "Plan",
    "WrittenItems": "Items",
    "DetailsFile": "Details",
    "AppliedRule": "Rule",
    "Relative": "Bound",
    "Tolerance": "Regression",
}
# Versions whose file was a Report as it is here.
_UNPACKED = (1, 2, 3)


_JSON: Any = {"allow_nan": False, "ensure_ascii": False}
_adapters: dict[type[Any], Any] = {}


def _adapter(kind: type[Any]) -> Any:
    # Each is built when it is first needed, and takes a while.
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def parsed(kind: type[T], told: str | bytes) -> T:
    """Return a record that stands in JSON.

    Args:
        kind: its class.
        told: the JSON.

    Raises:
        pydantic.ValidationError: it is not what the class says.
    """
    record: T = _adapter(kind).validate_json(told)
    return record


def checked(kind: type[T], told: Mapping[str, Any]) -> T:
    """Return a record that travelled as builtins; `parsed` says the rest.

    Args:
        kind: its class.
        told: its fields, as `builtins` gives them.
    """
    # As JSON, whose lists become tuples: no conversion of any other kind is let through.
    return parsed(kind, json.dumps(told))


def builtins(record: Any) -> dict[str, Any]:
    """Return a record as builtins: for another process, or for JSON."""
    told: dict[str, Any] = writable_in(_adapter(type(record)).dump_python(record, mode="json"))
    return told


def json_schema() -> str:
    """Return the JSON Schema of report.json, as committed in schema.json."""
    schema = _adapter(WrittenReport).json_schema()
    for each in (schema, *schema["$defs"].values()):
        if "description" in each:
            each["description"] = each["description"].partition("\n\n")[0]
    text = re.sub(r'"(#/\$defs/)?(\w+)"', _renamed, json.dumps(schema))
    return json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def _renamed(found: re.Match[str]) -> str:
    return f'"{found[1] or ""}{_PUBLISHED.get(found[2], found[2])}"'


def write_report(report: Report, directory: Path) -> Path:
    """Check a report and write it, and its details beside it, each file whole or not at all.

    Args:
        report: all of it.
        directory: where to; it is made if it is missing.

    Returns:
        The file, report.json.

    Raises:
        pydantic.ValidationError: the report is not what the schema says (a defect of this package).
    """
    path = directory / NAME
    beside, lines = sidecar(path), lines_of(report.measurements)
    file = DetailsFile(beside.name, digest(lines.encode())) if lines else None
    text = _layout(builtins(checked(WrittenReport, builtins(packed(report, file)))))
    if lines:
        # First: until the report is there too, the one that stands there takes them for another's.
        write_whole(beside, lines)
    write_whole(path, text)
    if not lines:
        beside.unlink(missing_ok=True)
    return path


def _layout(told: Mapping[str, Any]) -> str:
    """One line for each row and for each entry of what rows share."""
    plan = {name: _lines(value) for name, value in told["plan"].items()}
    parts = {
        name: _lines(value) if name in LINES else json.dumps(value, indent=1, **_JSON)
        for name, value in told.items()
    } | {"plan": _braced(plan)}
    return _braced(parts) + "\n"


def _braced(parts: Mapping[str, str]) -> str:
    told = ",\n".join(f"{json.dumps(name)}: {text}" for name, text in parts.items())
    return "{\n" + told + "\n}"


def _lines(entries: Iterable[Any]) -> str:
    told = [json.dumps(each, separators=(",", ":"), **_JSON) for each in entries]
    return "[\n" + ",\n".join(told) + "\n]" if told else "[]"


def write_whole(path: Path, text: str) -> Path:
    """Write a file so that no reader ever sees half of it.

    Args:
        path: of the file; its directory is made if it is missing.
        text: written as UTF-8.

    Returns:
        The path.

    Raises:
        OSError: it cannot be written; what stood there stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return path


def read_report(path: Path | str) -> Report:
    """Read a report.json with the details that stand beside it.

    Args:
        path: of the file, or of its directory.

    Returns:
        The report; where its details are missing, or are another's, its last remark says so.

    Raises:
        PytestSAEError: no file, no JSON, or not of this schema; says where.
    """
    path = _file(path)
    report, details = _read(path)
    return with_details(report, path, details) if details else report


def read_values(path: Path | str) -> Report:
    """Read a report.json without its details: all that was measured and decided.

    Args:
        path: of the file, or of its directory.

    Raises:
        PytestSAEError: no file, no JSON, or not of this schema; says where.
    """
    return _read(_file(path))[0]


def _file(path: Path | str) -> Path:
    path = Path(path)
    return path / NAME if path.is_dir() else path


@dataclass(frozen=True)
class _Versioned:
    schema_version: Json


def _read(path: Path) -> tuple[Report, DetailsFile | None]:
    try:
        raw = path.read_bytes()
        if parsed(_Versioned, raw).schema_version in _UNPACKED:
            return parsed(Report, raw), None
        written = parsed(WrittenReport, raw)
        return unpacked(written), written.details
    except OSError as error:
        raise PytestSAEError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PytestSAEError(
            f"{path} is no report of this version: {where}: {first['msg']}."
        ) from None
    except (ReportError, ValueError) as error:
        raise PytestSAEError(f"{path} is no report of this version: {error}.") from None
