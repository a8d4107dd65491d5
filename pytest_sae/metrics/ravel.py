"""RAVEL: does exchanging some latents change one attribute of an entity and leave the others?

    InterchangePairs(base, source, target, entity, cause)
    train_mask(answer, pairs, width, rng, schedule) -> (J,) bool
    Outcome(attribute, masked, everything, pairs, ...)        estimates(outcomes, seed)

After Huang et al. 2024 (arXiv 2402.17700) and SAEBench's binary mask over latents. A pair is two
prompts that differ in their entity alone. In a *cause* pair they ask for the attribute, and the
answer should become the source's; in an *isolation* pair they ask for another attribute, and the
base's answer should stay. Which kind a pair is comes from the labels, never from a prediction.
`disentangle = (cause + isolation) / 2` is 1/2 if nothing is exchanged, and near it if the whole
activation is, so that the default figure is `(disentangle - floor) / (1 - floor)` with the better
of these two as the floor. Neither depends on the dictionary.

A mask that is trained on other prompts is right on other answers. So a few are
trained for each attribute: the figures are their mean, and how far they lie apart is in the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.numbers.bootstrap import (
    Floats,
    divide,
    drawn_estimate,
    drawn_means,
    generator,
    resample,
)
from pytest_sae.numbers.estimate import Estimate, unable

NAMES = ("ravel", "ravel.disentangle", "ravel.cause", "ravel.isolation")

_NO_ROOM = "exchanging the whole activation is right everywhere: there is nothing to tell apart"

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Answer = Callable[[Ints, Tensor], Tensor]


@dataclass(frozen=True)
class MaskSchedule:
    """How a mask is trained; nothing here is chosen on test data.

    Args:
        steps: of Adam, one batch each.
        batch: pairs per step, half of them cause and half isolation pairs.
        rate: step size.
        hottest: temperature of the sigmoid at the first step.
        coldest: at the last; in between it falls geometrically.
    """

    steps: int = 60
    batch: int = 48
    rate: float = 0.1
    hottest: float = 1.0
    coldest: float = 0.05


@dataclass(frozen=True)
class InterchangePairs:
    """Base and source prompts that differ in their entity alone.

    Args:
        base: (pair,) index of the prompt that is asked.
        source: (pair,) index of the prompt that lends its latents.
        target: (pair,) token that is right: the source's in cause pairs, else the base's.
        entity: (pair,) index of the base's entity.
        cause: (pair,) whether the answer should change.
    """

    base: Ints
    source: Ints
    target: Ints
    entity: Ints
    cause: Bools

    def __len__(self) -> int:
        return len(self.base)

    def first_causes(self, most: int) -> InterchangePairs:
        """Return the first cause pairs."""
        some = np.flatnonzero(self.cause)[:most]
        return InterchangePairs(
            self.base[some],
            self.source[some],
            self.target[some],
            self.entity[some],
            self.cause[some],
        )


def train_mask(
    answer: Answer,
    pairs: InterchangePairs,
    width: int,
    rng: np.random.Generator,
    schedule: MaskSchedule,
) -> Bools:
    """Return which latents carry the attribute, (width,) bool.

    Minimises the cross-entropy of the right token over cause and isolation pairs in equal parts,
    with `sigmoid(a / T)` in place of the mask, a = 0 at first, T falling; the mask is `a > 0`.

    Args:
        answer: (indices of pairs, mask (width,)) to logits (n, vocab), differentiable in the mask.
        pairs: for training.
        width: how many latents there are to choose from.
        rng: orders the pairs.
        schedule: of the optimisation.

    Returns:
        True for the latents that are to be exchanged.

    Raises:
        ValueError: pairs of one kind only.

    Two latents, of which exchanging the first makes the answer the source's, token 1:

    >>> kind, same = np.arange(4) % 2, np.zeros(4, np.int64)
    >>> pairs = InterchangePairs(same, same, target=kind, entity=np.arange(4), cause=kind > 0)
    >>> def answer(asked, mask):
    ...     own = torch.from_numpy(pairs.cause[asked]).float() * mask[0] + 0 * mask[1]
    ...     return torch.stack([1 - own, own + 0.5 * mask[1]], dim=1) * 4
    >>> train_mask(answer, pairs, 2, np.random.default_rng(0), MaskSchedule()).tolist()
    [True, False]
    """
    kinds = [np.flatnonzero(pairs.cause), np.flatnonzero(~pairs.cause)]
    if not all(map(len, kinds)):
        raise ValueError("a mask is trained on cause and on isolation pairs; one kind is missing")
    logits = torch.zeros(width, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=schedule.rate)
    half = max(1, schedule.batch // 2)
    streams = [_endless(kind, half, rng) for kind in kinds]
    temperatures = np.geomspace(schedule.hottest, schedule.coldest, schedule.steps)
    targets = torch.from_numpy(pairs.target)
    for temperature in temperatures:
        chosen = np.concatenate([next(stream) for stream in streams])
        with torch.enable_grad():
            mask = torch.sigmoid(logits / float(temperature))
            given = answer(chosen, mask)
            loss = torch.nn.functional.cross_entropy(given, targets[chosen].to(given.device))
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
    return (logits.detach() > 0).numpy()


@dataclass(frozen=True)
class Outcome:
    """What exchanging latents did to the test pairs of one attribute.

    Args:
        attribute: `task.attribute`.
        pairs: of unseen entities and unseen templates.
        masked: (mask, pair) whether the answer is right with each of the trained masks.
        everything: (pair,) the same with the whole activation exchanged.
        details: for the report, such as how many latents the mask holds.
    """

    attribute: str
    pairs: InterchangePairs
    masked: Bools
    everything: Bools
    details: Mapping[str, object] = field(default_factory=dict)


def estimates(outcomes: Sequence[Outcome], missing: Mapping[str, str], seed: int) -> list[Estimate]:
    """Return the four figures, means over attributes; higher is better for each.

    - `ravel`: `(disentangle - floor) / (1 - floor)`, 1 at best, 0 for the better floor.
    - `ravel.disentangle`: `(cause + isolation) / 2`, as published.
    - `ravel.cause`, `ravel.isolation`: accuracies.

    Intervals are a bootstrap over the base entities and over the masks of each attribute.

    Args:
        outcomes: of the attributes that could be measured.
        missing: of the others, why not.
        seed: the run's.

    Returns:
        Four estimates; `unable` where no attribute has room for a mask.

    Source: Huang et al. 2024 (arXiv 2402.17700).

    Two pairs of each kind; the mask is right on all of them, exchanging everything on the causes:

    >>> cause = np.array([True, True, False, False])
    >>> pairs = InterchangePairs(*np.zeros((3, 4), np.int64), np.array([0, 1, 0, 1]), cause)
    >>> found = estimates([Outcome("city", pairs, cause[None] | True, cause)], {}, seed=0)
    >>> [(each.metric, each.value) for each in found[:2]]
    [('ravel', 1.0), ('ravel.disentangle', 1.0)]
    """
    drawn = [_Drawn.of(outcome, seed) for outcome in outcomes]
    missing = {**missing, **{d.outcome.attribute: _NO_ROOM for d in drawn if not d.has_room}}
    drawn = [each for each in drawn if each.has_room]
    if not drawn:
        reason = "; ".join(f"{name}: {why}" for name, why in missing.items())
        return [unable(name, reason) for name in NAMES]
    n = {
        "attributes": len(drawn),
        "attributes_expected": len(drawn) + len(missing),
        "entities": sum(len(np.unique(each.outcome.pairs.entity)) for each in drawn),
        "pairs": sum(len(each.outcome.pairs) for each in drawn),
    }
    details = {
        "attributes": {each.outcome.attribute: each.told() for each in drawn},
        **({"undefined": dict(missing)} if missing else {}),
    }
    return [
        drawn_estimate(
            name,
            np.mean([each.values[name] for each in drawn], axis=0),
            {},
            n,
            max(len(each.outcome.masked) for each in drawn),
            details=details if name == "ravel" else {},
        )
        for name in NAMES
    ]


@dataclass(frozen=True)
class _Drawn:
    """An attribute's figures: each (1 + draw,), the sample itself first."""

    outcome: Outcome
    values: Mapping[str, Floats]
    floors: Mapping[str, float]

    @property
    def has_room(self) -> bool:
        """Whether a mask can be better than exchanging everything."""
        return self.floors["everything"] < 1

    @classmethod
    def of(cls, outcome: Outcome, seed: int) -> _Drawn:
        pairs = outcome.pairs
        shares = _shares(len(outcome.masked), generator(seed, "ravel masks", outcome.attribute))

        def accuracy(hits: Bools, kind: Bools) -> Floats:
            rng = generator(seed, "ravel", outcome.attribute)
            return drawn_means((hits & kind).astype(float), kind.astype(float), pairs.entity, rng)

        def of_masks(kind: Bools) -> Floats:
            each = np.stack([accuracy(hits, kind) for hits in outcome.masked], axis=1)
            result: Floats = (shares * each).sum(1)
            return result

        cause, isolation = (of_masks(kind) for kind in (pairs.cause, ~pairs.cause))
        everything = (
            accuracy(outcome.everything, pairs.cause) + accuracy(outcome.everything, ~pairs.cause)
        ) / 2
        disentangle = (cause + isolation) / 2
        # Prompts that the model answers wrongly are left out, so that doing nothing is 0 and 1.
        floor = np.maximum(everything, 0.5)
        values = {
            "ravel": divide(disentangle - floor, 1 - floor),
            "ravel.disentangle": disentangle,
            "ravel.cause": cause,
            "ravel.isolation": isolation,
        }
        return cls(outcome, values, {"nothing": 0.5, "everything": float(everything[0])})

    def told(self) -> dict[str, object]:
        """Return the attribute's figures for the report."""
        own = {name.removeprefix("ravel."): float(v[0]) for name, v in self.values.items()}
        return {**own, "floors": dict(self.floors), **self.outcome.details}


def _shares(masks: int, rng: np.random.Generator) -> Floats:
    """(1 + draw, mask): how much each mask counts, all alike in row 0.

    Of R masks drawn with replacement the means vary by (R - 1) / R of what the mean of R does vary
    by, a third too little of three: so they are drawn that much farther apart.
    """
    drawn = resample(masks, rng).with_sample().counts / masks
    wider = np.sqrt(masks / (masks - 1)) if masks > 1 else 0.0
    result: Floats = 1 / masks + wider * (drawn - 1 / masks)
    return result


def _endless(kind: Ints, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    left = np.array([], np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(kind)])
        yield left[:size]
        left = left[size:]
