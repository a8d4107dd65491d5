"""The table at the end of a run, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_sae.reports.rows import Row, key_of, shown_bound, shown_value
from pytest_sae.reports.summary import Report, failures, is_red_row, judge_lines, verdict_line

if TYPE_CHECKING:
    import pytest

_HEADER = ("SAE", "metric", "value ± se", "bound", "verdict")


def write_terminal(reporter: pytest.TerminalReporter, report: Report, where: str) -> None:
    """Write verdict, table and failures; with -q the verdict and the failures only.

    Args:
        reporter: pytest's own, which knows whether colours are wanted.
        report: as in report.json.
        where: the directory of the reports.
    """
    red = report["verdict"] not in ("pass", "ungated", "improved")
    reporter.section("SAE evaluation", sep="=")
    if reporter.verbosity >= 0:
        _write_table(reporter, report["measurements"])
    for line in failures(report):
        reporter.write_line(line, red=True)
    reporter.write_line(verdict_line(report), red=red, green=not red, bold=True)
    for line in judge_lines(report):
        reporter.write_line(line)
    if reporter.verbosity >= 0:
        reporter.write_line(f"reports: {where}")


def _write_table(reporter: pytest.TerminalReporter, rows: Sequence[Row]) -> None:
    cells = [_HEADER, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADER))]
    reporter.write_line(_aligned(_HEADER, widths), bold=True)
    for row, texts in zip(rows, cells[1:], strict=True):
        colour = {"red": True} if is_red_row(row) else {"green": row["verdict"] == "pass"}
        reporter.write_line(_aligned(texts, widths), **colour)


def _cells(row: Row) -> tuple[str, ...]:
    expected = " (xfail)" if row["outcome"] == "xfailed" else ""
    return row["sae"], key_of(row), shown_value(row), shown_bound(row), row["verdict"] + expected


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()
