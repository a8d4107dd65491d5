"""How much of a concept a few latents take away for good, less what else goes with them.

    trace(texts, references, ablation, ns=NS) -> list[Removed]      # one per concept
    estimates(removed, seed, left_out=None) -> list[Estimate]

SHIFT's question with a probe that is trained again: is the cue gone, and is the rest still there?
The n latents with the largest effect on a concept are ablated, on training and on test texts, as
in `frontier`, of which these are the first points. With A the AUC of the concept's probe fitted
again on what is left, B the mean AUC of the probes of the other concepts, which stay as they were,

    removal    r(n) = sum (A(0) - A(n)) / sum (A(0) - 1/2)      collateral d(n) likewise with B
    value      mean over n in NS of r(n) - d(n)

sums over concepts and tasks, so that a concept that hardly any probe finds does not decide. 0 is to
do nothing, and to wipe the whole activation; 1 is to take all of every concept and nothing else.

Why these n, and no choice among them. A code whose latents all know a little can take a concept
away too, if it may ablate enough of them. With n chosen on training texts two latents that are
the class means, dense and of no use for anything else, reach more than most trained dictionaries
do, and principal components a fifth of it; over fixed n they are near 0 and at a tenth, for where
one latent is enough the next ones only do harm. Fewer than five are too few for a concept of
several features. `erasure` takes an area over all n up to 200, and gives principal components as
much as a trained dictionary. All definitions that were tried stand in docs/audit.md (Held-out
worlds), with what none of them does: see there why this one does not gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.ablation import Indices, order
from pytest_sae.metrics.frontier import Ablation, References
from pytest_sae.metrics.frontier_texts import ProbeAucs, TaskTexts
from pytest_sae.metrics.probe_bootstrap import (
    Added,
    Draws,
    curve,
    draw_by_rank,
    nothing_to_erase,
    point,
    with_training,
)
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator
from pytest_sae.numbers.estimate import Estimate, Param, unable, undefined

#: Numbers of latents that are ablated.
NS = (5, 10, 20)
METRIC = "removal"
#: Resamples of the training texts on which latents are ranked again, for the standard error.
_RANKINGS = 2
#: The groups of tasks that have a score of their own beside that of all of them.
GROUPS = ("scr", "tpp")


@dataclass(frozen=True)
class Removed:
    """One concept ablated by one dictionary.

    Args:
        task: its name.
        concept: its name.
        ns: numbers of ablated latents.
        cells: (text,) quadrant or class of each test text.
        key: (text,) orders the test texts wherever they stand.
        latents: those that are ablated, in their order.
        clean: what the probes read of the untouched texts, one point.
        ablated: after ablation of the first n.
        leace: after the least erasure that leaves no linear probe anything, one point.
        reranked: after ablation of the latents that come first on a fit's own resample of the
            training texts, with that fit's probes alone, of the first fits: for the standard error.
    """

    task: str
    concept: str
    ns: tuple[int, ...]
    cells: NDArray[np.int64]
    key: Floats
    latents: Indices
    clean: ProbeAucs
    ablated: ProbeAucs
    leace: ProbeAucs
    reranked: tuple[ProbeAucs, ...]


def trace(
    texts: TaskTexts, references: References, ablation: Ablation, ns: Sequence[int] = NS
) -> list[Removed]:
    """Ablate each concept's latents, and read what is left of it and of the others.

    Args:
        texts: the task.
        references: from `frontier.references(texts)`.
        ablation: the dictionary.
        ns: ascending numbers of latents; fewer are ablated where fewer have a positive effect.

    Returns:
        One per concept, in the order of the task.

    Raises:
        MeasurementError: activations that are not finite.

    Two labels, an axis and a latent each. Ablating the own latent leaves the AUC of a probe fitted
    again at 1/2 and the other label's probe at 1:

    >>> from scipy import sparse
    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> from pytest_sae.metrics.frontier import references
    >>> from pytest_sae.metrics.frontier_texts import two_labels
    >>> both = np.stack([np.arange(16) % 2, np.arange(16) // 2 % 2]) > 0
    >>> x, cells = both.T * 2.0 - 1, np.arange(16) % 4
    >>> drawn = 2.0 * (np.arange(16) < 8)[None]       # one fit, on the first eight texts
    >>> concepts = two_labels(("job", "gender"), both, both)
    >>> texts = TaskTexts("t", concepts, cells, cells, x, x, np.eye(2)[None], drawn)
    >>> z, rows = sparse.csr_array(both.T * 1.0), 2 * np.eye(2)
    >>> ours = Ablation(z, rows, AffineRemoval(z, rows), AffineRemoval(z, rows))
    >>> job, gender = trace(texts, references(texts), ours, ns=(1,))
    >>> job.latents.tolist(), float(job.ablated.own.sum()), float(job.ablated.others.sum())
    ([0], 0.5, 1.0)
    """
    effects = ablation.effects(texts, references.directions)
    again = [_again(texts, ablation, fit, ns) for fit in range(min(_RANKINGS, len(texts.counts)))]
    found = []
    for place, concept in enumerate(texts.concepts):
        ranked, known = order(effects[place], max(ns)), references.curves[place]
        ablated = ablation.read(texts, concept, ranked, ns)
        found.append(
            Removed(
                texts.name,
                concept.name,
                tuple(ns),
                texts.cells_test,
                texts.key,
                ranked,
                known["clean"],
                ablated,
                known["leace"],
                tuple(readings[place] for readings in again),
            )
        )
    return found


def _again(texts: TaskTexts, ablation: Ablation, fit: int, ns: Sequence[int]) -> list[ProbeAucs]:
    """Of every concept, latents ranked on a fit's resample of the training texts."""
    one = texts.of_fit(fit)
    directions = np.concatenate([one.directions(each) for each in texts.concepts])
    effects = ablation.effects(texts, directions, one.counts[0])
    return [
        ablation.read(one, concept, order(of_concept, max(ns)), ns)
        for concept, of_concept in zip(texts.concepts, effects, strict=True)
    ]


def estimates(
    removed: Mapping[str, Sequence[Removed]], seed: int, left_out: Mapping[str, str] | None = None
) -> list[Estimate]:
    """Return `removal` over all concepts, and over those of each group of tasks.

    Args:
        removed: per group, from `trace`, all with the same ns; a group without tasks is empty.
        seed: the run's; intervals of two dictionaries use the same draws.
        left_out: for the report, why there is nothing to measure on a task.

    Returns:
        Higher is better, at most about 1; below 0 where more is damaged than removed. `unable`
        where no probe knows anything that could be removed.

    One concept whose probe goes from 1 to chance while the others' go from 1 to 3/4:

    >>> def read(own, others):
    ...     even = np.full((1, 1, 4), 0.25)
    ...     return ProbeAucs(own * even, others * even, np.array([[own, others]]))
    >>> texts = np.arange(4)
    >>> concept = Removed("t", "c", (5,), texts, texts * 1.0, texts[:1], read(1.0, 1.0),
    ...     read(0.5, 0.75), read(0.5, 1.0), ())
    >>> [(each.params, each.value) for each in estimates({"scr": [concept]}, seed=0)][:2]
    [({}, 0.5), ({'tasks': 'scr'}, 0.5)]
    """
    drawn: dict[str, Draws] = {}
    read = {
        group: [_Read(each, _draws(each, seed, drawn)) for each in found]
        for group, found in removed.items()
    }
    told = {"left_out": dict(left_out or {})}
    everything = [each for group in read.values() for each in group]
    return [
        _score(everything, {}, told, seed),
        *(_score(read.get(group, []), {"tasks": group}, told, seed) for group in GROUPS),
    ]


def _draws(removed: Removed, seed: int, drawn: dict[str, Draws]) -> Draws:
    """Draw a task's texts once, by rank within their cell: the order they stand in has no part."""
    if removed.task not in drawn:
        fits, rng = removed.clean.own.shape[1], generator(seed, METRIC, removed.task)
        drawn[removed.task] = draw_by_rank(removed.cells, removed.key, fits, rng)
    return drawn[removed.task]


@dataclass(frozen=True)
class _Read:
    """One concept with its bootstrap draws."""

    removed: Removed
    draws: Draws

    def mean(self, shares: Floats) -> Floats:
        """(point, fit, text) shares to AUCs, (draw, point)."""
        return self.draws.over_fits(self.draws.over_texts(shares))

    @cached_property
    def gaps(self) -> tuple[Floats, Floats]:
        """Own and others' AUC above chance, (draw, 1) each."""
        clean = self.removed.clean
        return self.mean(clean.own) - 0.5, self.mean(clean.others) - 0.5

    def losses(self, after: ProbeAucs) -> tuple[Floats, Floats]:
        """Own and others' loss, (draw, point) each; exactly 0 where nothing was changed."""
        clean = self.removed.clean
        return self.mean(clean.own - after.own), self.mean(clean.others - after.others)

    @cached_property
    def problem(self) -> str:
        """Why the concept does not count; empty if it does. No dictionary has a part in it."""
        own, others = self.gaps
        return nothing_to_erase(own[:, 0], others[:, 0], self.removed.clean.known[0])

    @property
    def name(self) -> str:
        return f"{self.removed.task}: {self.removed.concept}"


@dataclass(frozen=True)
class _Axes:
    """Removal and collateral over concepts, (draw, point) each."""

    removal: Floats
    collateral: Floats

    @classmethod
    def of(cls, used: Sequence[_Read], after: Sequence[ProbeAucs]) -> _Axes:
        losses = [each.losses(point) for each, point in zip(used, after, strict=True)]
        gaps = [each.gaps for each in used]
        own, others = (
            divide(
                np.sum([loss[axis] for loss in losses], axis=0),
                np.sum([gap[axis] for gap in gaps], axis=0),
            )
            for axis in (0, 1)
        )
        return cls(own, others)

    @property
    def value(self) -> Floats:
        """(draw,)."""
        result: Floats = (self.removal - self.collateral).mean(1)
        return result


def _score(
    read: Sequence[_Read], params: Mapping[str, Param], told: Mapping[str, object], seed: int
) -> Estimate:
    used = [each for each in read if not each.problem]
    details: dict[str, object] = {
        **told,
        "used": len(used),
        "expected": len(read),
        "excluded": {each.name: each.problem for each in read if each.problem},
    }
    if not read:
        reason = "there is no task with two concepts that can be told apart"
        return undefined(METRIC, reason, params, details)
    if not used:
        reason = (
            f"none of the {len(read)} concepts is told by its probe and its neighbours' by "
            "theirs more than three standard errors above chance"
        )
        return unable(METRIC, reason, params, details)
    axes = _Axes.of(used, [each.removed.ablated for each in used])
    optimum = _Axes.of(used, [each.removed.leace for each in used])
    ns = used[0].removed.ns
    details |= {
        "curve": curve(ns, axes.removal - axes.collateral),
        "removal": curve(ns, axes.removal),
        "collateral": curve(ns, axes.collateral),
        "leace": point(optimum.value),
        "concepts": {each.name: _told(each) for each in used},
    }
    tasks = {each.removed.task: len(each.removed.cells) for each in used}
    n = {"texts": sum(tasks.values()), "concepts": len(used), "tasks": len(tasks)}
    seeds = used[0].removed.clean.own.shape[1]
    rng = generator(seed, METRIC, "training texts")
    values, influence = with_training(axes.value, _added(used, axes), rng)
    return drawn_estimate(METRIC, values, params, n, seeds, details, influence)


def _told(each: _Read) -> dict[str, object]:
    axes, removed = _Axes.of([each], [each.removed.ablated]), each.removed
    return {
        "value": point(axes.value),
        "latents": [int(latent) for latent in removed.latents],
    }


def _added(used: Sequence[_Read], axes: _Axes) -> list[Added]:
    """Return what texts and fits of every task add to the error of the value."""
    whole = [sum(float(each.gaps[axis][0, 0]) for each in used) for axis in (0, 1)]
    shares = axes.removal[0], axes.collateral[0]
    found = []
    for task in dict.fromkeys(each.removed.task for each in used):
        slopes = sum(
            _slopes(each.removed, whole, shares) for each in used if each.removed.task == task
        )
        cells = next(each.removed.cells for each in used if each.removed.task == task)
        moved = [_reranked(each.removed, whole) for each in used if each.removed.task == task]
        assert isinstance(slopes, np.ndarray)
        found.append(
            Added.of(slopes.mean(0), cells, slopes.sum(1) / len(slopes), _apart(np.sum(moved, 0)))
        )
    return found


def _reranked(removed: Removed, whole: Sequence[float]) -> Floats:
    """(ranking,) how far the value moves where latents are ranked on resampled training texts."""
    moved = []
    for fit, other in enumerate(removed.reranked):
        parts = (removed.ablated.own, other.own), (removed.ablated.others, other.others)
        own, others = (
            float((before[:, fit] - after[:, 0]).sum(1).mean()) / gap
            for (before, after), gap in zip(parts, whole, strict=True)
        )
        moved.append(own - others)
    return np.array(moved)


def _apart(moved: Floats) -> tuple[float, ...]:
    """What two rankings differ by, as one: they err alike from the ranking on all texts."""
    return (float(moved[0] - moved[1]) / 2**0.5,) if len(moved) == _RANKINGS else ()


def _slopes(removed: Removed, whole: Sequence[float], shares: tuple[Floats, Floats]) -> Floats:
    """(fit, text): what a concept's texts add to the value, by the ratio's derivative."""
    clean, after = removed.clean, removed.ablated
    parts = (clean.own, after.own), (clean.others, after.others)
    slopes = [
        ((before - left) - share[:, None, None] * before).mean(0) / gap
        for (before, left), share, gap in zip(parts, shares, whole, strict=True)
    ]
    result: Floats = slopes[0] - slopes[1]
    return result
