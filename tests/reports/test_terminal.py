"""The end of a run in the terminal: as wide and in the letters that it has, each failure once."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.report import SAE, Report
from pytest_sae.records.row import Row, unmeasured_row
from pytest_sae.reports.overview import deciding, overview
from pytest_sae.reports.summary import failed_lines, rerun_of
from pytest_sae.reports.terminal import printed, write_terminal
from tests.reports.examples import report, row, rule


class Reporter:
    """What `write_terminal` knows of pytest's reporter."""

    def __init__(self, width: int, verbosity: int, terminal: bool) -> None:
        self.lines: list[str] = []
        self.verbosity, self.isatty = verbosity, terminal
        self.config = SimpleNamespace(get_terminal_writer=lambda: SimpleNamespace(fullwidth=width))

    def section(self, title: str, sep: str) -> None:
        self.lines.append(title)

    def write_line(self, line: str, **look: bool) -> None:
        self.lines.append(line)


def shown(whole: Report, width: int = 80, verbosity: int = 0, terminal: bool = True) -> list[str]:
    reporter: Any = Reporter(width, verbosity, terminal)
    write_terminal(reporter, whole, "sae-report")
    lines: list[str] = reporter.lines
    return lines


def measured(sae: str, variance: float) -> list[Row]:
    reason = "principal components of the same number explain as much; the mean alone explains 0"
    bound = rule("explained_variance", min=0.7, reason=reason)
    return [
        row(Estimate("explained_variance", variance, se=0.01), bound, sae),
        row(Estimate("l0", 32.125), None, sae),
        row(Estimate("cosine", 0.9), rule("cosine", min=0.5), sae),
        row(Estimate("mse", 3.0), None, sae),
    ]


def many(count: int = 6, name: str = "gemma-2-2b-layer-12-width-16k-step-{}") -> Report:
    names = [name.format(place) for place in range(count)]
    rows = [each for n, sae in enumerate(names) for each in measured(sae, 0.9 - n / 10)]
    saes = tuple(SAE(each, f"saes/{each}", f"saes/{each}") for each in names)
    return report(rows, saes=saes, options={"sae": [each.text for each in saes]})


@settings(max_examples=30, deadline=None)
@given(st.integers(50, 200), st.text("abc", min_size=1, max_size=40), st.integers(1, 8))
def test_no_line_is_wider_than_the_terminal(width: int, name: str, count: int) -> None:
    lines = shown(many(count, name + "-{}"), width)
    # What has no space, as an id of a test has none, cannot be broken.
    broken = [line for line in lines if max(map(len, line.split()), default=0) + 6 < width]
    assert len(broken) > len(lines) // 2
    assert all(len(line) < width for line in broken)


def test_each_sae_has_one_line_with_its_verdict_and_what_decides() -> None:
    lines = [line.split() for line in shown(many(4, "s{}")) if line.startswith("s")]
    assert lines == [
        ["s0", "✓", "pass", "2", "of", "2", "0.9", "32.12", "0.9"],
        ["s1", "✓", "pass", "2", "of", "2", "0.8", "32.12", "0.9"],
        ["s2", "✗", "incomplete", "1", "of", "2", "red", "✗0.7", "32.12", "0.9"],
        ["s3", "✗", "fail", "1", "of", "2", "red", "✗0.6", "32.12", "0.9"],
    ]


def test_every_failure_stands_once_with_its_rule() -> None:
    text = "\n".join(shown(many(6, "s{}"), terminal=False))
    for place in (3, 4, 5):
        assert text.count(f"< min 0.7000 [s{place}]  bounds.toml:3") == 1


def test_in_a_log_a_line_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = report(problems=("word " * 60,))
    assert ("word " * 60).strip() in [line.strip() for line in shown(whole, terminal=False)]
    assert max(map(len, shown(whole))) < 80


def test_what_was_not_measured_for_one_reason_is_one_line() -> None:
    reason = "measuring scr failed: no such layer"
    rows = [unmeasured_row("topk", f"scr:n={n}", reason, f"t{n}", "error") for n in (1, 2, 5, 9)]
    assert failed_lines(report([*rows, *measured("topk", 0.9)])) == [
        f"4 metrics, scr:n=1 to scr:n=9 unmeasured: {reason} [topk]"
    ]


def test_figures_that_gate_come_before_those_that_do_not() -> None:
    assert deciding(measured("a", 0.9)) == ["explained_variance", "l0", "cosine"]
    ungated = [row(Estimate("mse", 3.0)), row(Estimate("explained_variance", 0.9))]
    assert deciding(ungated) == ["explained_variance", "mse"]


def test_red_figures_are_told_without_a_colour_too() -> None:
    red = [row(Estimate("explained_variance", 0.25), rule("explained_variance", min=0.7))]
    assert overview(report(red), 79)[-1].text.endswith("✗0.25")
    assert overview(report(red), 79, unicode=False)[-1].text.split()[1:] == [
        "!", "fail", "1", "of", "1", "red", "!0.25",
    ]  # fmt: skip


@pytest.mark.parametrize(("encoding", "term"), [("ascii", "xterm"), ("utf-8", "dumb")])
def test_a_terminal_that_has_only_ascii_gets_ascii(
    encoding: str, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "__stdout__", TextIOWrapper(BytesIO(), encoding))
    monkeypatch.setenv("TERM", term)
    assert "".join(shown(many())).isascii()


def test_the_rerun_command_can_be_copied_from_a_narrow_terminal() -> None:
    whole = many()
    lines = shown(whole, 50)
    start = next(n for n, line in enumerate(lines) if line.startswith("rerun the first:"))
    joined = "\n".join(lines[start:-1])
    copied = joined.removeprefix("rerun the first:").replace("\\\n", "")
    first = next(each for each in whole.measurements if each.red)
    assert shlex.split(copied) == shlex.split(rerun_of(whole, first))


def test_with_q_there_is_neither_a_table_nor_a_place() -> None:
    whole = replace(many(2, "s{}"), verdict="pass")
    assert shown(whole, verbosity=-1) == [
        "SAE evaluation",
        "SAE gate: pass (4 pass, 4 ungated; 2 SAEs)",
    ]


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_command_prints_what_a_run_writes(
    verbosity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    of_a_run = shown(many(), 80, verbosity)
    assert of_a_run[0] == "SAE evaluation"
    assert of_a_run[-1] == "reports: sae-report"
    assert printed(many(), verbosity).splitlines() == of_a_run[1:-1]
