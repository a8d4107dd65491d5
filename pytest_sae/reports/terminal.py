"""The end of a run, in the terminal: a line for each SAE, then what is red, each thing once.

With -v every value is shown, with -q the verdict and what is red.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_bound, shown_value
from pytest_sae.records.verdicts import GREEN
from pytest_sae.reports.audit import audit_line
from pytest_sae.reports.controls import doubt_lines, doubted
from pytest_sae.reports.declined import fold, told
from pytest_sae.reports.overview import green, overview
from pytest_sae.reports.summary import (
    failed_lines,
    judge_lines,
    red_rows,
    remark_lines,
    rerun_of,
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
    """Write what decides, what is red and the verdict; with -v every value before them.

    Args:
        reporter: pytest's own, which knows whether colours are wanted.
        report: as in report.json.
        where: the directory of the reports.
    """
    full = reporter.config.get_terminal_writer().fullwidth
    screen = _Screen(reporter.write_line, reporter.verbosity, full, bool(reporter.isatty))
    reporter.section("SAE evaluation", sep="=")
    _write(screen, report)
    if reporter.verbosity >= 0:
        screen.write([f"reports: {where}"])


def printed(report: Report, verbosity: int = 0) -> str:
    """Return what a run would write of a report, for the terminal of this process.

    Args:
        report: as in report.json.
        verbosity: 1 for every value.
    """
    lines: list[str] = []

    def keep(line: str, **_look: bool) -> None:
        lines.append(line)

    size, stdout = shutil.get_terminal_size(), sys.stdout
    _write(_Screen(keep, verbosity, size.columns, stdout.isatty()), report)
    return "".join(f"{line}\n" for line in lines)


def _write(screen: _Screen, report: Report) -> None:
    if screen.verbosity > 0:
        _write_table(screen, report.measurements)
        screen.write(doubt_lines(report.measurements))
    if screen.verbosity >= 0:
        _write_overview(screen, report)
    screen.write(failed_lines(report), red=True)
    _write_end(screen, report)
    if screen.verbosity > 0:
        screen.write(work_lines(report))


def _write_end(screen: _Screen, report: Report) -> None:
    red = report.verdict not in (*GREEN, "partial")
    screen.write([verdict_line(report)], red=red, green=not red, bold=True)
    screen.write([*remark_lines(report), *judge_lines(report), *update_lines(report)])
    if report.audit:
        screen.write([audit_line(report.audit)])
    if screen.verbosity == 0:
        screen.write(doubted(report.measurements))
        if red_rows(report):
            screen.write_command("rerun the first: ", rerun_of(report, red_rows(report)[0]))


def _write_overview(screen: _Screen, report: Report) -> None:
    for line in overview(report, screen.width, screen.unicode):
        standing = line.standing
        if standing is None:
            screen.write_line(line.text, bold=True)
            continue
        good = standing.verdict == "pass"
        screen.write_line(line.text, green=good, red=not green(standing))
    screen.write_line("")


class _Screen:
    """Where lines go: as wide, and in the letters, that the terminal has.

    Args:
        write_line: writes one line, with colours and the like as pytest calls them.
        verbosity: as of pytest.
        width: of the terminal.
        terminal: whether there is one.
    """

    def __init__(
        self, write_line: Callable[..., None], verbosity: int, width: int, terminal: bool
    ) -> None:
        self.write_line, self.verbosity = write_line, verbosity
        # The last column stays free: some terminals break the line there.
        self.width = max(40, width) - 1
        # In a log, which has no width, a line is whole: it is searched for.
        self._broken = self.width if terminal or os.environ.get("COLUMNS") else sys.maxsize
        self.unicode = _unicode()

    def write(self, lines: Iterable[str], **look: bool) -> None:
        """Write lines, broken between words where the screen ends.

        Args:
            lines: of any length.
            look: colours and the like, as pytest calls them.
        """
        for line in lines:
            for part in textwrap.wrap(
                line, self._broken, subsequent_indent="    ", break_long_words=False,
                break_on_hyphens=False,
            ) or [""]:  # fmt: skip
                self.write_line(part, **look)

    def write_command(self, what: str, command: str) -> None:
        """Write a command so that it can be copied, however many lines it takes.

        Args:
            what: what it does.
            command: for a shell.
        """
        lines = [what]
        for part in shlex.split(command):
            quoted = shlex.quote(part)
            if len(lines[-1]) + len(quoted) + 2 > self._broken and lines[-1].strip():
                lines = [*lines[:-1], f"{lines[-1]}\\", "    "]
            lines[-1] += f"{quoted} "
        for line in lines:
            self.write_line(line.rstrip())


def _unicode() -> bool:
    encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"
    try:
        "✓✗·…".encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return os.environ.get("TERM") != "dumb"


def _write_table(screen: _Screen, rows: Sequence[Row]) -> None:
    shown, groups = fold(rows)
    header, *lines = table(shown)
    screen.write_line(header, bold=True)
    for row, line in zip(shown, lines, strict=True):
        good = row.verdict in ("pass", "improved")
        colour = {"red": True} if row.red else {"green": good}
        screen.write_line(line, **colour)
    for group in groups:
        screen.write_line(told(group))


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
