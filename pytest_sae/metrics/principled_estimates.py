"""From readings of a task with known attributes to the figures of `principled`.

    TaskReadings(name, groups, answers, edits, values)         estimates(tasks, seed)

Everything is bootstrapped over groups of texts that differ in their attributes alone; what was
chosen on the other half of the groups is held fixed. Per attribute first, then means over the
attributes of all tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.principled import OCCLUDED, Coverage
from pytest_sae.numbers.bootstrap import (
    Floats,
    Resamples,
    divide,
    drawn_estimate,
    generator,
    resample,
)
from pytest_sae.numbers.estimate import Estimate, Param, unable, undefined

HEADLINE_K = 2  # one latent out and one in, as an edit by supervised features
KS = (1, 2, 4, 8)
MATTERS = 0.5  # nats that a changed attribute must move the model's next token by

NAMES: tuple[tuple[str, Mapping[str, Param]], ...] = (
    ("principled.sufficiency", {}),
    ("principled.necessity", {}),
    ("principled.control", {"k": HEADLINE_K}),
    ("principled.removed", {"k": HEADLINE_K}),
    ("principled.f1", {}),
    ("principled.occlusion", {}),
    ("principled.splitting", {}),
)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Logit of the answer minus that of the wrong one, (text,) for each state of the site.

    Args:
        group: (text,) index of the group.
        clean: untouched.
        mean: with the mean activation in place.
        spliced: by dictionary, with its reconstruction in place.
        removed: by dictionary, with the mean and what it does not reconstruct in place.
    """

    group: Ints
    clean: Floats
    mean: Floats
    spliced: Mapping[str, Floats]
    removed: Mapping[str, Floats]


@dataclass(frozen=True)
class Edits:
    """Edits of one attribute: KL of the next token from the counterfactual, in nats.

    Args:
        attribute: its name.
        group: (edit,) index of the group.
        value: (edit,) number of the base's value.
        clean: (edit,) KL(counterfactual || untouched).
        edited: by number of latents, (edit,) KL(counterfactual || edited).
        supervised: (edit,) the same with one supervised feature out and one in.
        weight: by number of latents, (edit,) share of the reconstruction that was removed.
        supervised_weight: (edit,).
    """

    attribute: str
    group: Ints
    value: Ints
    clean: Floats
    edited: Mapping[int, Floats]
    supervised: Floats
    weight: Mapping[int, Floats]
    supervised_weight: Floats


@dataclass(frozen=True)
class Values:
    """How well single latents tell the values of one attribute, on texts not used to pick them.

    Args:
        attribute: its name.
        names: of its values.
        group: (text,) index of the group.
        f1: by dictionary, (group, value, 2) from `f1_counts`.
        of: (text,) number of the text's value.
        coverage: per value, from `covering`.
    """

    attribute: str
    names: Sequence[str]
    group: Ints
    f1: Mapping[str, Floats]
    of: Ints
    coverage: Sequence[Coverage]


@dataclass(frozen=True)
class TaskReadings:
    """All that was read on one task.

    Args:
        name: of the task.
        groups: how many groups of test texts there are.
        answers: with reconstructions in place.
        edits: of the attributes that have any.
        values: of every attribute.
        dropped: test texts left out because they have a value that no text to fit on has.
        place: for the report, where the task was read if that was chosen for it.
    """

    name: str
    groups: int
    answers: Answers
    edits: Sequence[Edits]
    values: Sequence[Values]
    dropped: int = 0
    place: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Figure:
    """One unit's figure, (1 + draw,) the sample itself first; or why there is none."""

    unit: str
    values: Floats | None
    told: Mapping[str, object]
    missing: str = ""
    of_model: bool = False  # no dictionary has it: the model does not do the task here


