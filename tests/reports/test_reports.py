"""Reports: the schema, and everything that is drawn from report.json alone."""

from __future__ import annotations

import copy
import json
import os
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
from pytest_sae.records.row import to_builtin
from pytest_sae.records.schema import json_schema, read_report, write_report
from pytest_sae.reports.assemble import merged, run_verdict
from pytest_sae.reports.github import append_summary, workflow_commands
from pytest_sae.reports.html import html
from pytest_sae.reports.markdown import markdown
from pytest_sae.reports.summary import failures, verdict_line
from tests.reports.examples import estimates, report, row, rule, texts

SCHEMA = Path(__file__).parents[2] / "pytest_sae/reports/schema.json"


def test_the_committed_schema_is_that_of_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == json_schema()


def test_a_report_fits_its_schema_and_is_read_back(tmp_path: Path) -> None:
    path = write_report(report(), tmp_path)
    document = json.loads(path.read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert read_report(path) == document == report()
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


@settings(max_examples=40, deadline=None)
@given(st.lists(estimates, max_size=4))
def test_whatever_was_measured_fits_the_schema(measured: list[Estimate]) -> None:
    whole = report([row(each, rule("l0", min=0.1)) for each in measured])
    text = json.dumps(whole, allow_nan=False)
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"extra": 1}, "extra"),
        ({"schema_version": 2}, "schema_version"),
        ({"verdict": "green"}, "verdict"),
        ({"duration": float("nan")}, "duration"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    with pytest.raises(ValidationError, match=where):
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


def test_the_run_is_as_bad_as_its_worst_row() -> None:
    rows = report()["measurements"]
    assert run_verdict(rows, [], [], True) == "fail"
    unfailed = [each for each in rows if each["verdict"] != "fail"]
    assert run_verdict(unfailed, [], [], True) == "unmeasured"
    green = [each for each in unfailed if each["verdict"] != "unmeasured"]
    assert run_verdict(green, [], [], True) == "pass"
    assert run_verdict(green, [], ["a test was lost"], True) == "unmeasured"
    assert run_verdict(green, [{"outcome": "failed"}], [], True) == "fail"
    assert run_verdict(rows, [], [], False) == "ungated"
    assert run_verdict(rows, [], ["a test was lost"], False) == "unmeasured"


def test_what_workers_say_is_united_whoever_did_what() -> None:
    one = {"device": "cpu", "models": {"a": "1"}, "work": {"passes": 3}}
    two = {"device": "cpu", "models": {"b": "2"}, "work": {"passes": 5}}
    united = merged({"gw0": one, "gw1": two})
    assert united == {
        "environment": {"device": "cpu"}, "models": {"a": "1", "b": "2"}, "data": {},
        "work": {"gw0": {"passes": 3}, "gw1": {"passes": 5}},
    }  # fmt: skip
    assert one["models"] == {"a": "1"}
    both = merged({"main": {**one, "models": {"a": "1", "b": "2"}}})
    assert {**both, "work": {}} == {**united, "work": {}}
    assert merged({"gw0": one, "gw1": {**two, "device": "cuda"}})["environment"] == {
        "device": ["cpu", "cuda"]
    }


def test_the_first_line_says_the_verdict_and_the_counts() -> None:
    line = "SAE gate: fail (1 fail, 1 pass, 2 ungated, 1 unmeasured; 1 SAE)"
    assert verdict_line(report()) == line
    assert verdict_line(report(complete=False)).startswith("SAE gate: fail, incomplete (1 fail")
    assert markdown(report()).startswith(f"## {line}\n")
    assert f"<title>{line}</title>" in html(report())


def test_failures_come_first_with_their_rule() -> None:
    assert failures(report(problems=["lost"])) == [
        "lost",
        "explained_variance 0.6120 < min 0.7000 [topk]  bounds.toml:3",
        "tpp:n=20 unmeasured: measuring tpp failed: <b>no</b> | room [topk]",
    ]


def test_markdown_has_failures_before_what_is_folded() -> None:
    text = markdown(report())
    folded = text.index("<details><summary>3 measurements that do not fail")
    assert text.index("| topk | explained\\_variance | 0.6120 ± 0.0060 | min 0.7 | fail |") < folded
    assert text.index("| topk | scr:n=2 | -0.1000 | - | ungated |") > folded
    assert "&lt;b&gt;no&lt;/b&gt; \\| room" in text


@settings(max_examples=40, deadline=None)
@given(st.lists(estimates, max_size=3), texts)
def test_no_text_of_a_report_draws_anything(measured: list[Estimate], sae: str) -> None:
    whole = report([row(each, sae=sae) for each in measured], problems=[sae])
    shown = markdown(whole)
    assert "<script" not in shown
    assert all(
        line.count("|") - line.count("\\|") == 7
        for line in shown.splitlines()
        if line.startswith("| ")
    )


def test_the_summary_of_a_step_is_appended_and_never_above_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(path)}
    path.write_text("before\n")
    append_summary("after\n", environment)
    assert path.read_text() == "before\nafter\n"
    append_summary("| ü |\n" * 300_000, environment)
    assert path.stat().st_size <= 1024 * 1024
    assert path.read_text().endswith("(cut: the whole report is in report.md)\n")
    append_summary("more\n", environment)
    assert path.stat().st_size <= 1024 * 1024
    append_summary("x", {})


def test_annotations_stand_at_the_rule_and_are_escaped() -> None:
    whole = report()
    whole["measurements"][0]["reason"] = "50 % < min\n::error::"
    whole["measurements"][0]["rule"]["file"] = "a,b:c.toml"
    github = {"GITHUB_ACTIONS": "true"}
    first, second = workflow_commands(whole, github)
    assert first == (
        "::error file=a%2Cb%3Ac.toml,line=3,title=SAE gate::"
        "explained_variance 50 %25 < min%0A::error:: [topk]"
    )
    assert second.startswith("::error title=SAE gate::tpp:n=20 unmeasured")
    assert workflow_commands(whole, {}) == workflow_commands(whole, {"GITHUB_ACTIONS": "1"}) == []
    many = report([copy.deepcopy(whole["measurements"][0]) for _ in range(30)])
    assert len(workflow_commands(many, github)) == 10


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.floats() | st.booleans() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_builtins_stay_what_they_are_but_for_nan(value: Any) -> None:
    built = to_builtin(value)
    text = json.dumps(built, allow_nan=False)
    assert json.loads(text) == built
    if "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value):
        assert built == value


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == json_schema()


def test_the_command_redraws_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_report(report(), tmp_path)
    assert main(["report", str(path), "--output", str(tmp_path / "drawn")]) == 0
    assert sorted(os.listdir(tmp_path / "drawn")) == ["report.html", "report.md"]
    assert (tmp_path / "drawn/report.md").read_text() == markdown(report())
    assert capsys.readouterr().out.startswith("SAE gate: fail")
    assert main(["report", str(tmp_path / "nothing.json")]) == 2
    assert capsys.readouterr().err.startswith("pytest-sae: ")
