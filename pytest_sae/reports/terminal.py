"""The table at the end of a run, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_bound, shown_value
from pytest_sae.records.verdicts import GREEN
from pytest_sae.reports.audit import audit_line
from pytest_sae.reports.controls import doubt_lines
from pytest_sae.reports.declined import fold, told
from pytest_sae.reports.summary import (
    failures,
    judge_lines,
    remark_lines,
    update_lines,
    verdict_line,
    with_baseline,
)
from pytest_sae.reports.work import work_lines

if TYPE_CHECKING:
    import pytest

_HEADER = ("SAE", "metric", "value ± se", "bound", "verdict")
_BASELINE = 4  # the column before which the baseline stands, where there is one


def write_terminal(reporter: pytest.TerminalReporter, report: Report, where: str) -> None:
    """Write verdict, table and failures; with -q the verdict and the failures only.

    Args:
        reporter: pytest's own, which knows whether colours are wanted.
        report: as in report.json.
        where: the directory of the reports.
    """
    red = report.verdict not in (*GREEN, "partial")
    reporter.section("SAE evaluation", sep="=")
    if reporter.verbosity >= 0:
        _write_table(reporter, report.measurements)
        for line in doubt_lines(report.measurements):
            reporter.write_line(line)
    for line in failures(report):
        reporter.write_line(line, red=True)
    reporter.write_line(verdict_line(report), red=red, green=not red, bold=True)
    for line in [*remark_lines(report), *judge_lines(report), *update_lines(report)]:
        reporter.write_line(line)
    if report.audit:
        reporter.write_line(audit_line(report.audit))
    if reporter.verbosity >= 0:
        for line in work_lines(report):
            reporter.write_line(line)
        reporter.write_line(f"reports: {where}")


def _write_table(reporter: pytest.TerminalReporter, rows: Sequence[Row]) -> None:
    shown, groups = fold(rows)
    header, *lines = table(shown)
    reporter.write_line(header, bold=True)
    for row, line in zip(shown, lines, strict=True):
        green = row.verdict in ("pass", "improved")
        colour = {"red": True} if row.red else {"green": green}
        reporter.write_line(line, **colour)
    for group in groups:
        reporter.write_line(told(group))


def table(rows: Sequence[Row]) -> list[str]:
    """Return the table of all rows as aligned lines, the header first."""
    cells = [_HEADER, *map(_cells, rows)]
    if any(row.baseline for row in rows):
        cells = with_baseline(cells, rows, _BASELINE)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_aligned(texts, widths) for texts in cells]


def _cells(row: Row) -> tuple[str, ...]:
    expected = " (xfail)" if row.outcome == "xfailed" else ""
    return row.sae, row.key, shown_value(row), shown_bound(row), row.verdict + expected


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()