def estimates(
    tasks: Sequence[TaskReadings], seed: int, lost: Mapping[str, str] = MappingProxyType({})
) -> list[Estimate]:
    """Return the seven figures.

    - `principled.sufficiency`: `(spliced - mean) / (clean - mean)` of the logit difference.
    - `principled.necessity`: `(clean - removed) / (clean - mean)`.
    - `principled.control`: `1 - KL(edited) / KL(untouched)` from the counterfactual; 1 is all of
      the edit, 0 none of it.
    - `principled.removed`: share of the reconstruction that these edits take away; lower is better.
    - `principled.f1`: of the best latent per value.
    - `principled.occlusion`: share of the values that matter which no latent stands for.
    - `principled.splitting`: latents per value that has any.

    The supervised dictionary's value stands beside each in the details.

    Args:
        tasks: what was read of each.
        seed: the run's; intervals of two dictionaries use the same draws.
        lost: tasks that could not be read, and why.

    Returns:
        One estimate per entry of `NAMES`; `undefined` where no task has the figure, `unable` where
        that is the model's doing.

    Source: Makelov, Lange and Nanda 2024 (arXiv 2405.08366).

    Spliced reconstructions recover half of the logit difference, and what they leave out carries a
    quarter:

    >>> clean, none = np.full(4, 8.0), np.zeros(4)
    >>> halves = {"own": clean / 2, "supervised": clean}
    >>> quarters = {"own": clean / 4, "supervised": none}
    >>> answers = Answers(np.arange(4), clean, none, halves, quarters)
    >>> found = estimates([TaskReadings("task", 4, answers, [], [])], seed=0)
    >>> [(each.metric, each.value) for each in found[:2]]
    [('principled.sufficiency', 0.5), ('principled.necessity', 0.75)]
    """
    measured = [_figures(task, _draws(task, seed)) for task in tasks]
    gone = [_Figure(name, None, {}, why) for name, why in lost.items()]
    n = {
        "tasks": len(tasks),
        "groups": sum(task.groups for task in tasks),
        "texts": sum(len(task.answers.group) for task in tasks),
        "texts_dropped": sum(task.dropped for task in tasks),
    }
    places = {task.name: dict(task.place) for task in tasks if task.place}
    return [
        _mean(name, params, [*chain(*(each[name] for each in measured)), *gone], n, places)
        for name, params in NAMES
    ]


def _figures(task: TaskReadings, draws: Resamples) -> dict[str, list[_Figure]]:
    """Every figure of one task, by the metric that it counts for."""
    return {
        "principled.sufficiency": [_share(task, draws, task.answers.spliced, _gain)],
        "principled.necessity": [_share(task, draws, task.answers.removed, _loss)],
        "principled.control": [_control(task, draws, each) for each in task.edits],
        "principled.removed": [_removed(task, draws, each) for each in task.edits],
        "principled.f1": [_f1(task, draws, each) for each in task.values],
        "principled.occlusion": [_occlusion(task, draws)],
        "principled.splitting": [_splitting(task)],
    }


def _mean(
    name: str,
    params: Mapping[str, Param],
    figures: Sequence[_Figure],
    n: Mapping[str, int],
    places: Mapping[str, object],
) -> Estimate:
    found = [(each, each.values) for each in figures if each.values is not None]
    details: dict[str, object] = {
        "units": {each.unit: dict(each.told) for each, _ in found},
        "undefined": {each.unit: each.missing for each in figures if each.values is None},
        **({"places": dict(places)} if places else {}),
    }
    if not found:
        reason = "; ".join(f"{each.unit}: {each.missing}" for each in figures)
        of_model = bool(figures) and all(each.of_model for each in figures)
        absent = unable if of_model else undefined
        return absent(name, reason or "no attribute can be edited", params, details)
    values = np.mean([drawn for _, drawn in found], axis=0)
    counts = {**n, "units": len(found), "units_expected": len(figures)}
    return drawn_estimate(name, values, params, counts, details=details)


def _draws(task: TaskReadings, seed: int) -> Resamples:
    return resample(task.groups, generator(seed, "principled", task.name)).with_sample()


def _sums(draws: Resamples, group: Ints, values: Floats) -> Floats:
    groups = draws.counts.shape[1]
    per_group = np.bincount(group, weights=values, minlength=groups).astype(float)
    return draws.sums(per_group[:, None])[:, 0]


def _gain(answers: Answers, state: Floats) -> Floats:
    return state - answers.mean


def _loss(answers: Answers, state: Floats) -> Floats:
    return answers.clean - state


def _share(
    task: TaskReadings,
    draws: Resamples,
    states: Mapping[str, Floats],
    part: Callable[[Answers, Floats], Floats],
) -> _Figure:
    answers = task.answers
    below = _sums(draws, answers.group, answers.clean - answers.mean)
    if np.percentile(below, 2.5) <= 0:
        return _Figure(
            task.name,
            None,
            {},
            "the mean activation in place costs no logit difference: nothing the answer needs is "
            "at this site and place",
            of_model=True,
        )
    shares = {
        who: divide(_sums(draws, answers.group, part(answers, state)), below)
        for who, state in states.items()
    }
    told = {who: float(values[0]) for who, values in shares.items()}
    told["logit_difference"] = float(answers.clean.mean())
    told |= _relative(told["own"], told["supervised"])
    return _Figure(task.name, shares["own"], told)


def _relative(own: float, supervised: float) -> dict[str, float]:
    """The dictionary's figure over the supervised one's, where that is something to reach."""
    return {"relative": own / supervised} if supervised > 0 else {}


