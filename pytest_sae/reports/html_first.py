"""The first screen of report.html: the verdict of each SAE with its reason, and what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.standing import Standing, standings
from pytest_sae.records.verdicts import VerdictName
from pytest_sae.reports.overview import deciding, short
from pytest_sae.reports.pages import rendered

_MOST = 6  # figures of an SAE
_CHANGED: tuple[VerdictName, ...] = ("regressed", "incomparable", "new", "improved")
_LISTED = 12  # changes
_NAMED = 12  # SAEs of one verdict


def first(report: Report, saes: Mapping[str, str], most: int = _MOST) -> Markup:
    """Return the verdict of each SAE in a sentence, beside the figures that decide.

    Args:
        report: as in report.json.
        saes: the colour of each SAE.
        most: how many of the figures.
    """
    rows = {(row.sae, row.key): row for row in report.measurements}
    keys = deciding(report.measurements)[:most]
    lines = [(each, [rows.get((each.sae, key)) for key in keys]) for each in standings(report)]
    if not lines:
        return Markup()
    return rendered("first.html", lines=lines, keys=keys, saes=saes, short=short)


def in_short(report: Report) -> str:
    """Return which SAEs pass and which do not, the first in one sentence for each verdict."""
    found: dict[str, list[str]] = {}
    for each in sorted(standings(report), key=_order):
        found.setdefault(each.verdict, []).append(each.sae)
    return ". ".join(f"{verdict}: {_some(names)}" for verdict, names in found.items())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _order(standing: Standing) -> int:
    order = ("pass", "partial", "ungated", "incomplete", "fail")
    return order.index(standing.verdict)


def changes(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return what changed against the baseline; a sentence where nothing was compared.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    compared = [row for row in rows if row.baseline]
    if not compared:
        return Markup()
    counted = Counter(row.verdict for row in compared)
    told = [f"{counted[name]} {name}" for name in _CHANGED if counted[name]]
    same = sum(row.baseline is not None and row.baseline.value is not None for row in compared)
    moved = [row for name in _CHANGED for row in compared if row.verdict == name]
    sources = dict.fromkeys(row.baseline.source for row in compared if row.baseline)
    return rendered(
        "changes.html",
        summary=", ".join(told) or "nothing beyond tolerance and noise",
        count=same,
        sources=", ".join(sources),
        moved=moved[:_LISTED],
        more=max(0, len(moved) - _LISTED),
        saes=saes,
    )
