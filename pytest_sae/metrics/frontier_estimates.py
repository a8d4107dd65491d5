"""From the curves of the erasure frontier to the score: how surgical a dictionary is.

    estimates(frontiers, seed, kl=None, left_out=None) -> list[Estimate]

- *Axes.* Removal and collateral of `frontier`, both 0 for the untouched texts and 1 at chance.
- *Range.* Every frontier begins at (0, 0), doing nothing, and ends at (1, 1), wiping the whole
  activation: both can always be done, so the area is over all of removal, also where ablating
  latents never gets there. Between two points it is straight: one may do either by the toss of a
  coin. A dictionary whose ablations are no better than such a toss has the diagonal.
- *Envelope.* The points are the corners of the lower convex hull of (0, 0), all n, (1, 1), chosen
  by the AUCs on training texts that a fit has not seen (out of bag). On the test texts nothing is
  chosen, so noise does not add area there; the line through the same points may cross itself.
- *Area.* `G = 1 - 2 * integral of collateral d removal`: 0 for the diagonal, 1 for all removed at
  no cost; with a single corner G is removal minus collateral.
- *Score.* `erasure = sum over concepts of (G_sae - G_random) / sum of (G_leace - G_random)`.
  G_random is the mean over random orders of the latents that the dictionary would ablate, each
  order cut where its total effect is that of the first n.

0 is no better than random latents of the same dictionary, 1 as surgical as the optimum; it is not
bounded by either. Concepts whose own clean probe, or whose neighbours' probes, are not three
standard errors above chance are left out, and listed. Where LEACE is not three standard errors
better than random latents the score is undefined: there is nothing to win.

The standard error is over test texts and probe fits, the training texts taken as given: over fresh
texts to train on too the score moves as far (docs/audit.md), as LEACE and random latents, which it
is a ratio to, move along.

A task of one concept has nothing that could be damaged: SCR tasks have two labels, of which each is
the other's collateral; class tasks need four classes (`frontier_texts.pairs`), or are left out.

Why so. On the bundled world, share of the class mean differences that is gone at n = 20, TPP:
trained 0.19, random weights 0.06; `tpp.margin`: 0.16 and 0.21. Among many random rows some point
along any given probe, so that choosing latents by a probe and measuring their ablation by the same
probe rewards rows that cancel it, whatever becomes of the concept; and they spare the other probes
by construction. Hence a probe fitted again. Fitted again as sharply as those of SCR and TPP it
finds what the reconstruction error leaves of every concept: on the SCR tasks 0.12 removed by the
trained dictionary and 0.10 by the random one, all effects ablated. Hence the noise of
`probes.NOISE`. Refitting the other probes as well, or reading them through noise, makes nearly all
collateral vanish, that of random latents too. Hence probes in use there. Against the rest of four
exclusive classes a planted dictionary of one latent per class scores 0.17: a class without its
latent is still told by the absence of the others. Hence pairs of classes, where it scores 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pytest_sae.metrics.ablation import Indices
from pytest_sae.metrics.frontier import Frontier
from pytest_sae.metrics.frontier_area import area
from pytest_sae.metrics.frontier_influence import chosen, influences
from pytest_sae.metrics.frontier_texts import ProbeAucs
from pytest_sae.metrics.probe_bootstrap import (
    Draws,
    draw_by_rank,
    nothing_to_erase,
    number,
    point,
    surely_positive,
)
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator
from pytest_sae.numbers.estimate import Estimate, Param, unable, undefined

#: The groups of tasks that have a score of their own beside that of all of them.
GROUPS = ("scr", "tpp")
#: (metric, params) of all estimates.
NAMES: tuple[tuple[str, Mapping[str, Param]], ...] = (
    ("erasure", {}),
    ("erasure", {"tasks": "scr"}),
    ("erasure", {"tasks": "tpp"}),
)


def estimates(
    frontiers: Mapping[str, Sequence[Frontier]],
    seed: int,
    kl: Mapping[str, object] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> list[Estimate]:
    """Return `erasure` over all concepts, and over those of each group of tasks; higher is better.

    Args:
        frontiers: per group, from `trace`, all with the same ns; a group without tasks is empty.
        seed: the run's; intervals of two dictionaries use the same draws.
        kl: for the report, what ablation does to the model's output.
        left_out: for the report, why there is nothing to measure on a task.

    Returns:
        0 where the dictionary is no better than random latents of its own, 1 where it is as
        surgical as LEACE, not bounded by either; `undefined` where there is nothing to win.

    One concept: the dictionary takes its probe to chance at no cost, as LEACE does; random latents
    take half of it and half of the other concept.

    >>> from pytest_sae.metrics.frontier import ProbeAucs
    >>> def read(own, others):
    ...     even = np.full((1, 1, 4), 0.25)
    ...     return ProbeAucs(own * even, others * even, np.array([[own, others]]))
    >>> clean, gone, half = read(1.0, 1.0), read(0.5, 1.0), read(0.75, 0.75)
    >>> texts = np.arange(4)
    >>> concept = Frontier("t", "c", (1,), texts, texts * 1.0, texts[:1], clean, gone, (half,),
    ...     {"leace": gone})
    >>> [(each.params, each.value) for each in estimates({"scr": [concept]}, seed=0)][:2]
    [({}, 1.0), ({'tasks': 'scr'}, 1.0)]
    """
    drawn: dict[str, Draws] = {}
    measured = {
        group: [_Measured(each, _draws(each, seed, drawn)) for each in found]
        for group, found in frontiers.items()
    }
    told = {"kl": dict(kl or {}), "left_out": dict(left_out or {})}
    everything = [each for group in measured.values() for each in group]
    return [
        _score(everything, {}, told),
        *(_score(measured.get(group, []), {"tasks": group}, told) for group in GROUPS),
    ]


def _draws(frontier: Frontier, seed: int, drawn: dict[str, Draws]) -> Draws:
    """Draw a task's texts once, by rank within their cell: the order they stand in has no part."""
    if frontier.task not in drawn:
        fits, rng = frontier.clean.own.shape[1], generator(seed, "erasure", frontier.task)
        drawn[frontier.task] = draw_by_rank(frontier.cells, frontier.key, fits, rng)
    return drawn[frontier.task]


