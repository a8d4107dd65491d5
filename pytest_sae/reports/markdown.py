"""report.md: the verdict of each SAE first, then what failed, then the rest as far as it fits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.standing import standings
from pytest_sae.records.told import shown_bound, shown_value
from pytest_sae.reports.audit import markdown_audit
from pytest_sae.reports.controls import control_cells, doubt_lines
from pytest_sae.reports.overview import deciding, mark, short
from pytest_sae.reports.summary import (
    failures,
    judge_lines,
    remark_lines,
    source_of,
    update_lines,
    verdict_line,
    with_baseline,
)

_HEADER = ("SAE", "metric", "value ± se", "bound", "verdict", "rule")
_CONTROLS = ("SAE", "metric", "control", "value ± se", "is")
_FIGURES = 4
_NOTE = 120  # characters for what is left out, and for a fold
#: GitHub takes comments of up to 65,536 characters.
MOST = 60_000
_CARD = 12_000  # characters of a model card's section
_BASELINE = 4  # the column before which the baseline stands, where there is one


def markdown(report: Report, most: int = MOST) -> str:
    """Return the report as Markdown, drawn from report.json alone; shortened, if it must be.

    Args:
        report: all of it.
        most: characters that it may have; what is left out is counted, and stands in report.html.
    """
    rows = report.measurements
    red = [row for row in rows if row.red]
    # Where not all fits, what gates is shown.
    rest = sorted((row for row in rows if not row.red), key=lambda row: row.verdict == "ungated")
    page = _Page(most - len(_footer(report)) - 2)
    page.add(f"## {_escaped(verdict_line(report))}")
    page.table("", _overview(report), most // 3)
    page.add("\n\n".join(map(_escaped, [*judge_lines(report), *remark_lines(report)])))
    page.items(failures(report), most // 3)
    page.table("", _cells_of(red))
    page.items(doubt_lines(rows), most // 8)
    page.items(update_lines(report), most // 8)
    if report.audit:
        page.add(_folded("audit of the metrics", markdown_audit(report.audit)))
    page.table(f"{len(rest)} measurements that do not fail", _cells_of(rest))
    controls = control_cells(rows)
    page.table(f"{len(controls)} values of controls", [_CONTROLS, *controls])
    return page.text + "\n\n" + _footer(report) + "\n"


def evaluation(report: Report) -> str:
    """Return what a model card says of a report: verdicts, what is red, and what decides.

    Args:
        report: all of it.
    """
    keys = deciding(report.measurements)
    rows = [row for row in report.measurements if row.key in keys]
    page = _Page(_CARD - len(_footer(report)) - 2)
    page.add("## Evaluation")
    page.add(_escaped(f"{verdict_line(report)}, by pytest-sae."))
    page.table("", _overview(report), _CARD // 3)
    page.items([*judge_lines(report), *failures(report)], _CARD // 4)
    page.table(f"{len(rows)} values that decide", _cells_of(rows))
    return page.text + "\n\n" + _footer(report)


class _Page:
    """A page of Markdown that is filled from above, and never longer than it may be."""

    def __init__(self, room: int) -> None:
        self.text = ""
        self._room = room

    def add(self, part: str) -> None:
        """Add a part whole, or nothing of it."""
        if part and len(part) + 2 <= self._room:
            self.text += f"\n\n{part}" if self.text else part
            self._room -= len(part) + 2

    def items(self, lines: Sequence[str], most: int) -> None:
        """Add a list, as far as it fits.

        Args:
            lines: unescaped.
            most: characters that it may have.
        """
        told = [f"- {_escaped(line)}" for line in lines]
        kept = _fitting(told, min(most, self._room) - _NOTE)
        more = [f"- {_more(len(told) - kept)}"] if kept < len(told) else []
        self.add("\n".join([*told[:kept], *more]))

    def table(self, title: str, cells: Sequence[tuple[str, ...]], most: int = MOST) -> None:
        """Add a table as far as it fits, folded if it has a title.

        Args:
            title: that of the fold, empty for none.
            cells: the header first; without anything below it there is no table.
            most: characters that it may have.
        """
        head, *lines = _lines(cells).split("\n")
        rule, lines = lines[0], lines[1:]
        kept = _fitting(lines, min(most, self._room) - len(head) - len(rule) - _NOTE)
        if not kept:
            return
        more = ["", _more(len(lines) - kept)] if kept < len(lines) else []
        text = "\n".join([head, rule, *lines[:kept], *more])
        self.add(_folded(title, text) if title else text)


def _fitting(lines: Sequence[str], room: int) -> int:
    """Return how many of some lines fit into so many characters."""
    ends = accumulate(len(line) + 1 for line in lines)
    return sum(end <= room for end in ends)


def _more(count: int) -> str:
    return f"and {count} more, in report.html"


def _overview(report: Report) -> list[tuple[str, ...]]:
    """Each SAE with its verdict, why, and the figures that decide."""
    rows = {(row.sae, row.key): row for row in report.measurements}
    keys = deciding(report.measurements)[:_FIGURES]
    lines = [
        (each.sae, f"{mark(each)} {each.verdict}", each.why,
         *(_figure(rows.get((each.sae, key))) for key in keys))
        for each in standings(report)
    ]  # fmt: skip
    return [("SAE", "verdict", "why", *keys), *lines]


def _figure(row: Row | None) -> str:
    return "-" if row is None or row.value is None else short(row.value)


def _cells_of(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    cells = [_HEADER, *map(_cells, rows)]
    return with_baseline(cells, rows, _BASELINE) if any(row.baseline for row in rows) else cells


def _lines(lines: Sequence[tuple[str, ...]]) -> str:
    header, *rest = [f"| {' | '.join(map(_escaped, cells))} |" for cells in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *rest])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.sae, row.key, shown_value(row), shown_bound(row), row.verdict, source_of(row),
    )  # fmt: skip


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _footer(report: Report) -> str:
    told = [f"{name} {version}" for name, version in report.versions.items()]
    files = [f"{each.file} ({each.sha256[:8]})" for each in report.thresholds]
    suite = report.options.get("suite", "")
    return _escaped(f"suite {suite}; bounds {', '.join(files) or 'none'}; {', '.join(told)}")


def _escaped(text: str) -> str:
    # Ids and reasons come from files under test: none of them may draw anything.
    for character in "\\`*_[]<>|#":
        text = text.replace(
            character, f"\\{character}" if character not in "<>" else _ENTITIES[character]
        )
    return " ".join(text.split())


_ENTITIES = {"<": "&lt;", ">": "&gt;"}
