"""What every part of report.html looks like: how verdicts and SAEs are coloured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import RED

COLOURS = 8
_DASHES = 3
_SORTS: dict[str, str] = {
    "pass": "good",
    "improved": "good",
    "incomplete": "bad",
    **dict.fromkeys(RED, "bad"),
}
_SIGNS = {"bad": "✗", "good": "✓", "plain": "·"}  # worst first


def sort_of(verdict: str) -> str:
    """Return how a verdict is coloured: `good`, `bad` or `plain`."""
    return _SORTS.get(verdict, "plain")


def sort_of_row(row: Row) -> str:
    """Return how a row is coloured: a failure that was declared is not bad."""
    sort = sort_of(row.verdict)
    return "plain" if sort == "bad" and not row.red else sort


def sign_of(row: Row) -> str:
    """Return the sign before the verdict of a row."""
    return _SIGNS[sort_of_row(row)]


def sign_of_sort(sort: str) -> str:
    """Return the sign of a colour, which tells the same without it."""
    return _SIGNS[sort]


def told(row: Row) -> str:
    """Return the verdict of a row, and whether its failure was declared."""
    return f"{row.verdict}{' (xfail)' if row.outcome == 'xfailed' else ''}"


def moved_to(row: Row) -> str:
    """Return how the difference of a row to its baseline is coloured."""
    return {"regressed": "bad", "improved": "good"}.get(row.verdict, "plain")


def tallies(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    """Return each verdict with its colour and how many rows have it, the bad ones first."""
    counted = Counter((sort_of_row(row), told(row)) for row in rows)
    return [(sort, name, count) for (sort, name), count in sorted(counted.items(), key=_worst)]


def _worst(counted: tuple[tuple[str, str], int]) -> tuple[int, str]:
    (sort, name), _ = counted
    return list(_SIGNS).index(sort), name


def colours(report: Report) -> dict[str, str]:
    """Return the class of every SAE, in the order of the report: a colour, then a dash."""
    named = [each.id for each in report.saes]
    return colours_of([*named, *(row.sae for row in report.measurements)])


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """Return the class of every line or SAE: a colour, then a dash.

    Args:
        names: in their order; one that is there again counts once.
    """
    return {
        name: f"c{place % COLOURS} d{place // COLOURS % _DASHES}"
        for place, name in enumerate(dict.fromkeys(names))
    }
