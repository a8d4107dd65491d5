"""The small marks that every part of report.html shares: badges, metric names, SAE colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape

from pytest_sae.numbers.plain import number
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_baseline, shown_control, told_control
from pytest_sae.records.verdicts import RED, UNDISCRIMINATING, difference

COLOURS = 8
_DASHES = 3
_SORTS: dict[str, str] = {"pass": "good", "improved": "good", **dict.fromkeys(RED, "bad")}
_SIGNS = {"bad": "✗", "good": "✓", "plain": "·"}  # worst first
_ARROWS = {
    "higher": '<span class="arrow" title="higher is better">↑</span>',
    "lower": '<span class="arrow" title="lower is better">↓</span>',
}


def sort_of(verdict: str) -> str:
    """Return how a verdict is coloured: `good`, `bad` or `plain`."""
    return _SORTS.get(verdict, "plain")


def sort_of_row(row: Row) -> str:
    """Return how a row is coloured: a failure that was declared is not bad."""
    sort = sort_of(row.verdict)
    return "plain" if sort == "bad" and not row.red else sort


def badge(row: Row) -> str:
    """Return the verdict of a row as a coloured word."""
    sort = sort_of_row(row)
    return f'<span class="badge {sort}">{_SIGNS[sort]} {escape(_told(row))}</span>'


def _told(row: Row) -> str:
    return f"{row.verdict}{' (xfail)' if row.outcome == 'xfailed' else ''}"


_MOVED = {"regressed": "bad", "improved": "good"}


def moved(row: Row) -> str:
    """Return the difference of a row to its baseline, coloured where it matters."""
    baseline = row.baseline
    if baseline is None or baseline.value is None or row.value is None:
        return ""
    tone = _MOVED.get(row.verdict, "plain")
    shown = number(baseline.value) if baseline.differs else difference(row.value, baseline.value)
    return f'<span class="moved {tone}" title="baseline {shown_baseline(row)}">△ {shown}</span>'


def doubted(row: Row) -> str:
    """Return the mark of a metric that does not tell the SAE from its controls."""
    why = row.doubt
    if not why:
        return ""
    return f'<span class="badge doubt" title="{escape(why)}">? {UNDISCRIMINATING}</span>'


def beside(row: Row) -> str:
    """Return the controls of a row with their values, those that are amiss in bold."""
    if not row.controls:
        return ""
    shown = "".join(
        f"<li{' class=missed' if each.holds is False else ''} "
        f'title="{escape(told_control(each))}">{escape(each.control.replace("_", " "))} '
        f"{escape(shown_control(each))}</li>"
        for each in row.controls
    )
    return f'<ul class="controls">{shown}</ul>'


def tallies(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    """Return each verdict with its colour and how many rows have it, the bad ones first."""
    counted = Counter((sort_of_row(row), _told(row)) for row in rows)
    return [(sort, told, count) for (sort, told), count in sorted(counted.items(), key=_worst)]


def _worst(counted: tuple[tuple[str, str], int]) -> tuple[int, str]:
    (sort, told), _ = counted
    return list(_SIGNS).index(sort), told


def metric_name(row: Row, without: str = "") -> str:
    """Return metric, arrow to the better side, and settings but the one left out."""
    settings = "".join(
        f'<span class="setting">{escape(f"{name}={value}")}</span>'
        for name, value in sorted(row.params.items())
        if name != without
    )
    return f"<code>{escape(row.metric)}</code>{_ARROWS.get(row.direction, '')}{settings}"


def colours(report: Report) -> dict[str, str]:
    """Return the class of every SAE, in the order of the report: a colour, then a dash."""
    named = [each.id for each in report.saes]
    saes = dict.fromkeys([*named, *(row.sae for row in report.measurements)])
    return {
        sae: f"c{place % COLOURS} d{place // COLOURS % _DASHES}" for place, sae in enumerate(saes)
    }


def swatch(colour: str) -> str:
    """Return a short piece of the line in which an SAE is drawn."""
    return (
        f'<svg class="swatch {colour}" viewBox="0 0 22 8" width="22" height="8">'
        '<line class="line" x1="0" x2="22" y1="4" y2="4"/></svg>'
    )


def legend(saes: Mapping[str, str]) -> str:
    """Return which SAE has which colour."""
    named = "".join(f"<li>{swatch(colour)}{escape(sae)}</li>" for sae, colour in saes.items())
    return f'<ul class="legend">{named}</ul>'
