"""The schema of report.json, and the way into and out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_sae.cli import main
from pytest_sae.errors import PytestSAEError
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.report import Report
from pytest_sae.records.schema import (
    builtins,
    checked,
    json_schema,
    parsed,
    read_report,
    write_report,
)
from pytest_sae.records.written import WrittenReport, packed, unpacked
from tests.reports.examples import estimates, report, row, rule

SCHEMA = Path(__file__).parents[2] / "pytest_sae/reports/schema.json"


def test_the_committed_schema_is_that_of_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == json_schema()


def test_a_report_fits_its_schema_and_is_read_back(tmp_path: Path) -> None:
    path = write_report(report(), tmp_path)
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    assert read_report(path) == report()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["report.details.jsonl", "report.json"]


@settings(max_examples=40, deadline=None)
@given(st.lists(estimates, max_size=4))
def test_whatever_was_measured_fits_the_schema(measured: list[Estimate]) -> None:
    whole = report([row(each, rule("l0", min=0.1)) for each in measured])
    assert checked(Report, builtins(whole)) == whole
    text = json.dumps(builtins(packed(whole, None)), allow_nan=False)
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text()))
    rows = [replace(each, details={}) for each in whole.measurements]
    assert unpacked(parsed(WrittenReport, text)) == replace(whole, measurements=(*rows,))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"extra": 1}, "extra"),
        ({"schema_version": 5}, "schema_version"),
        ({"verdict": "green"}, "verdict"),
        ({"duration": float("nan")}, "duration"),
        ({"measurements": [{}]}, "measurements.0.sae"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    (tmp_path / "report.json").write_text(
        json.dumps({**builtins(packed(report(), None)), **change})
    )
    with pytest.raises(PytestSAEError, match=where):
        read_report(tmp_path / "report.json")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_report_that_does_not_fit_is_not_written(tmp_path: Path) -> None:
    for change in ({"verdict": "green"}, {"duration": float("nan")}, {"exit_status": "1"}):
        with pytest.raises(ValidationError, match=next(iter(change))):
            write_report(report(**change), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', "\x00"])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(PytestSAEError, match="no report of this version"):
        read_report(tmp_path / "report.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PytestSAEError, match="No such file"):
        read_report(tmp_path / "report.json")


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == json_schema()
