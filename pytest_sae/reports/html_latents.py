"""How often latents fire and what each kind of token gets, by itself and together, in report.html.

Everything is read from the rows' details, which anybody may have written: what is not of the
expected form is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pytest_sae.numbers.plain import as_number, number
from pytest_sae.records.row import Row
from pytest_sae.reports.html_marks import legend, swatch

_GROUPS = {"ordinary": "ordinary tokens", "first": "first token", "special": "special tokens"}
_WIDTH, _HEIGHT, _LEFT, _FLOOR = 360, 120, 12, 98
_KEY = (
    "Latents by the share of tokens on which they fire, half a decade to a bar; those that never "
    "fire are not drawn. Below, figures of each kind of token by itself."
)


def latents(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    """Return density histograms and the table by token group; empty if there is neither.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    drawn = "".join(_histograms(row, saes) for row in rows if row.metric == "dead_share")
    table = _table(rows, saes)
    if not drawn and not table:
        return ""
    charts = f'{legend(saes)}<div class="charts">{drawn}</div>' if drawn else ""
    return f'<section><h2>Latents and tokens</h2><p class="key">{_KEY}</p>{charts}{table}</section>'


def _histograms(row: Row, saes: Mapping[str, str]) -> str:
    """Over all tokens that count, then over each kind by itself."""
    told: list[tuple[str, Any]] = [("", row.details.get("density"))]
    groups: Any = row.details.get("groups")
    for name, title in _GROUPS.items() if isinstance(groups, Mapping) else ():
        group = groups.get(name)
        if isinstance(group, Mapping):
            told.append((f", {title}", group.get("density")))
    return "".join(_histogram(row.sae, title, density, saes) for title, density in told)


def _histogram(sae: str, which: str, told: Any, saes: Mapping[str, str]) -> str:
    if not isinstance(told, Mapping):
        return ""
    edges, counts = (_numbers(told.get(name)) for name in ("log10_edges", "latents"))
    if not counts or len(edges) != len(counts) + 1 or min(counts) < 0:
        return ""
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
    caption = f"density of the latents of {escape(sae)}{which}"
    return (
        f'<figure><figcaption>{caption}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img"><g class="{saes.get(sae, "")} bars">{bars}</g>{labels}</svg></figure>'
    )


def _table(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    lines = "".join(_line(row, saes) for row in rows)
    if not lines:
        return ""
    names = "".join(f'<th scope="col">{title}</th>' for title in _GROUPS.values())
    return (
        '<div class="scroll judged" tabindex="0" role="region" aria-label="By kind of token">'
        f'<table><thead><tr><th scope="col">metric</th><th scope="col">SAE</th>{names}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _line(row: Row, saes: Mapping[str, str]) -> str:
    groups: Any = row.details.get("groups")
    if not isinstance(groups, Mapping) or not any(name in groups for name in _GROUPS):
        return ""
    cells = "".join(f"<td>{_cell(groups.get(name))}</td>" for name in _GROUPS)
    return (
        f'<tr><th scope="row">{escape(row.metric)}</th>'
        f"<td>{swatch(saes.get(row.sae, ''))}{escape(row.sae)}</td>{cells}</tr>"
    )


def _cell(group: Any) -> str:
    if not isinstance(group, Mapping):
        return ""
    value, tokens = as_number(group.get("value")), as_number(group.get("tokens"))
    told = "-" if value is None else number(value)
    return f'<span class="number">{told}</span><small>{tokens or 0:,.0f} tokens</small>'


def _numbers(told: object) -> list[float]:
    found = [as_number(each) for each in told] if isinstance(told, list | tuple) else []
    kept = [each for each in found if each is not None]
    return kept if len(kept) == len(found) else []
