"""Reports side by side: what becomes of each value over checkpoints, seeds or releases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_sae.records.made_alike import differences
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.standing import Standing, standings

Place = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """One report of a series.

    Args:
        name: as people call it.
        rows: what it measured, by line and key; a line is an SAE wherever that goes on.
        standings: where each line stands, empty where nothing was judged.
        verdict: of the report, empty where nothing was judged.
    """

    name: str
    rows: Mapping[Place, Row]
    standings: Mapping[str, Standing] = field(default_factory=dict)
    verdict: str = ""


def columns(reports: Sequence[tuple[str, Report]]) -> list[Column]:
    """Return the columns of reports, in their order.

    Where each report is about a single SAE, these are one line whatever they are called.

    Args:
        reports: each with its name.
    """
    saes = [_saes(report) for _, report in reports]
    single = saes[-1][0] if all(len(each) == 1 for each in saes) else ""
    return [
        Column(
            name,
            {(single or row.sae, row.key): row for row in report.measurements},
            {single or each.sae: each for each in standings(report)},
            report.verdict,
        )
        for name, report in reports
    ]


def before_and_now(report: Report, before: str, now: str) -> list[Column]:
    """Return two columns: what a report was compared with, and the report.

    Args:
        report: of a comparison.
        before: name of what it was compared with.
        now: name of the report.
    """
    (later,) = columns([(now, report)])
    found = {place: _before(row) for place, row in later.rows.items()}
    return [Column(before, {place: row for place, row in found.items() if row}), later]


def _before(row: Row) -> Row | None:
    """What the baseline of a row says, as a row that nobody judged."""
    told = row.baseline
    if told is None or told.value is None or told.differs:
        return None
    return replace(
        row, value=told.value, se=told.se, ci=None, status="ok", reason="", verdict="ungated",
        rule=None, baseline=None, controls=(), details={},
    )  # fmt: skip


def lines_of(found: Sequence[Column]) -> list[str]:
    """Return the lines of a series, in the order in which they turn up."""
    names = (name for column in found for name in (*column.standings, *(p[0] for p in column.rows)))
    return list(dict.fromkeys(names))


def unlike(found: Sequence[Column]) -> list[str]:
    """Return what the values of earlier columns were not made with as those of the last were.

    Args:
        found: columns, in their order.

    Returns:
        A sentence for each column and each difference, with how many values it is about.
    """
    last = found[-1]
    told = [
        (
            column.name,
            Counter(said for place in column.rows for said in _differs(column, last, place)),
        )
        for column in found[:-1]
    ]
    return [
        f"{name} and {last.name} were not made alike: {said} ({count} value{'s' * (count != 1)})"
        for name, counted in told
        for said, count in counted.items()
    ]


def _differs(column: Column, last: Column, place: Place) -> list[str]:
    now = last.rows.get(place)
    return differences(column.rows[place].fingerprints, now.fingerprints) if now else []


def _saes(report: Report) -> list[str]:
    return [each.sae for each in standings(report)] or [""]
