"""Reports: everything that is drawn from report.json alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.cli import main
from pytest_sae.metrics import protocol
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.schema import write_report
from pytest_sae.reports import audit
from pytest_sae.reports.github import append_summary, workflow_commands
from pytest_sae.reports.html import html
from pytest_sae.reports.markdown import markdown
from pytest_sae.reports.summary import failures, remark_lines, verdict_line
from tests.reports.examples import estimates, report, row, rows, texts


def test_the_audit_is_shown_at_the_number_of_latents_that_metrics_headline() -> None:
    assert audit.HEADLINE_N == protocol.HEADLINE_N


def test_the_first_line_says_the_verdict_and_the_counts() -> None:
    line = "SAE gate: fail (1 fail, 1 pass, 2 ungated, 1 unmeasured; 1 SAE)"
    assert verdict_line(report()) == line
    assert verdict_line(report(complete=False)).startswith("SAE gate: fail, incomplete (1 fail")
    assert markdown(report()).startswith(f"## {line}\n")
    assert f"<title>{line}</title>" in html(report())


def test_failures_come_first_with_their_rule() -> None:
    assert failures(report(problems=("lost",))) == [
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
    whole = report([row(each, sae=sae) for each in measured], problems=(sae,))
    shown = markdown(whole)
    assert "<script" not in shown
    tables = [part.splitlines() for part in shown.split("\n\n") if part.startswith("| ")]
    for lines in tables:
        assert len({line.count("|") - line.count("\\|") for line in lines}) == 1


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
    failed = rows()[0]
    assert failed.rule is not None
    odd = replace(failed.rule, file="a,b:c.toml")
    failed = replace(failed, reason="50 % < min\n::error::", rule=odd)
    whole = report([failed, *rows()[1:]])
    github = {"GITHUB_ACTIONS": "true"}
    first, second = workflow_commands(whole, github)
    assert first == (
        "::error file=a%2Cb%3Ac.toml,line=3,title=SAE gate::"
        "explained_variance 50 %25 < min%0A::error:: [topk]"
    )
    assert second.startswith("::error title=SAE gate::tpp:n=20 unmeasured")
    assert workflow_commands(whole, {}) == workflow_commands(whole, {"GITHUB_ACTIONS": "1"}) == []
    many = report([failed] * 30)
    assert len(workflow_commands(many, github)) == 10


def test_the_command_redraws_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_report(report(), tmp_path)
    assert main(["report", str(path), "--output", str(tmp_path / "drawn")]) == 0
    assert sorted(os.listdir(tmp_path / "drawn")) == ["report.html", "report.md"]
    assert (tmp_path / "drawn/report.md").read_text() == markdown(report())
    assert capsys.readouterr().out.startswith("SAE gate: fail")
    assert main(["report", str(tmp_path / "nothing.json")]) == 2
    assert capsys.readouterr().err.startswith("pytest-sae: ")


def test_a_remark_of_many_saes_is_one_line_that_names_some_of_them() -> None:
    told = {f"sae{i}": ["flavour = 1 is no key"] for i in range(6)}
    told["sae0"] = [*told["sae0"], "it has [a](link)"]
    whole = report(environment={"remarks": told})
    first, second = remark_lines(whole)
    assert first == "note on sae0, sae1, sae2, sae3 and 2 more: flavour = 1 is no key"
    assert second == "note on sae0: it has [a](link)"
    assert r"it has \[a\](link)" in markdown(whole)