@dataclass(frozen=True)
class _Axes:
    """One curve of one concept, per draw."""

    removal: Floats  # (draw, point)
    collateral: Floats  # (draw, point)

    def area(self, chosen: Indices | slice) -> Floats:
        return area(self.removal[:, chosen], self.collateral[:, chosen])


@dataclass(frozen=True)
class _Measured:
    """One concept's curves with their bootstrap draws."""

    frontier: Frontier
    draws: Draws

    def mean(self, values: Floats) -> Floats:
        """(point, fit, text) shares to AUCs, (draw, point)."""
        return self.draws.over_fits(self.draws.over_texts(values))

    @cached_property
    def clean(self) -> tuple[Floats, Floats]:
        """Own and others' AUC above chance, (draw, 1) each."""
        clean = self.frontier.clean
        return self.mean(clean.own) - 0.5, self.mean(clean.others) - 0.5

    def axes(self, readings: ProbeAucs) -> _Axes:
        clean, (own, others) = self.frontier.clean, self.clean
        # Differences before sums: a dictionary that does nothing removes exactly 0.
        return _Axes(
            divide(self.mean(clean.own - readings.own), own),
            divide(self.mean(clean.others - readings.others), others),
        )

    def corners(self, readings: ProbeAucs) -> Indices:
        """Return the corners of a curve on training texts."""
        return chosen(self.frontier, readings)

    @cached_property
    def ours(self) -> _Axes:
        """The dictionary's curve."""
        return self.axes(self.frontier.sae)

    @cached_property
    def shuffled(self) -> list[_Axes]:
        """The curves of random latents."""
        return [self.axes(each) for each in self.frontier.random]

    @cached_property
    def erased(self) -> dict[str, _Axes]:
        """The references of one point."""
        return {name: self.axes(each) for name, each in self.frontier.erased.items()}

    @cached_property
    def sae(self) -> Floats:
        """(draw,) the dictionary's area."""
        return self.ours.area(self.corners(self.frontier.sae))

    @cached_property
    def random(self) -> Floats:
        """(draw,) the mean area of random latents."""
        curves = zip(self.shuffled, self.frontier.random, strict=True)
        result: Floats = np.mean([axes.area(self.corners(each)) for axes, each in curves], axis=0)
        return result

    @cached_property
    def leace(self) -> Floats:
        """(draw,) the optimum's area."""
        return self.erased["leace"].area(slice(None))

    @cached_property
    def problem(self) -> str:
        """Why the concept has no frontier; empty if it has one. No dictionary has a part in it."""
        own, others = self.clean
        return nothing_to_erase(own[:, 0], others[:, 0], self.frontier.clean.known[0])


