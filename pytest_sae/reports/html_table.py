"""The comparison table of report.html: metrics by family down, SAEs across."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from markupsafe import Markup

from pytest_sae.families.registry import heading_of, place_of
from pytest_sae.records.row import Row
from pytest_sae.records.told import told_baseline, told_repeats
from pytest_sae.reports.declined import fold, names
from pytest_sae.reports.html_bars import bar, scale_of
from pytest_sae.reports.html_marks import tallies
from pytest_sae.reports.pages import rendered
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


def comparison(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return the table of all measurements.

    Args:
        rows: the measurements.
        saes: the colour of each SAE, in the order of the columns.
    """
    if not rows:
        return Markup()
    more = _BASELINE_KEY if any(row.baseline for row in rows) else ""
    more += _CONTROL_KEY if any(row.controls for row in rows) else ""
    return rendered(
        "table.html",
        key=_KEY + more,
        saes=saes,
        tallies={sae: tallies(row for row in rows if row.sae == sae) for sae in saes},
        families=[
            (title, *_split(lines))
            for title, lines in groupby(_lines(rows), key=lambda line: heading_of(line[0].metric))
        ],
        bar=bar,
        hint=_hint,
        names=names,
        quiet=_quiet,
        reasons=_reasons,
        scale_of=scale_of,
    )


def _lines(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that stand in one line: same metric, same setting."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.key, []).append(row)
    return sorted(lines.values(), key=lambda line: _place(line[0]))


def _place(row: Row) -> tuple[object, ...]:
    return place_of(row.metric), replace(row, sae="", nodeid="").order


def _split(lines: Iterable[Sequence[Row]]) -> tuple[list[list[Row]], list[list[Row]]]:
    """Return the lines of a family, and those of its rows that are told together."""
    shown, groups = fold([row for line in lines for row in line])
    return _lines(shown), groups


def _quiet(line: Sequence[Row]) -> bool:
    return all(row.verdict == "ungated" for row in line)


def _reasons(line: Sequence[Row]) -> list[str]:
    """Return why the metric gates as it does, or why it does not: as the rules say."""
    told = [row.rule.reason for row in line if row.rule and row.value is not None]
    return [each for each in dict.fromkeys(told) if each]


def _hint(row: Row) -> str:
    before = f"baseline {told_baseline(row)}" if row.baseline else ""
    return "  ".join(filter(None, [row.reason, source_of(row), before, told_repeats(row)]))
