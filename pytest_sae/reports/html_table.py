"""The comparison table of report.html: metrics by family down, SAEs across."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby

from pytest_sae.families.registry import heading_of, place_of
from pytest_sae.numbers.plain import number
from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_bound, told_baseline, told_repeats
from pytest_sae.reports.declined import fold
from pytest_sae.reports.declined import names as named
from pytest_sae.reports.html_bars import Scale, bar, scale_of
from pytest_sae.reports.html_marks import (
    badge,
    beside,
    doubted,
    metric_name,
    moved,
    sort_of_row,
    swatch,
    tallies,
)
from pytest_sae.reports.summary import source_of

_KEY = (
    "↑ higher is better, ↓ lower is better. The bars of a row share one scale, with the interval "
    "of each value; shaded is what its bound forbids. Metrics without a bound are paler. The small "
    "print under a name is what the rules say of it: why its bound is where it is, or why it does "
    "not gate."
)
_CONTROL_KEY = (
    " The ticks above a bar, and the small figures under it, are its controls: dictionaries worse "
    "by make (random weights of the same sparsity, the decoder's rows permuted, all but the most "
    "used latents cut), shuffled labels, and references. A metric that does not tell the SAE from "
    "what must be worse by three standard errors does not discriminate here."
)
_BASELINE_KEY = (
    " △ and the mark under a bar are the difference to the baseline and its value: red where that "
    "is more than tolerance and noise, grey where the two were not made alike."
)


def comparison(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    """Return the table of all measurements.

    Args:
        rows: the measurements.
        saes: the colour of each SAE, in the order of the columns.
    """
    if not rows:
        return ""
    families = groupby(_lines(rows), key=lambda line: heading_of(line[0].metric))
    more = _BASELINE_KEY if any(row.baseline for row in rows) else ""
    more += _CONTROL_KEY if any(row.controls for row in rows) else ""
    body = "\n".join(_family(title, lines, saes) for title, lines in families)
    return (
        f'<section><h2>Measurements</h2><p class="key">{_KEY}{more}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Measurements"><table>'
        f"<thead>{_header(rows, saes)}</thead>\n{body}</table></div></section>"
    )


def _lines(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that stand in one line: same metric, same setting."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.key, []).append(row)
    return sorted(lines.values(), key=lambda line: _place(line[0]))


def _place(row: Row) -> tuple[object, ...]:
    return place_of(row.metric), replace(row, sae="", nodeid="").order


def _header(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    columns = "".join(
        f'<th scope="col">{swatch(colour)}{escape(sae)}{_tally(rows, sae)}</th>'
        for sae, colour in saes.items()
    )
    return f'<tr><th scope="col">metric</th>{columns}</tr>'


def _tally(rows: Sequence[Row], sae: str) -> str:
    told = (
        f'<span class="{sort}">{count} {escape(verdict)}</span>'
        for sort, verdict, count in tallies(row for row in rows if row.sae == sae)
        if verdict != "ungated"
    )
    return f'<div class="tally">{" · ".join(told) or "nothing gated"}</div>'


def _family(title: str, lines: Iterable[Sequence[Row]], saes: Mapping[str, str]) -> str:
    names = "".join(
        f'<td title="{escape(sae)}">{swatch(colour)}{escape(sae)}</td>'
        for sae, colour in saes.items()
    )
    header = f'<tr class="family"><th scope="rowgroup">{escape(title)}</th>{names}</tr>'
    each = [row for line in lines for row in line]
    shown, groups = fold(each)
    kept = [_line(line, saes) for line in _lines(shown)]
    kept += [_declined(group, saes) for group in groups]
    return f"<tbody>{header}\n{chr(10).join(kept)}</tbody>"


def _declined(group: Sequence[Row], saes: Mapping[str, str]) -> str:
    cells = "".join(
        f'<td><p class="reason">{escape(group[0].reason) if sae == group[0].sae else ""}</p></td>'
        for sae in saes
    )
    return f'<tr class="quiet"><th scope="row">{escape(named(group))}</th>{cells}</tr>'


def _line(line: Sequence[Row], saes: Mapping[str, str]) -> str:
    scale, unit = scale_of(line), escape(line[0].unit)
    quiet = ' class="quiet"' if all(row.verdict == "ungated" for row in line) else ""
    cells = "".join(
        f"<td>{''.join(_measured(row, scale, colour) for row in line if row.sae == sae)}</td>"
        for sae, colour in saes.items()
    )
    return (
        f'<tr{quiet}><th scope="row">{metric_name(line[0])}'
        f"{f'<small>{unit}</small>' if unit else ''}{_why(line)}</th>{cells}</tr>"
    )


def _why(line: Sequence[Row]) -> str:
    """Return why the metric gates as it does, or why it does not: as the rules say."""
    reasons = dict.fromkeys(row.rule.reason for row in line if row.rule and row.value is not None)
    return "".join(f'<small class="why">{escape(each)}</small>' for each in reasons if each)


def _measured(row: Row, scale: Scale | None, colour: str) -> str:
    before = f"baseline {told_baseline(row)}" if row.baseline else ""
    title = escape("  ".join(filter(None, [row.reason, source_of(row), before, told_repeats(row)])))
    if row.value is None:
        shown = f'<p class="reason">{escape(row.reason)}</p>'
    else:
        shown = bar(row, scale, colour) if scale else ""
    return (
        f'<div class="cell {sort_of_row(row)}" title="{title}">'
        f"{_figure(row)}{shown}{beside(row)}</div>"
    )


def _figure(row: Row) -> str:
    error = "" if row.se is None else f'<span class="se"> ± {number(row.se)}</span>'
    value = "" if row.value is None else f'<span class="number">{number(row.value)}{error}</span>'
    gated = row.verdict != "ungated" or row.value is None
    bound = shown_bound(row) if row.rule else "-"
    told = "" if bound == "-" else f'<span class="rule">{escape(bound)}</span>'
    marks = f"{badge(row) if gated else ''}{told}{moved(row)}{doubted(row)}"
    return f'<div class="figure">{value}{marks}</div>'
