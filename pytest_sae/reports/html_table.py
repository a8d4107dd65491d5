"""The table of report.html: one row a value, those of one metric beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from markupsafe import Markup

from pytest_sae.families.registry import heading_of, place_of
from pytest_sae.records.flat import flat
from pytest_sae.records.row import Row
from pytest_sae.records.told import told_baseline, told_repeats
from pytest_sae.reports.declined import fold, names
from pytest_sae.reports.html_bars import Scale, bar, scale_of
from pytest_sae.reports.overview import spec
from pytest_sae.reports.pages import rendered
from pytest_sae.reports.summary import source_of

_KEY = (
    "↑ higher is better, ↓ lower is better. The bars of one metric share one scale, with the "
    "interval of each value; shaded is what its bound forbids."
)
_CONTROL_KEY = (
    " The ticks above a bar, and the figures at the right, are its controls: dictionaries worse "
    "by make (random weights of the same sparsity, the decoder's rows permuted, all but the most "
    "used latents cut), shuffled labels, and references. A metric that does not tell the SAE from "
    "what must be worse by three standard errors does not discriminate here."
)
_BASELINE_KEY = (
    " △ and the mark under a bar are the difference to the baseline and its value: red where that "
    "is more than tolerance and noise, grey where the two were not made alike."
)
_FILTERS = (
    ("deciding", "what decides"),
    ("red", "failed"),
    ("gated", "gated"),
    ("headline", "headline"),
    ("changed", "changed"),
    ("", "all"),
)
# What is copied and saved of the rows that are shown; `pytest-sae export` has all there is.
_EXPORTED = ("sae", "metric", "settings", "value", "se", "low", "high", "n", "verdict",
    "bound_low", "bound_high", "baseline", "rule")  # fmt: skip
#: Verdicts of values that are not what they were.
CHANGED = ("regressed", "incomparable", "new", "improved")


def comparison(rows: Sequence[Row], saes: Mapping[str, str], measured: Sequence[Row]) -> Markup:
    """Return a table of measurements, and what each metric is.

    Args:
        rows: the measurements that it shows.
        saes: the colour of each SAE.
        measured: all measurements, whose metrics are told.
    """
    if not measured:
        return Markup()
    more = _BASELINE_KEY if any(row.baseline for row in rows) else ""
    more += _CONTROL_KEY if any(row.controls for row in rows) else ""
    shown, declined = fold(rows)
    lines = _lines(shown)
    there = {kind for line in lines for row in line for kind in kinds_of(row).split()}
    return rendered(
        "table.html",
        key=_KEY + more,
        saes=saes,
        filters=[(kind, text) for kind, text in _FILTERS if kind in ("", *there)],
        count=len(rows),
        columns="\t".join(_EXPORTED),
        lines=[(row, scale, kinds_of(row)) for line in lines for scale in (_scale(line),)
               for row in line],
        declined=declined,
        meanings=_meanings(_lines(measured)),
        bar=bar,
        exported=_exported,
        hint=_hint,
        names=names,
    )  # fmt: skip


def _scale(line: Sequence[Row]) -> Scale | None:
    """Bars for what decides: those of every detail would make the page as large again."""
    return scale_of(line) if any(map(kinds_of, line)) else None


def _exported(row: Row) -> str:
    told = flat(row)
    return "\t".join(_cell(told[name]) for name in _EXPORTED)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else " ".join(str(value).split())


def kinds_of(row: Row) -> str:
    """Return what a row is filtered by; nothing where it is a detail.

    Args:
        row: of a report.
    """
    kinds = {
        "red": row.red,
        "gated": row.verdict != "ungated",
        "headline": spec(row).headline,
        "changed": row.verdict in CHANGED,
    }
    found = [kind for kind, is_so in kinds.items() if is_so]
    return " ".join([*found, "deciding"] if found else [])


def _meanings(
    lines: Sequence[Sequence[Row]],
) -> list[tuple[str, list[tuple[Row, str, list[str]]]]]:
    """Return what each metric is, by family, and what the rules say of it."""
    told = [(line[0], spec(line[0]).title, _reasons(line)) for line in lines]
    return [(title, [*group]) for title, group in groupby(told, lambda t: heading_of(t[0].metric))]


def _lines(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that stand in one line: same metric, same setting."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.key, []).append(row)
    return sorted(lines.values(), key=lambda line: _place(line[0]))


def _place(row: Row) -> tuple[object, ...]:
    return place_of(row.metric), replace(row, sae="", nodeid="").order


def _reasons(line: Sequence[Row]) -> list[str]:
    """Return why the metric gates as it does, or why it does not: as the rules say."""
    told = [row.rule.reason for row in line if row.rule and row.value is not None]
    return [each for each in dict.fromkeys(told) if each]


def _hint(row: Row) -> str:
    if row.value is None or (row.verdict == "ungated" and not row.baseline):
        return ""
    before = f"baseline {told_baseline(row)}" if row.baseline else ""
    return "  ".join(filter(None, [row.reason, source_of(row), before, told_repeats(row)]))
