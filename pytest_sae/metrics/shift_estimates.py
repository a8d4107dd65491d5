"""From SHIFT's logits to its figures.

    estimates(tasks, judge, seed) -> list[Estimate]

- `shift`, `shift.margin`: as `scr` and `scr.margin` in the spurious direction, with the latents
  that the judge accepts among the top n.
- `shift.worst_cell`, `.recentred`, `.refit`: the accuracy of a classifier on the intended label in
  the cell (of both labels) where it is lowest, after minus before, a mean over tasks.
- `shift.agreement`: does the judge rate latents as their effects rank them?
- `shift.accepted`, `shift.abstained`: what the judge did.

Everything else is in the details of `shift`: the curve over n, the table of selections and
classifiers, every task, every candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pytest_sae.metrics.probe_bootstrap import Draws, curve, equal_cells, point
from pytest_sae.metrics.scr import Concept, Measure, Quadrants
from pytest_sae.metrics.scr_estimates import DrawnTask, margins, recovered
from pytest_sae.metrics.scr_gaps import hits
from pytest_sae.metrics.shift import (
    ABLATED,
    CLASSIFIERS,
    HEADLINE_N,
    Ablated,
    Classifier,
    Selection,
    ShiftTask,
)
from pytest_sae.metrics.shift_selection import Opinion
from pytest_sae.numbers.bootstrap import (
    Floats,
    divide,
    drawn_estimate,
    generator,
    resample,
    share_estimate,
)
from pytest_sae.numbers.estimate import Estimate, Param, unable, undefined

SELECTIONS: tuple[Selection, ...] = ("none", "judge", "effect", "oracle", "words")
#: What the table says of a classifier: accuracy on both labels, the lowest one of a cell, margin.
COLUMNS = ("intended", "spurious", "worst", "margin")

_RATIOS: dict[str, Measure] = {"shift": "accuracy", "shift.margin": "margin"}
_WORST: dict[str, Classifier] = {
    "shift.worst_cell": "plain",
    "shift.worst_cell.recentred": "recentred",
    "shift.worst_cell.refit": "refit",
}
_CONTEXTS = 3  # shown per candidate

#: Every estimate that there is, as (metric, params).
NAMES: tuple[tuple[str, Mapping[str, Param]], ...] = (
    *((metric, {"n": HEADLINE_N}) for metric in (*_RATIOS, *_WORST)),
    *((metric, {}) for metric in ("shift.agreement", "shift.accepted", "shift.abstained")),
)


def estimates(
    tasks: Sequence[ShiftTask],
    judge: Mapping[str, str],
    seed: int,
    left_out: Mapping[str, str] | None = None,
) -> list[Estimate]:
    """Return the estimates of `NAMES`, in that order.

    Args:
        tasks: from `shift.score_task`.
        judge: what it is, for the report.
        seed: the run's; the draws are those of `scr`.
        left_out: what could not be done, such as a selection, and why, for the report.

    Returns:
        Estimates; of `shift` 1 is as good as the intended concept's own probe, 0 as doing nothing.

    Raises:
        ValueError: no task.

    Latent 0 writes the intended concept and latent 1 the spurious one, as the judge says:

    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> from pytest_sae.metrics.shift import TaskData, score_task
    >>> from pytest_sae.metrics.shift_selection import candidates
    >>> from pytest_sae.probes import LinearProbes, ProbeSets
    >>> labels = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> from scipy import sparse
    >>> z = sparse.csr_array(np.stack([labels.intended, labels.spurious], axis=1) * 1.0)
    >>> weight = np.array([[1, 0], [0, 1], [1, 2]], np.float32)
    >>> probes = LinearProbes(weight, np.full(3, -0.5, np.float32))
    >>> sets, gone = ProbeSets(probes, (probes,)), AffineRemoval(z, np.eye(2))
    >>> x, found = z.toarray(), candidates(sets, labels, z, np.eye(2))
    >>> data = TaskData("t", sets, labels, labels, x, x, gone, gone)
    >>> said = {0: Opinion({"job": 4, "gender": 0}), 1: Opinion({"job": 0, "gender": 4})}
    >>> about = {"intended": "job", "spurious": "gender"}
    >>> task = score_task(data, found, said, about, None, seed=0, ns=(1,))
    >>> values = {each.metric: each.value for each in estimates([task], {}, seed=0)}
    >>> values["shift"], values["shift.accepted"], values["shift.abstained"]
    (1.0, 0.5, 0.0)
    """
    if not tasks:
        raise ValueError("SHIFT needs at least one task")
    read = [_Read(task, DrawnTask.of(task.as_scr(), seed)) for task in tasks]
    usable = [each for each in read if each.drawn.gap("spurious").usable]
    params: dict[str, Param] = {"n": tasks[0].ns[-1]}
    drawn = [each.drawn for each in read]
    ratios = [
        recovered(drawn, "spurious", measure, metric, params, tasks[0].ns[-1:])
        for metric, measure in _RATIOS.items()
    ]
    details = {**ratios[0].details, **_details(read, usable, judge)}
    if left_out:
        details["left_out"] = dict(left_out)
    return [
        replace(ratios[0], details=details),
        *ratios[1:],
        *(_worst(metric, usable, kind, params) for metric, kind in _WORST.items()),
        _agreement(tasks, seed),
        _accepted(tasks),
        _abstained(tasks),
    ]


@dataclass(frozen=True)
class _Read:
    """A task, its draws, and what the draws make of its logits."""

    task: ShiftTask
    drawn: DrawnTask

    @cached_property
    def table(self) -> dict[Selection, dict[Classifier, Floats]]:
        """Per selection and classifier, (draw, column)."""
        return {
            selection: {
                kind: self.columns(self.task.readings[selection][kind]) for kind in CLASSIFIERS
            }
            for selection in SELECTIONS
            if selection in self.task.readings
        }

    @cached_property
    def curves(self) -> dict[Ablated, Floats]:
        """Per selection of latents, (draw, n, column) of the probe as it is."""
        return {
            each: np.stack([self.columns(part) for part in self.task.curves[each]], axis=1)
            for each in ABLATED
        }

    def columns(self, logits: Floats) -> Floats:
        """(fit, text) logits to (draw, column), a mean over the drawn fits."""
        test, draws = self.task.test, self.drawn.draws
        intended = draws.over_texts(hits(logits, test, "spurious"))
        spurious = draws.over_texts(hits(logits, test, "intended"))
        worst = _cells(logits, test, draws).min(axis=1)
        margin = margins(logits, test, "spurious", draws)
        parts = (intended, spurious, worst, margin)
        return np.stack([draws.over_fits(part) for part in parts], axis=1)


def _cells(logits: Floats, test: Quadrants, draws: Draws) -> Floats:
    """(fit, text) to (draw, cell, fit): accuracy on the intended label in each cell."""
    correct = (logits > 0) == test.intended
    weights = equal_cells(test.cells) * 4
    return np.stack(
        [draws.over_texts(correct * weights * (test.cells == cell)) for cell in range(4)], axis=1
    )


def _mean(parts: Sequence[Floats]) -> Floats:
    result: Floats = np.mean(np.stack(parts), axis=0)
    return result


def _details(
    read: Sequence[_Read], usable: Sequence[_Read], judge: Mapping[str, str]
) -> dict[str, object]:
    ns = read[0].task.ns
    return {
        "judge": dict(judge),
        "table": _table([each.table for each in usable]),
        "curves": _curves(ns, [each.curves for each in usable]),
        "by_task": {each.task.name: _task_details(each) for each in read},
        "candidates": _candidates([each.task for each in read]),
    }


def _table(tables: Sequence[dict[Selection, dict[Classifier, Floats]]]) -> dict[str, object]:
    """Mean over tasks; `gain` is the difference to `none`, paired by texts and fits."""
    if not tables:
        return {}
    mean = {
        selection: {kind: _mean([each[selection][kind] for each in tables]) for kind in CLASSIFIERS}
        for selection in SELECTIONS
        if all(selection in each for each in tables)
    }
    return {
        selection: {
            kind: {
                column: {
                    **point(values[:, place]),
                    "gain": point((values - mean["none"][kind])[:, place]),
                }
                for place, column in enumerate(COLUMNS)
            }
            for kind, values in kinds.items()
        }
        for selection, kinds in mean.items()
    }


def _curves(ns: Sequence[int], curves: Sequence[dict[Ablated, Floats]]) -> dict[str, object]:
    """Per selection and column, the value at every n: a mean over tasks, the probe as it is."""
    if not curves:
        return {}
    mean = {each: _mean([part[each] for part in curves]) for each in ABLATED}
    return {
        selection: {column: curve(ns, values[:, :, place]) for place, column in enumerate(COLUMNS)}
        for selection, values in mean.items()
    }


def _task_details(read: _Read) -> dict[str, object]:
    task = read.task
    return {
        "concepts": {str(key): name for key, name in task.about.items()},
        "usable": read.drawn.gap("spurious").usable,
        "table": _table([read.table]),
        "sets": {str(key): [int(each) for each in latents] for key, latents in task.sets.items()},
        "words": list(task.words),
        "texts_left_as_they_are": task.kept,
    }


def _candidates(tasks: Sequence[ShiftTask]) -> list[dict[str, object]]:
    """Each distinct candidate once, with its part in every task."""
    found: dict[int, dict[str, dict[str, object]]] = {}
    opinions: dict[int, Opinion] = {}
    for task in tasks:
        for latent in map(int, task.candidates.latents):
            opinions[latent] = task.opinions[latent]
            found.setdefault(latent, {})[task.name] = {
                "effects": {
                    str(key): float(effects[latent])
                    for key, effects in task.candidates.effects.items()
                },
                "accepted": opinions[latent].accepted(task.about),
            }
    return [
        {
            "latent": latent,
            "ratings": _builtins(opinions[latent].ratings),
            "reason": opinions[latent].reason,
            "contexts": list(opinions[latent].contexts[:_CONTEXTS]),
            "tasks": found[latent],
        }
        for latent in sorted(found)
    ]


def _builtins(ratings: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if ratings is None else {name: int(value) for name, value in ratings.items()}


def _worst(
    metric: str, usable: Sequence[_Read], kind: Classifier, params: Mapping[str, Param]
) -> Estimate:
    if not usable:
        reason = "no task has a gap between the clean and the confounded probe"
        return unable(metric, reason, params)
    place = COLUMNS.index("worst")
    gains = [(each.table["judge"][kind] - each.table["none"][kind])[:, place] for each in usable]
    before, after = (
        _mean([each.table[selection][kind][:, place] for each in usable])
        for selection in ("none", "judge")
    )
    n = {"texts": sum(len(each.task.test.cells) for each in usable), "tasks": len(usable)}
    details = {
        "before": point(before),
        "after": point(after),
        "tasks": {each.task.name: point(gain) for each, gain in zip(usable, gains, strict=True)},
    }
    return drawn_estimate(metric, _mean(gains), params, n, len(usable[0].task.own), details)


def _agreement(tasks: Sequence[ShiftTask], seed: int) -> Estimate:
    """Spearman's correlation over (task, candidate); latents are drawn, with all their tasks.

    Compared are the judge's rating for the spurious concept minus that for the intended one, and
    the difference of the logarithms of the two effects.
    """
    pairs = [
        (latent, _difference(opinion.ratings, task.about), _log_ratio(task, latent))
        for task in tasks
        for latent, opinion in task.opinions.items()
        if opinion.ratings is not None
    ]
    metric = "shift.agreement"
    ratings, effects = (np.array([pair[place] for pair in pairs], float) for place in (1, 2))
    if len(pairs) < 3:
        return undefined(metric, f"the judge rated {len(pairs)} candidates; 3 are needed")
    if np.ptp(ratings) == 0:
        return undefined(metric, "the judge rates all candidates alike")
    if len(set(effects.tolist())) == 1:
        return undefined(metric, "the candidates' effects on the two concepts do not differ")
    # Numbered by effect, as candidates are: how the dictionary numbers its latents is no matter.
    units = list(dict.fromkeys(pair[0] for pair in pairs))
    place = np.array([units.index(pair[0]) for pair in pairs])
    drawn = resample(len(units), generator(seed, metric)).counts[:, place]
    values = _spearman(ratings, effects, np.concatenate([np.ones((1, len(pairs))), drawn]))
    n = {"latents": len(units), "pairs": len(pairs)}
    return drawn_estimate(metric, values, {}, n, 1, {})


def _difference(ratings: Mapping[str, int], about: Mapping[Concept, str]) -> int:
    return ratings[about["spurious"]] - ratings[about["intended"]]


def _log_ratio(task: ShiftTask, latent: int) -> float:
    effects = task.candidates.effects
    with np.errstate(divide="ignore"):
        return float(np.log(effects["spurious"][latent]) - np.log(effects["intended"][latent]))


def _spearman(first: Floats, second: Floats, counts: Floats) -> Floats:
    """Correlate the ranks of pairs, every pair taken as often as it was drawn.

    Args:
        first: (pair,).
        second: (pair,).
        counts: (draw, pair).
    """
    shares = counts / counts.sum(1, keepdims=True)
    one, other = (_centred_ranks(each, counts) for each in (first, second))
    above = (shares * one * other).sum(1)
    return divide(above, np.sqrt((shares * one**2).sum(1) * (shares * other**2).sum(1)))


def _centred_ranks(values: Floats, counts: Floats) -> Floats:
    """(draw, pair): mean ranks among the drawn, equal values alike, less their mean."""
    _, group = np.unique(values, return_inverse=True)
    sizes = counts @ (group[:, None] == np.arange(group.max() + 1))
    ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    middle = (counts.sum(1, keepdims=True) + 1) / 2
    result: Floats = ranks[:, group] - middle
    return result


def _accepted(tasks: Sequence[ShiftTask]) -> Estimate:
    taken = {
        task.name: [opinion.accepted(task.about) for opinion in task.opinions.values()]
        for task in tasks
    }
    details = {
        name: {
            "candidates": len(found),
            "spurious": found.count("spurious"),
            "intended": found.count("intended"),
        }
        for name, found in taken.items()
    }
    hit = sum(found.count("spurious") for found in taken.values())
    total = sum(map(len, taken.values()))
    return share_estimate("shift.accepted", hit, total, "candidates", {"tasks": details})


def _abstained(tasks: Sequence[ShiftTask]) -> Estimate:
    opinions = {latent: each for task in tasks for latent, each in task.opinions.items()}
    silent = sorted(latent for latent, each in opinions.items() if each.ratings is None)
    details = {"latents": {str(latent): opinions[latent].reason for latent in silent}}
    return share_estimate("shift.abstained", len(silent), len(opinions), "latents", details)
