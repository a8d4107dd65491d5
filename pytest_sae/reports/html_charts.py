"""The charts of report.html: one for each metric and setting that has curves or frontiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pytest_sae.families.registry import place_of
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.row import Row
from pytest_sae.reports.curves import Line, Reference, chart, points
from pytest_sae.reports.frontiers import Lines, frontier_chart, read
from pytest_sae.reports.pages import rendered

_KEY = (
    "n is the number of latents that are ablated, removed, added or read (k; of coherence: the "
    "neighbours of one), on a logarithmic axis; bands are intervals. The upright line is the n of "
    "the table; a level dashed one is what the curve is held against, named where pointed at."
)
_FRONTIER_KEY = (
    "Each point ablates n latents: how much of a concept is gone, and how much the probes of the "
    "other concepts lose; means over the concepts. Below and to the right is better. Dashed: "
    "random latents of the same total effect. Diamond: LEACE, the optimum; square: the mean "
    "difference projected out; triangle: the concept's words deleted. Dotted: all or nothing by "
    "the toss of a coin."
)


# A chart, the metric that it is about, and the setting that it goes over.
Figure = tuple[Row, str, Markup]


def frontiers(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return every erasure frontier, those of all SAEs in one chart; empty if there is none.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    drawn = [_frontier(group, saes) for group in _groups(rows)]
    return _section("frontiers", "Erasure frontiers", _FRONTIER_KEY, saes, drawn)


def charts(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return every distinct curve, those of all SAEs in one chart; empty if there is none.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    drawn = [_chart(group, saes) for group in _groups(rows)]
    return _section("curves", "Curves over n", _KEY, saes, drawn)


def _section(
    name: str, title: str, key: str, saes: Mapping[str, str], drawn: Sequence[Figure | None]
) -> Markup:
    figures = [each for each in drawn if each]
    given = {"name": name, "title": title, "key": key, "saes": saes, "figures": figures}
    return rendered("charts.html", **given) if figures else Markup()


def _frontier(rows: Sequence[Row], saes: Mapping[str, str]) -> Figure | None:
    found = ((row.sae, read(row.details.get("frontier"))) for row in rows)
    lines = [Lines(sae, saes[sae], curves) for sae, curves in found if curves]
    return (
        (rows[0], "n", frontier_chart(lines, f"erasure frontier of {rows[0].key}"))
        if lines
        else None
    )


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: place_of(row.metric)):
        others = {name: value for name, value in row.params.items() if name != _axis(row)}
        groups.setdefault(metric_key(row.metric, others), []).append(row)
    return list(groups.values())


def _axis(row: Row) -> str:
    """The setting that a row's curve goes over."""
    return "n" if "n" in row.params else "k"


def _chart(rows: Sequence[Row], saes: Mapping[str, str]) -> Figure | None:
    curves = ((row.sae, tuple(points(row.details.get("curve")))) for row in rows)
    # The settings of n share their curve: it is drawn once.
    distinct = dict.fromkeys((sae, curve) for sae, curve in curves if len(curve) > 1)
    lines = [Line(sae, saes[sae], curve) for sae, curve in distinct]
    shown = {as_number(row.params.get(_axis(row))) for row in rows} - {None}
    marked = sorted(n for n in shown if n is not None)
    held = dict.fromkeys(each for row in rows for each in _references(row, saes))
    if not lines:
        return None
    axis = _axis(rows[0])
    others = {name: value for name, value in rows[0].params.items() if name != axis}
    saes_told = ", ".join(line.sae for line in lines)
    name = f"{metric_key(rows[0].metric, others)} over {axis}, of {saes_told}"
    return rows[0], axis, chart(lines, marked, [*held], name)


def _references(row: Row, saes: Mapping[str, str]) -> list[Reference]:
    told = row.details.get("references")
    found = told.items() if isinstance(told, Mapping) else ()
    values = ((str(name), as_number(value)) for name, value in found)
    sae = row.sae
    return [
        Reference(f"{name}, {sae}", saes[sae], value) for name, value in values if value is not None
    ]
