"""What a judge made of latents, in report.html: SHIFT's selections, accepted and explained latents.

Everything is read from the rows' details, which anybody may have written: what is not of the
expected form is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from pytest_sae.numbers.plain import as_number, number
from pytest_sae.records.row import Row
from pytest_sae.reports.pages import rendered

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


def judged(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return the sections of all SAEs; empty if nothing was judged.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    explained = _details_of(rows, "autointerp.detection", "latents")
    return rendered(
        "judged.html",
        shifts=[_shift(row) for row in _details_of(rows, "shift", "table")],
        explained=[_explained(row) for row in explained],
        saes=saes,
        key=_KEY,
        classifiers=_CLASSIFIERS.values(),
        columns=_COLUMNS.values(),
        most=_SHOWN,
    )


def _details_of(rows: Sequence[Row], metric: str, wanted: str) -> Iterable[Row]:
    return (row for row in rows if row.metric == metric and row.details.get(wanted))


def _shift(row: Row) -> dict[str, object]:
    """Return the accuracies of one SAE by selection, and what became of the candidate latents."""
    table = _mapping(row.details["table"])
    found = [_mapping(each) for each in _list(row.details.get("candidates"))]
    taken = [_candidate(each) for each in found if _accepted(each)]
    told = f"{len(taken)} of {len(found)} candidate latents of {row.sae} were accepted as spurious"
    return {
        "sae": row.sae,
        "lines": [
            (title, _accuracies(_mapping(table[name])))
            for name, title in _SELECTIONS.items()
            if name in table
        ],
        "told": told if found else "",
        "taken": taken,
    }


def _accuracies(kinds: Mapping[str, Any]) -> list[dict[str, object]]:
    points = (_mapping(kinds.get(kind)).get(name) for kind in _CLASSIFIERS for name in _COLUMNS)
    return [_accuracy(_mapping(point)) for point in points]


def _accuracy(point: Mapping[str, Any]) -> dict[str, object]:
    """Return an accuracy with what it gained; empty where there is none."""
    value, gain = as_number(point.get("value")), _mapping(point.get("gain"))
    if value is None:
        return {}
    low, high, gained = (as_number(gain.get(each)) for each in ("low", "high", "value"))
    if gained is None or low is None or high is None or low == high == 0:
        return {"value": f"{value:.3f}"}
    return {
        "value": f"{value:.3f}",
        "gain": f"{gained:+.3f}",
        "sure": not low <= 0 <= high,
        "interval": f"95 % interval {number(low)} to {number(high)}",
    }


def _candidate(each: Mapping[str, Any]) -> dict[str, object]:
    ratings = _mapping(each.get("ratings"))
    rated = sorted(((as_number(value) or 0, str(name)) for name, value in ratings.items()))[::-1]
    return {
        "latent": each.get("latent"),
        "ratings": ", ".join(f"{name} {value:g}" for value, name in rated if value),
        "tasks": ", ".join(_accepted(each)),
        "reason": each.get("reason") or "",
        "contexts": [marked(str(text)) for text in _list(each.get("contexts"))],
    }


def _accepted(candidate: Mapping[str, Any]) -> list[str]:
    tasks = _mapping(candidate.get("tasks"))
    return [
        str(task) for task, each in tasks.items() if _mapping(each).get("accepted") == "spurious"
    ]


def marked(text: str) -> Markup:
    """Return a context with its marks as highlights, the stronger the mark the darker."""

    def highlight(found: re.Match[str]) -> str:
        level = min(int(found[2] or 10), 10)
        return f'<mark class="l{level}">{found[1]}</mark>'

    return Markup(_MARK.sub(highlight, escape(text)))


def _explained(row: Row) -> dict[str, object]:
    """Return what one SAE's latents are about, the best detected first, and how well that fits."""
    found = [_mapping(each) for each in _list(row.details.get("latents"))]
    scorers = list(dict.fromkeys(name for each in found for name in _mapping(each.get("scores"))))
    found.sort(key=lambda each: -(_score(each, "detection") or 0))
    lines = [(each.get("explanation"), _cells(each, scorers)) for each in found]
    return {"sae": row.sae, "scorers": scorers, "lines": lines}


def _cells(latent: Mapping[str, Any], scorers: Sequence[str]) -> list[str]:
    density = as_number(latent.get("density"))
    scores = [_score(latent, name) for name in scorers]
    return [
        str(latent.get("latent")),
        "" if density is None else number(density),
        *("" if score is None else f"{score:.2f}" for score in scores),
    ]


def _score(each: Mapping[str, Any], name: str) -> float | None:
    return as_number(_mapping(each.get("scores")).get(name))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