def _missing(edits: Edits) -> str:
    moved = float(edits.clean.mean())
    if moved >= MATTERS:
        return ""
    return (
        f"its counterfactual moves the next token by {moved:.3f} nats, less than {MATTERS}: the "
        "answer does not depend on it at this site and place"
    )


def _control(task: TaskReadings, draws: Resamples, edits: Edits) -> _Figure:
    unit = f"{task.name}.{edits.attribute}"
    if _missing(edits):
        return _Figure(unit, None, {}, _missing(edits), of_model=True)
    below = _sums(draws, edits.group, edits.clean)

    def achieved(left: Floats) -> Floats:
        return 1 - divide(_sums(draws, edits.group, left), below)

    curve = {k: achieved(left) for k, left in edits.edited.items()}
    told = {
        "curve": {str(k): float(values[0]) for k, values in curve.items()},
        "supervised": float(achieved(edits.supervised)[0]),
        "kl": float(edits.clean.mean()),
        "edits": len(edits.clean),
    }
    told |= _relative(float(curve[HEADLINE_K][0]), float(achieved(edits.supervised)[0]))
    return _Figure(unit, curve[HEADLINE_K], told)


def _removed(task: TaskReadings, draws: Resamples, edits: Edits) -> _Figure:
    unit = f"{task.name}.{edits.attribute}"
    if _missing(edits):
        return _Figure(unit, None, {}, _missing(edits), of_model=True)
    below = _sums(draws, edits.group, np.ones_like(edits.clean))
    curve = {k: divide(_sums(draws, edits.group, w), below) for k, w in edits.weight.items()}
    told = {
        "curve": {str(k): float(values[0]) for k, values in curve.items()},
        "supervised": float(edits.supervised_weight.mean()),
    }
    return _Figure(unit, curve[HEADLINE_K], told)


def _f1(task: TaskReadings, draws: Resamples, values: Values) -> _Figure:
    mean = {who: _mean_f1(draws, counts) for who, counts in values.f1.items()}
    unit = f"{task.name}.{values.attribute}"
    if not np.isfinite(mean["own"][0]):
        return _Figure(unit, None, {}, "none of its values stands in the held-out texts")
    shares = np.bincount(values.of, minlength=len(values.names)) / len(values.of)
    told = {
        **{who: float(each[0]) for who, each in mean.items()},
        "always": float((2 * shares / (1 + shares)).mean()),
        "values": len(values.names),
    }
    return _Figure(unit, mean["own"], told)


def _mean_f1(draws: Resamples, counts: Floats) -> Floats:
    above, below = (draws.sums(counts[:, :, side]) for side in (0, 1))
    each = divide(above, below)
    # A value that stands in no held-out text, and that no latent claims there, has no F1.
    counted = np.isfinite(each)
    if counted.all():
        mean: Floats = each.mean(1)
        return mean
    return divide(np.where(counted, each, 0.0).sum(1), counted.sum(1))


def _occlusion(task: TaskReadings, draws: Resamples) -> _Figure:
    columns, told = [], {}
    for edits in task.edits:
        values = next(each for each in task.values if each.attribute == edits.attribute)
        for number, name in enumerate(values.names):
            own = edits.value == number
            if not own.any() or edits.clean[own].mean() < MATTERS:
                continue
            texts = values.of == number
            covered = values.coverage[number].covered.astype(float)
            share = divide(
                _sums(draws, values.group[texts], covered),
                _sums(draws, values.group[texts], np.ones_like(covered)),
            )
            columns.append(np.where(np.isnan(share), np.nan, share < OCCLUDED))
            told[f"{edits.attribute}={name}"] = float(share[0])
    if not columns:
        why = f"no attribute value moves the next token by {MATTERS} nats here"
        return _Figure(task.name, None, {}, why, of_model=True)
    return _Figure(task.name, np.nanmean(columns, axis=0), {"covered": told})


def _splitting(task: TaskReadings) -> _Figure:
    needed = {
        f"{values.attribute}={name}": each.needed
        for values in task.values
        for name, each in zip(values.names, values.coverage, strict=True)
        if len(each.covered) and each.covered.mean() >= OCCLUDED
    }
    if not needed:
        return _Figure(task.name, None, {}, "no attribute value has a latent of its own")
    counts = np.array(list(needed.values()), float)
    drawn = resample(len(counts), generator(0, "principled", task.name, "values"))
    means = np.concatenate([[counts.mean()], drawn.counts @ counts / len(counts)])
    return _Figure(task.name, means, {"latents": needed})
