"""The schema of report.json, and the checked way into and out of JSON.

Import it lazily: pydantic takes a while.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pytest_sae.errors import PytestSAEError
from pytest_sae.records.builtin import writable
from pytest_sae.records.report import NAME, Report

T = TypeVar("T")

#: What the published schema calls the classes that have another name here.
_PUBLISHED = {
    "Row": "Measurement",
    "AppliedRule": "Rule",
    "Relative": "Bound",
    "Tolerance": "Regression",
    "Against": "Baseline",
    "JudgedControl": "Control",
}


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
    told: dict[str, Any] = _writable(_adapter(type(record)).dump_python(record, mode="json"))
    return told


def _writable(value: Any) -> Any:
    """Names of files may be no UTF-8, and somebody's texts no whole characters."""
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, dict):
        return {writable(key): _writable(each) for key, each in value.items()}
    return [_writable(each) for each in value] if isinstance(value, list) else value


def json_schema() -> str:
    """Return the JSON Schema of report.json, as committed in schema.json."""
    schema = _adapter(Report).json_schema()
    for each in (schema, *schema["$defs"].values()):
        if "description" in each:
            each["description"] = each["description"].partition("\n\n")[0]
    text = re.sub(r'"(#/\$defs/)?(\w+)"', _renamed, json.dumps(schema))
    return json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def _renamed(found: re.Match[str]) -> str:
    return f'"{found[1] or ""}{_PUBLISHED.get(found[2], found[2])}"'


def write_report(report: Report, directory: Path) -> Path:
    """Check a report and write it, whole or not at all.

    Args:
        report: all of it.
        directory: where to; it is made if it is missing.

    Returns:
        The file, report.json.

    Raises:
        pydantic.ValidationError: the report is not what the schema says (a defect of this package).
    """
    told = builtins(checked(Report, builtins(report)))
    text = json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return write_whole(directory / NAME, text)


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
    """Read a report.json.

    Args:
        path: of the file, or of its directory.

    Raises:
        PytestSAEError: no file, no JSON, or not of this schema; says where.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    try:
        return parsed(Report, path.read_bytes())
    except OSError as error:
        raise PytestSAEError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PytestSAEError(
            f"{path} is no report of this version: {where}: {first['msg']}."
        ) from None
