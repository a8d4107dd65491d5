"""The schema of report.json: pydantic models, and the checked way to read and write it.

Import it lazily: pydantic takes a while.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pytest_sae.errors import PytestSAEError
from pytest_sae.gate.verdict import VerdictName
from pytest_sae.numbers.control import Expected
from pytest_sae.records.audit import Audit

NAME = "report.json"
Outcome = Literal[
    "passed", "failed", "error", "skipped", "xfailed", "xpassed", "crashed", "missing"
]
Param = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Regression(_Strict):
    """How much worse than a baseline is too much: more than the tolerance and than the noise."""

    abs: float
    rel: float
    sigma: float


class Rule(_Strict):
    """The bounds that a measurement was judged by."""

    name: str
    min: float | None
    max: float | None
    max_se: float | None
    regression: Regression | None
    gate: bool
    optional: bool
    reason: str
    override: str
    file: str
    line: int


class Baseline(_Strict):
    """What a measurement was compared with."""

    source: str
    value: float | None
    se: float | None
    differs: list[str]
    required: bool
    paired: float | None


class Control(_Strict):
    """What the metric of a measurement says of a control, and whether that is as it must be."""

    control: str
    expected: Expected
    direction: Literal["higher", "lower", "none"]
    value: float | None
    se: float | None
    ci: list[float | None] | None
    n: dict[str, int]
    status: Literal["ok", "undefined", "not_applicable", "no_data"]
    reason: str
    chance: float
    fingerprint: str
    paired: float | None
    holds: bool | None


class Measurement(_Strict):
    """One metric of one SAE at one setting, with its verdict."""

    sae: str
    metric: str
    params: dict[str, Param]
    value: float | None
    se: float | None
    ci: list[float | None] | None
    n: dict[str, int]
    seeds: int
    direction: Literal["higher", "lower", "none"]
    unit: str
    range: list[float | None] = Field(min_length=2, max_length=2)
    status: Literal["ok", "undefined", "not_applicable", "no_data"]
    reason: str
    verdict: VerdictName
    rule: Rule | None
    baseline: Baseline | None
    # Reports from before there were controls have none.
    controls: list[Control] = []
    seconds: float
    peak_memory: int
    fingerprints: dict[str, str]
    details: dict[str, JsonValue]
    nodeid: str
    outcome: Outcome
    worker: str


class SAE(_Strict):
    """A dictionary of the run."""

    id: str
    path: str
    text: str


class Notable(_Strict):
    """A test that left no record, or did not simply pass."""

    nodeid: str
    sae: str | None
    outcome: Outcome
    reason: str


class ThresholdsFile(_Strict):
    """A file of bounds that was used."""

    file: str
    sha256: str


class Update(_Strict):
    """What a run did to the baseline."""

    baseline: str
    changes: list[str]
    files: list[str]


class Shard(_Strict):
    """Which part of the SAEs a run evaluated, and which SAEs there are."""

    which: int
    count: int
    saes: list[str]


class Report(_Strict):
    """report.json: everything that a run measured and decided."""

    schema_version: Literal[1]
    complete: bool
    verdict: VerdictName
    problems: list[str]
    exit_status: int
    started: str
    duration: float
    argv: list[str]
    versions: dict[str, str]
    options: dict[str, JsonValue]
    thresholds: list[ThresholdsFile]
    saes: list[SAE]
    shard: Shard | None
    update: Update | None
    measurements: list[Measurement]
    tests: list[Notable]
    environment: dict[str, JsonValue]
    models: dict[str, JsonValue]
    data: dict[str, JsonValue]
    work: dict[str, JsonValue]
    audit: Audit | None = None


def json_schema() -> str:
    """Return the JSON Schema of report.json, as committed in schema.json."""
    return json.dumps(Report.model_json_schema(), indent=2, sort_keys=True) + "\n"


def write_report(report: Mapping[str, Any], directory: Path) -> Path:
    """Check a report and write it, whole or not at all.

    Raises:
        pydantic.ValidationError: the report is not what the schema says (a defect of this package).
    """
    checked = Report.model_validate(report).model_dump(mode="json")
    text = json.dumps(checked, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return write_whole(directory / NAME, text)


def write_whole(path: Path, text: str) -> Path:
    """Write a file so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.json.

    Raises:
        PytestSAEError: no file, no JSON, or not of this schema; says where.
    """
    try:
        return Report.model_validate_json(path.read_bytes()).model_dump(mode="json")
    except OSError as error:
        raise PytestSAEError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PytestSAEError(
            f"{path} is no report of this version: {where}: {first['msg']}."
        ) from None


# What may differ between two runs of the same thing: when, how long, by whom, into what.
_RUN_TIMES = ("started", "duration", "argv", "work")
_ROW_TIMES = ("seconds", "peak_memory", "worker")


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report without what differs from run to run: times, memory, workers, argv."""
    kept = {key: value for key, value in report.items() if key not in _RUN_TIMES}
    kept["options"] = {k: v for k, v in report["options"].items() if k not in ("report", "cache")}
    kept["measurements"] = [
        {key: value for key, value in row.items() if key not in _ROW_TIMES}
        for row in report["measurements"]
    ]
    return kept