def _score(
    measured: Sequence[_Measured],
    params: Mapping[str, Param],
    told: Mapping[str, object],
) -> Estimate:
    used = [each for each in measured if not each.problem]
    details: dict[str, object] = {
        **told,
        "used": len(used),
        "expected": len(measured),
        "excluded": {_name(each): each.problem for each in measured if each.problem},
    }
    if not used:
        if not measured:
            reason = "there is no task with two concepts that can be told apart"
            return undefined("erasure", reason, params, details)
        reason = (
            f"none of the {len(measured)} concepts is told by its probe and its neighbours' by "
            "theirs more than three standard errors above chance"
        )
        return unable("erasure", reason, params, details)
    ours = np.sum([each.sae - each.random for each in used], axis=0)
    optimum = np.sum([each.leace - each.random for each in used], axis=0)
    details |= {
        "areas": _areas(used),
        "frontier": _frontier(used),
        "fit_sd": _fit_sd(used),
        "concepts": {_name(each): _told(each) for each in used},
    }
    if not surely_positive(optimum):
        reason = (
            f"LEACE encloses {optimum[0] / len(used):.3g} more area than random latents, not more "
            "than three standard errors: there is nothing to win"
        )
        return undefined("erasure", reason, params, details)
    n = {
        "texts": _texts(used),
        "concepts": len(used),
        "tasks": len({e.frontier.task for e in used}),
    }
    seeds = used[0].frontier.clean.own.shape[1]
    told_by = _influence(used, float(ours[0] / optimum[0]), float(optimum[0]))
    return drawn_estimate("erasure", divide(ours, optimum), params, n, seeds, details, told_by)


def _influence(used: Sequence[_Measured], score: float, whole: float) -> tuple[float, ...]:
    """What texts and fits of every task add to the score's error, task after task."""
    tasks: dict[str, list[Frontier]] = {}
    for each in used:
        tasks.setdefault(each.frontier.task, []).append(each.frontier)
    parts = [influences(concepts, score, whole) for concepts in tasks.values()]
    return tuple(value for part in parts for value in part)


def _areas(used: Sequence[_Measured]) -> dict[str, object]:
    """Mean over the concepts."""
    found = {
        "sae": [each.sae for each in used],
        "random": [each.random for each in used],
        "leace": [each.leace for each in used],
    }
    return {name: point(np.mean(areas, axis=0)) for name, areas in found.items()}


def _name(each: _Measured) -> str:
    return f"{each.frontier.task}: {each.frontier.concept}"


def _texts(used: Sequence[_Measured]) -> int:
    return sum({each.frontier.task: len(each.frontier.cells) for each in used}.values())


def _fit_sd(used: Sequence[_Measured]) -> float | None:
    """Spread of the score from one probe fit to the next, all concepts together."""
    fits = used[0].frontier.clean.own.shape[1]
    if fits < 2:
        return None
    scores = []
    for fit in range(fits):
        alone = Draws(np.ones((1, 1)), np.eye(fits)[fit][None])
        each_fit = [
            _Measured(e.frontier, Draws(np.ones((1, len(e.frontier.cells))), alone.fits))
            for e in used
        ]
        ours = sum(float((e.sae - e.random)[0]) for e in each_fit)
        scores.append(ours / sum(float((e.leace - e.random)[0]) for e in each_fit))
    return number(float(np.std(scores, ddof=1)))


def _frontier(used: Sequence[_Measured]) -> dict[str, object]:
    """The mean curves over the concepts, for the chart."""
    ns = used[0].frontier.ns
    curves: dict[str, object] = {
        "sae": _line([[each.ours] for each in used], ns),
        "random": _line([each.shuffled for each in used], ns),
    }
    for name in sorted({name for each in used for name in each.frontier.erased}):
        having = [each for each in used if name in each.frontier.erased]
        lines = _line([[each.erased[name]] for each in having], (0,))
        curves[name] = [lines[0] | {"concepts": len(having)}]
    return curves


def _line(curves: Sequence[Sequence[_Axes]], ns: Sequence[int]) -> list[dict[str, object]]:
    removal = np.mean([np.mean([axes.removal for axes in each], axis=0) for each in curves], axis=0)
    collateral = np.mean(
        [np.mean([axes.collateral for axes in each], axis=0) for each in curves], axis=0
    )
    return [
        {"n": n, "removal": point(removal[:, place]), "collateral": point(collateral[:, place])}
        for place, n in enumerate(ns)
    ]


def _told(each: _Measured) -> dict[str, object]:
    axes, frontier = each.ours, each.frontier
    return {
        "sae": point(each.sae),
        "random": point(each.random),
        "leace": point(each.leace),
        "removal": [number(value) for value in axes.removal[0]],
        "collateral": [number(value) for value in axes.collateral[0]],
        "corners": [frontier.ns[place] for place in each.corners(frontier.sae)],
        "latents": [int(latent) for latent in frontier.latents[:20]],
        "available": len(frontier.latents),
    }
