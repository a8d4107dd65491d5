"""RAVEL and principled evaluation of one dictionary, on drawn entities and groups of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.gate_draws import SEEDS, Draw, Indices
from benchmarks.gate_reconstruction import Shared
from pytest_sae.measure import principled, ravel
from pytest_sae.metrics import principled_estimates
from pytest_sae.metrics.principled_estimates import Answers, Edits, TaskReadings
from pytest_sae.metrics.ravel import InterchangePairs, Outcome, estimates
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import LoadedSAE


@dataclass(frozen=True)
class RavelPool:
    """What masks do to the test pairs: entities, prompts, pairs and masks of each seed."""

    made: Sequence[tuple[list[Outcome], dict[str, str]]]

    @classmethod
    def of(cls, shared: Shared, sae: LoadedSAE) -> RavelPool:
        """Train all masks with each seed."""
        session = shared.session
        latents, tasks, sizes = session.latents(sae), session.tasks, session.suite.sizes
        return cls([ravel.outcomes(latents, tasks.ravel, seed, sizes.ravel) for seed in SEEDS])

    def measured(self, draw: Draw) -> Iterator[tuple[Estimate, tuple[Control, ...]]]:
        """Give the figures on the pairs of the drawn entities; the family has no controls."""
        outcomes, missing = self.made[draw.made_with]
        entities: dict[str, set[int]] = {}
        for each in outcomes:
            entities.setdefault(_task(each), set()).update(each.pairs.entity.tolist())
        drawn = {
            task: draw.units(np.array(sorted(members)), "ravel", task)
            for task, members in entities.items()
        }
        taken = [_drawn_outcome(each, drawn[_task(each)]) for each in outcomes]
        yield from ((each, ()) for each in estimates(taken, missing, draw.number))


def _task(outcome: Outcome) -> str:
    return outcome.attribute.rpartition(".")[0]


def _drawn_outcome(outcome: Outcome, entities: Indices) -> Outcome:
    pairs = outcome.pairs
    chosen, entity = _members(pairs.entity, entities)
    return replace(
        outcome,
        pairs=InterchangePairs(
            pairs.base[chosen], pairs.source[chosen], pairs.target[chosen], entity,
            pairs.cause[chosen],
        ),
        masked=outcome.masked[:, chosen],
        everything=outcome.everything[chosen],
    )  # fmt: skip


@dataclass(frozen=True)
class PrincipledPool:
    """What is read of every group of texts, with the edits of each seed.

    Edits belong to groups. Each drawn group brings those of a seed of its own: with one seed for
    all of them, what the choice of edits adds would be counted twice, within groups and again.
    """

    read: Sequence[Sequence[TaskReadings]]  # by task, by seed

    @classmethod
    def of(cls, shared: Shared, sae: LoadedSAE) -> PrincipledPool:
        """Read every text, and make every edit."""
        session = shared.session
        latents, tasks, sizes = session.latents(sae), session.tasks, session.suite.sizes
        return cls([
            [principled.read_task(latents, each, seed, sizes.principled) for seed in SEEDS]
            for each in tasks.principled
        ])  # fmt: skip

    def measured(self, draw: Draw) -> Iterator[tuple[Estimate, tuple[Control, ...]]]:
        """Give the figures on the drawn groups; the family has no controls."""
        tasks = [_drawn_task(each, draw) for each in self.read]
        found = principled_estimates.estimates(tasks, draw.number)
        yield from ((each, ()) for each in found)


def _drawn_task(seeds: Sequence[TaskReadings], draw: Draw) -> TaskReadings:
    task = seeds[0]
    groups = draw.units(np.arange(task.groups), "principled", task.name)
    made_with = draw.rng("principled", task.name, "edits").integers(len(seeds), size=len(groups))
    # What single latents tell of values does not gate, and is left as it is.
    return replace(
        task,
        answers=_drawn_answers(task.answers, groups),
        edits=[
            _drawn_edits([each.edits[place] for each in seeds], groups, made_with)
            for place in range(len(task.edits))
        ],
    )


def _drawn_answers(answers: Answers, groups: Indices) -> Answers:
    texts, group = _members(answers.group, groups)
    return Answers(
        group,
        answers.clean[texts],
        answers.mean[texts],
        {who: each[texts] for who, each in answers.spliced.items()},
        {who: each[texts] for who, each in answers.removed.items()},
    )


def _drawn_edits(seeds: Sequence[Edits], groups: Indices, made_with: Indices) -> Edits:
    drawn = enumerate(zip(made_with, groups, strict=True))
    return _joined([_of_group(seeds[seed], group, number) for number, (seed, group) in drawn])


def _of_group(edits: Edits, group: int, number: int) -> Edits:
    own = edits.group == group
    return Edits(
        edits.attribute,
        np.full(own.sum(), number),
        edits.value[own],
        edits.clean[own],
        {k: each[own] for k, each in edits.edited.items()},
        edits.supervised[own],
        {k: each[own] for k, each in edits.weight.items()},
        edits.supervised_weight[own],
    )


def _joined(parts: Sequence[Edits]) -> Edits:
    first = parts[0]
    return Edits(
        first.attribute,
        np.concatenate([each.group for each in parts]),
        np.concatenate([each.value for each in parts]),
        np.concatenate([each.clean for each in parts]),
        {k: np.concatenate([each.edited[k] for each in parts]) for k in first.edited},
        np.concatenate([each.supervised for each in parts]),
        {k: np.concatenate([each.weight[k] for each in parts]) for k in first.weight},
        np.concatenate([each.supervised_weight for each in parts]),
    )


def _members(unit: Indices, drawn: Indices) -> tuple[Indices, Indices]:
    """Return what belongs to the drawn units, and the number of the draw that each belongs to."""
    found = [np.flatnonzero(unit == each) for each in drawn]
    return np.concatenate(found), np.repeat(np.arange(len(drawn)), [len(each) for each in found])
