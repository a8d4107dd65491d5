"""What a judge made of latents, in report.html: SHIFT's selections, accepted and explained latents.

Everything is read from the rows' details, which anybody may have written: what is not of the
expected form is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pytest_sae.numbers.plain import as_number, number
from pytest_sae.records.row import Row
from pytest_sae.reports.html_marks import swatch

_SELECTIONS = {
    "none": "nothing",
    "judge": "what the judge accepted",
    "effect": "the top n by effect",
    "oracle": "the best found on labelled texts",
    "words": "no latent: the concept's words are deleted",
}
_CLASSIFIERS = {
    "plain": "probe as it is",
    "recentred": "its threshold recentred",
    "refit": "probe fitted again",
}
_COLUMNS = {"worst": "worst cell", "intended": "intended label", "spurious": "spurious label"}
_KEY = (
    "Accuracy of a classifier that learned a spurious concept with the intended one, after "
    "ablation; below, what that gains, bold where its interval leaves 0 out. Removing the concept "
    "should raise the worst cell and the intended label, and bring the spurious label down to .5."
)
_MARK = re.compile(r"&lt;&lt;(.+?)&gt;&gt;(?:\((\d{1,2})\))?", re.DOTALL)
_SHOWN = 40  # latents of one SAE


def judged(rows: Sequence[Row], saes: Mapping[str, str]) -> str:
    """Return the sections of all SAEs; empty if nothing was judged.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    shifts = "".join(_shift(row, saes) for row in _details_of(rows, "shift", "table"))
    explained = "".join(
        _explained(row, saes) for row in _details_of(rows, "autointerp.detection", "latents")
    )
    parts = []
    if shifts:
        parts.append(f'<section><h2>SHIFT</h2><p class="key">{_KEY}</p>{shifts}</section>')
    if explained:
        parts.append(f"<section><h2>What latents are about</h2>{explained}</section>")
    return "\n".join(parts)


def _details_of(rows: Sequence[Row], metric: str, wanted: str) -> Iterable[Row]:
    return (row for row in rows if row.metric == metric and row.details.get(wanted))


def _shift(row: Row, saes: Mapping[str, str]) -> str:
    table = _mapping(row.details["table"])
    groups = "".join(
        f'<th scope="colgroup" colspan="{len(_COLUMNS)}">{escape(title)}</th>'
        for title in _CLASSIFIERS.values()
    )
    names = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS.values())
    names *= len(_CLASSIFIERS)
    lines = "".join(
        f'<tr><th scope="row">{escape(title)}</th>{_accuracies(_mapping(table[name]))}</tr>'
        for name, title in _SELECTIONS.items()
        if name in table
    )
    return (
        '<div class="scroll judged" tabindex="0" role="region" aria-label="SHIFT"><table>'
        f'<thead><tr><th scope="col" rowspan="2">{_name(row, saes)}<small>ablated</small></th>'
        f"{groups}</tr><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>"
        f"{_candidates(row)}"
    )


def _accuracies(kinds: Mapping[str, Any]) -> str:
    return "".join(
        f"<td>{_accuracy(_mapping(_mapping(kinds.get(kind)).get(column)))}</td>"
        for kind in _CLASSIFIERS
        for column in _COLUMNS
    )


def _accuracy(point: Mapping[str, Any]) -> str:
    value, gain = as_number(point.get("value")), _mapping(point.get("gain"))
    if value is None:
        return ""
    low, high, gained = (as_number(gain.get(each)) for each in ("low", "high", "value"))
    if gained is None or low is None or high is None or low == high == 0:
        return f'<span class="number">{value:.3f}</span>'
    sure = "" if low <= 0 <= high else ' class="sure"'
    title = f"95 % interval {number(low)} to {number(high)}"
    return (
        f'<span class="number">{value:.3f}</span><small{sure} title="{title}">{gained:+.3f}</small>'
    )


def _candidates(row: Row) -> str:
    found = [_mapping(each) for each in _list(row.details.get("candidates"))]
    taken = [each for each in found if _accepted(each)]
    if not found:
        return ""
    lines = "".join(map(_candidate, taken[:_SHOWN]))
    more = f"<p>and {len(taken) - _SHOWN} more</p>" if len(taken) > _SHOWN else ""
    return (
        f"<details><summary>{len(taken)} of {len(found)} candidate latents of "
        f"{escape(row.sae)} were accepted as spurious</summary>"
        f'<div class="latents">{lines}</div>{more}</details>'
    )


def _accepted(candidate: Mapping[str, Any]) -> list[str]:
    tasks = _mapping(candidate.get("tasks"))
    return [
        str(task) for task, each in tasks.items() if _mapping(each).get("accepted") == "spurious"
    ]


def _candidate(each: Mapping[str, Any]) -> str:
    ratings = _mapping(each.get("ratings"))
    rated = sorted(((as_number(value) or 0, str(name)) for name, value in ratings.items()))[::-1]
    told = ", ".join(f"{name} {value:g}" for value, name in rated if value)
    contexts = "".join(f"<li>{marked(str(text))}</li>" for text in _list(each.get("contexts")))
    return (
        f"<h3>latent {escape(str(each.get('latent')))}<small>{escape(told)}; in "
        f"{escape(', '.join(_accepted(each)))}</small></h3>"
        f"<p>{escape(str(each.get('reason') or ''))}</p><ul>{contexts}</ul>"
    )


def marked(text: str) -> str:
    """Return a context with its marks as highlights, the stronger the mark the darker."""

    def highlight(found: re.Match[str]) -> str:
        level = min(int(found[2] or 10), 10)
        return f'<mark class="l{level}">{found[1]}</mark>'

    return _MARK.sub(highlight, escape(text))


def _explained(row: Row, saes: Mapping[str, str]) -> str:
    found = [_mapping(each) for each in _list(row.details.get("latents"))]
    scorers = list(dict.fromkeys(name for each in found for name in _mapping(each.get("scores"))))
    ordered = sorted(found, key=lambda each: -(_score(each, "detection") or 0))
    names = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in scorers)
    lines = "".join(_explanation(each, scorers) for each in ordered)
    return (
        f"<details><summary>{_name(row, saes)}: {len(found)} latents, explained and scored"
        '</summary><div class="scroll judged tall" tabindex="0" role="region" '
        'aria-label="Explanations"><table><thead><tr><th scope="col">explanation</th>'
        f'<th scope="col">latent</th><th scope="col">density</th>{names}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></details>"
    )


def _explanation(each: Mapping[str, Any], scorers: Sequence[str]) -> str:
    said = each.get("explanation")
    density = as_number(each.get("density"))
    cells = [
        escape(str(each.get("latent"))),
        "" if density is None else number(density),
        *("" if (value := _score(each, name)) is None else f"{value:.2f}" for name in scorers),
    ]
    told = escape(str(said)) if said is not None else '<span class="se">no answer</span>'
    return f'<tr><th scope="row">{told}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _score(each: Mapping[str, Any], name: str) -> float | None:
    return as_number(_mapping(each.get("scores")).get(name))


def _name(row: Row, saes: Mapping[str, str]) -> str:
    return f"{swatch(saes.get(row.sae, ''))}{escape(row.sae)}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
