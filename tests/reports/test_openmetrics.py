"""OpenMetrics text of a report: one sample a value, as GitLab's widget and any parser read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.cli import main
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.schema import write_report
from pytest_sae.reports.openmetrics import openmetrics
from tests.reports.examples import estimates, report, row, texts

# The grammar of a line of OpenMetrics 1.0, of what is written here.
LINE = re.compile(
    r'# TYPE \w+ gauge|# HELP \w+ [^\n]*|# EOF|\w+\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\} \S+'
)


def samples(text: str) -> dict[str, float]:
    pairs = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs}


def test_each_value_is_a_sample_with_its_error_and_each_sae_with_its_verdict() -> None:
    assert samples(openmetrics(report())) == {
        'sae_value{sae="topk",metric="explained_variance"}': 0.612,
        'sae_value{sae="topk",metric="l0"}': 32.0,
        'sae_value{sae="topk",metric="scr",settings="n=10"}': 0.3,
        'sae_value{sae="topk",metric="scr",settings="n=2"}': -0.1,
        'sae_standard_error{sae="topk",metric="explained_variance"}': 0.006,
        'sae_red{sae="topk"}': 2,
        'sae_pass{sae="topk"}': 0,
    }


def test_a_verdict_is_no_part_of_a_name_that_another_run_has_to_have_too() -> None:
    assert "fail" not in "".join(samples(openmetrics(report())))


@settings(max_examples=50, deadline=None)
@given(st.lists(estimates, max_size=4), texts)
def test_every_line_is_of_the_format_whatever_names_hold(
    measured: list[Estimate], name: str
) -> None:
    text = openmetrics(report([row(each, None, name) for each in measured]))
    assert text.endswith("# EOF\n")
    assert all(LINE.fullmatch(line) for line in text[:-1].split("\n"))


@settings(max_examples=50, deadline=None)
@given(st.lists(estimates, max_size=4), texts)
def test_a_published_parser_reads_the_same_values(measured: list[Estimate], name: str) -> None:
    parser: Any = pytest.importorskip(
        "prometheus_client.openmetrics.parser", reason="prometheus_client is not installed"
    )
    whole = report([row(each, None, name) for each in measured])
    families = parser.text_string_to_metric_families(openmetrics(whole))
    read = [each for family in families for each in family.samples if each.name == "sae_value"]
    told = {
        (each.sae, each.metric, tuple(each.params.items())): each.value
        for each in whole.measurements
        if each.value is not None
    }
    assert sorted(each.value for each in read) == sorted(told.values())
    assert {each.labels["sae"] for each in read} <= {name}


def test_the_command_prints_it_or_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(report(), tmp_path)
    command = ["export", str(tmp_path), "--format=openmetrics"]
    assert main(command) == 0
    assert capsys.readouterr().out == openmetrics(report())
    assert main([*command, f"--output={tmp_path / 'metrics.txt'}"]) == 0
    assert (tmp_path / "metrics.txt").read_text() == openmetrics(report())
