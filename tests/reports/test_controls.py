"""Controls in the reports: a line, a row of a table, a tick above the bar."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_sae.gate.judged import rejudged
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.control import Control, Expected
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.schema import builtins, checked
from pytest_sae.records.told import told_control
from pytest_sae.reports.controls import doubt_lines
from pytest_sae.reports.html import html
from pytest_sae.reports.markdown import markdown
from pytest_sae.reports.terminal import table
from tests.records.rows import row_of
from tests.reports.examples import report, rule


def control(name: str, expected: Expected, value: float | None, **fields: Any) -> Control:
    return Control(name, expected, "higher", value, **{"se": 0.01, **fields})


def row(*controls: Control, gate: bool = True, value: float = 0.9) -> Row:
    metric = "explained_variance"
    bound = rule(metric, min=0.7) if gate else rule(metric, gate=False, reason="noisy")
    measurement = Measurement(
        "topk", Estimate(metric, value, se=0.01, ci=(0.88, 0.92)), controls=controls
    )
    verdict = judge(measurement.estimate, bound, controls=controls)
    built = row_of(measurement, verdict, bound, "evals/t.py::test_it[topk]")
    return replace(built, outcome="failed" if verdict.red else "passed")


BELOW = control("random", "below", -1.2)
CLOSE = control("permuted_decoder", "below", 0.89)
DECLINED = control("pca", "reference", None, se=None, status="not_applicable", reason="two <sites>")


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (BELOW, "random -1.2000 ± 0.0100 (worse, as it must be)"),
        (CLOSE, "permuted_decoder 0.8900 ± 0.0100 (must be worse, and is not surely)"),
        (DECLINED, "pca not applicable (reference): two <sites>"),
        (
            control("shuffled_labels", "chance", None, status="undefined", reason="no gap"),
            "shuffled_labels undefined (chance, as it must be): no gap",
        ),
        (
            control("permuted_decoder", "same", 0.9),
            "permuted_decoder 0.9000 ± 0.0100 (the same, as it must be)",
        ),
        (control("identity", "reference", 1.0, se=None), "identity 1.0000 (reference)"),
        (
            control("random", "below", None, se=None, status="undefined", reason="silent"),
            "random undefined (not compared): silent",
        ),
    ],
)
def test_a_control_is_told_in_one_line(one: Control, told: str) -> None:
    assert told_control(row(one).controls[0]) == told


def test_a_line_is_shown_for_what_does_not_discriminate_and_does_not_gate() -> None:
    shown = row(CLOSE, gate=False)
    (line,) = doubt_lines([shown, row(BELOW, gate=False), row(CLOSE)])
    assert line.startswith("explained_variance not discriminating here: 0.9000 is not above ")
    assert line.endswith(" [topk]")
    assert shown.verdict == "ungated"


def test_markdown_has_one_row_for_each_control() -> None:
    text = markdown(report([row(BELOW, CLOSE, DECLINED, gate=False)]))
    assert "3 values of controls" in text
    line = "| topk | explained\\_variance | random | -1.2000 ± 0.0100 | worse, as it must be |"
    assert line in text
    assert "- explained\\_variance not discriminating here: " in text
    assert "controls" not in markdown(report([row(gate=False)]))


def test_html_shows_ticks_within_the_scale_values_and_the_doubt() -> None:
    page = html(report([row(BELOW, CLOSE, DECLINED, gate=False)]))
    ticks = re.findall(r'<line class="control( missed)?" x1="(-?[0-9.]+)%"', page)
    assert [bool(missed) for missed, _ in ticks] == [False, True]
    assert all(0 <= float(at) <= 100 for _, at in ticks)
    assert float(ticks[0][1]) == 0  # far below the scale
    assert "? not discriminating here" in page
    assert "permuted decoder 0.8900 ± 0.0100" in page
    assert "two <sites>" not in page
    assert "two &lt;sites&gt;" in page
    assert 'class="controls"' not in html(report([row(gate=False)]))


def test_what_fails_by_its_controls_says_so_on_its_card_and_tells_them() -> None:
    failed = row(BELOW, CLOSE)
    assert failed.verdict == "fail"
    page = html(report([failed]))
    card = page[page.index("<h2>What failed") : page.index("<h2>Measurements")]
    assert "not discriminating here" in card
    assert "random -1.2000 ± 0.0100 (worse, as it must be)" in card


def test_names_in_a_report_draw_nothing() -> None:
    hostile = control("<script>x</script>", "below", 0.3, reason="|`<b>`")
    built = report([row(hostile, gate=False)])
    assert "<script>x" not in html(built)
    assert "<b>" not in markdown(built)


def test_the_table_of_the_terminal_has_no_rows_of_controls() -> None:
    assert len(table([row(BELOW, CLOSE)])) == len(table([row()])) == 2


def test_the_schema_takes_controls_and_rejudging_changes_nothing() -> None:
    for built in (row(BELOW, CLOSE, DECLINED), row(BELOW), row(CLOSE, gate=False)):
        whole = report([built])
        assert checked(Report, builtins(whole)) == whole
        assert rejudged(built) == built


def test_a_control_without_a_number_is_undefined_in_the_report() -> None:
    (found,) = row(control("random", "below", float("nan"), se=float("inf"))).controls
    assert (found.value, found.se, found.status) == (None, None, "undefined")
    assert found.holds is None
