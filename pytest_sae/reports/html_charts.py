"""The charts of report.html: one for each metric and setting that has curves or frontiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_sae.families.registry import place_of
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.row import Row
from pytest_sae.reports.curves import Line, Reference, chart, points
from pytest_sae.reports.frontiers import Lines, frontier_chart, read
from pytest_sae.reports.html_marks import legend, metric_name

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


def frontiers(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    """Return every erasure frontier, those of all SAEs in one chart; empty if there is none.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    drawn = "".join(_frontier(group, saes) for group in _groups(rows))
    if not drawn:
        return ""
    return (
        f'<section><h2>Erasure frontiers</h2><p class="key">{_FRONTIER_KEY}</p>{legend(saes)}'
        f'<div class="charts">{drawn}</div></section>'
    )


def _frontier(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    found = ((row.sae, read(row.details.get("frontier"))) for row in rows)
    lines = [Lines(sae, saes[sae], curves) for sae, curves in found if curves]
    return frontier_chart(metric_name(rows[0], without="n"), lines) if lines else ""


def charts(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    """Return every distinct curve, those of all SAEs in one chart; empty if there is none.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    drawn = "".join(_chart(group, saes) for group in _groups(rows))
    if not drawn:
        return ""
    return (
        f'<section><h2>Curves over n</h2><p class="key">{_KEY}</p>{legend(saes)}'
        f'<div class="charts">{drawn}</div></section>'
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


def _chart(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    curves = ((row.sae, tuple(points(row.details.get("curve")))) for row in rows)
    # The settings of n share their curve: it is drawn once.
    distinct = dict.fromkeys((sae, curve) for sae, curve in curves if len(curve) > 1)
    lines = [Line(sae, saes[sae], curve) for sae, curve in distinct]
    shown = {as_number(row.params.get(_axis(row))) for row in rows} - {None}
    marked = sorted(n for n in shown if n is not None)
    held = dict.fromkeys(each for row in rows for each in _references(row, saes))
    return chart(metric_name(rows[0], _axis(rows[0])), lines, marked, [*held]) if lines else ""


def _references(row: Row, saes: Mapping[str, str]) -> list[Reference]:
    told = row.details.get("references")
    found = told.items() if isinstance(told, Mapping) else ()
    values = ((str(name), as_number(value)) for name, value in found)
    sae = row.sae
    return [
        Reference(f"{name}, {sae}", saes[sae], value) for name, value in values if value is not None
    ]
