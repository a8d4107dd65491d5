"""How often latents fire and what each kind of token gets, by itself and together, in report.html.

Everything is read from the rows' details, which anybody may have written: what is not of the
expected form is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from pytest_sae.numbers.plain import as_number, number
from pytest_sae.records.row import Row
from pytest_sae.reports.pages import rendered

_GROUPS = {"ordinary": "ordinary tokens", "first": "first token", "special": "special tokens"}
_WIDTH, _HEIGHT, _LEFT, _FLOOR = 360, 120, 12, 98
_KEY = (
    "Latents by the share of tokens on which they fire, half a decade to a bar; those that never "
    "fire are not drawn. Below, figures of each kind of token by itself."
)


def latents(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return density histograms and the table by token group; empty if there is neither.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    dead = (row for row in rows if row.metric == "dead_share")
    drawn = [each for row in dead for each in _histograms(row, saes.get(row.sae, ""))]
    lines = [(row, [_cell(groups.get(name)) for name in _GROUPS]) for row, groups in _grouped(rows)]
    given = {"key": _KEY, "saes": saes, "kinds": _GROUPS.values()}
    if not drawn and not lines:
        return Markup()
    return rendered("latents.html", histograms=drawn, lines=lines, **given)


def _histograms(row: Row, colour: str) -> Iterable[tuple[str, str, Markup]]:
    """Over all tokens that count, then over each kind by itself."""
    groups = _mapping(row.details.get("groups"))
    kinds = [(f", {kind}", _mapping(groups.get(name))) for name, kind in _GROUPS.items()]
    for kind, told in [("", row.details), *kinds]:
        density = _mapping(told.get("density"))
        edges, counts = _numbers(density.get("log10_edges")), _numbers(density.get("latents"))
        if counts and len(edges) == len(counts) + 1 and min(counts) >= 0:
            name = f"density of the latents of {row.sae}{kind}"
            yield row.sae, kind, _histogram(counts, edges, colour, name)


def _histogram(counts: Sequence[float], edges: Sequence[float], colour: str, name: str) -> Markup:
    most, width = max(counts) or 1.0, (_WIDTH - 2 * _LEFT) / len(counts)
    bars = "".join(
        f'<rect x="{_LEFT + place * width + 1:.1f}" width="{max(width - 2, 0):.1f}" '
        f'y="{_FLOOR - 84 * count / most:.1f}" height="{84 * count / most:.1f}">'
        f"<title>{count:g} latents, density 10^{low:g} to 10^{high:g}</title></rect>"
        for place, (count, low, high) in enumerate(zip(counts, edges, edges[1:], strict=False))
    )
    labels = "".join(
        f'<text x="{_LEFT + place * width:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{10**edge:g}</text>"
        for place, edge in enumerate(edges)
        if edge == int(edge) and -12 <= edge <= 0
    )
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f'<g class="{colour} bars">{bars}</g>'
        f"{labels}</svg>"
    )


def _grouped(rows: Sequence[Row]) -> Iterable[tuple[Row, Mapping[str, Any]]]:
    told = ((row, _mapping(row.details.get("groups"))) for row in rows)
    return ((row, groups) for row, groups in told if any(name in groups for name in _GROUPS))


def _cell(group: object) -> tuple[str, str] | None:
    """Return the figure of a kind of token, and over how many; None where nothing is told."""
    if not isinstance(group, Mapping):
        return None
    value, tokens = as_number(group.get("value")), as_number(group.get("tokens"))
    return "-" if value is None else number(value), f"{tokens or 0:,.0f}"


def _mapping(told: object) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}


def _numbers(told: object) -> list[float]:
    found = [as_number(each) for each in told] if isinstance(told, list | tuple) else []
    kept = [each for each in found if each is not None]
    return kept if len(kept) == len(found) else []
