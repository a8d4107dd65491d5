"""Unlearning: clamp the latents of one subject and ask questions on it and on another.

    chosen(forget, retain, rarest, n) -> latents
    clamped(z, latents, typical, m) -> z
    Curve(settings, forget, retain, ...)          estimates(curves, seed)

After Farrell et al. 2024 (arXiv 2410.19278) and SAEBench, with the value that a latent is clamped
to relative to its own typical activation, so that it does not depend on the dictionary's scale.
The setting is chosen on one half of the questions and measured on the other, both ways round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_sae.numbers.bootstrap import Floats, drawn_estimate, drawn_means, generator
from pytest_sae.numbers.estimate import Estimate, unable, undefined

NAMES = ("unlearning", "unlearning.retain")

RETAINED = 0.99
RAREST = (0.001, 0.01)  # share of the retain corpus's tokens that a latent may fire on
COUNTS = (10, 20)
MULTIPLES = (1, 4, 16, 64)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """What is clamped, and where to.

    Args:
        rarest: share of the retain corpus's tokens that a latent may fire on.
        n: how many latents at most.
        m: they are set to -m times their typical activation where they fire.
    """

    rarest: float
    n: int
    m: float


SETTINGS = tuple(Setting(r, n, m) for m in MULTIPLES for n in COUNTS for r in RAREST)


def chosen(forget: Floats, retain: Floats, rarest: float, n: int) -> Ints:
    """Return the latents that fire most on what is to be forgotten and hardly elsewhere.

    Args:
        forget: (d_sae,) share of the forget corpus's tokens that each fires on.
        retain: (d_sae,) the same of the retain corpus.
        rarest: latents that fire on this share of the retain corpus, or more, are left out.
        n: how many at most; only latents that fire on the forget corpus at all.

    Returns:
        Indices of latents, the one that fires most on the forget corpus first.

    Source: Farrell et al. 2024 (arXiv 2410.19278).

    >>> chosen(np.array([0.1, 0.5, 0.3]), np.array([0.0, 0.2, 0.0]), rarest=0.01, n=2).tolist()
    [2, 0]
    """
    able = np.flatnonzero((retain < rarest) & (forget > 0))
    order = np.argsort(-forget[able], kind="stable")
    return able[order[:n]]


@dataclass(frozen=True)
class Curve:
    """What clamping did to the answers of one task.

    Args:
        task: its name.
        forget: (setting, question) share of right answers on what is to be forgotten.
        retain: (setting, question) on what is to stay.
        forget_unit: (question,) unit of each; questions of one unit are drawn together.
        retain_unit: (question,).
        settings: that could be tried: not those for which no latent qualifies.
        details: for the report.
    """

    task: str
    forget: Floats
    retain: Floats
    forget_unit: Ints
    retain_unit: Ints
    settings: Sequence[Setting]
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """Why a task could not be measured.

    Args:
        reason: for the report.
        of_model: whether no dictionary could be: the model does not know enough.
    """

    reason: str
    of_model: bool = False


def estimates(curves: Sequence[Curve], missing: Mapping[str, Missing], seed: int) -> list[Estimate]:
    """Return the figures of the best setting, chosen and measured on different questions.

    - `unlearning`: `1 - accuracy` on what is to be forgotten, higher is better. Of the settings
      with an accuracy of 0.99 at least on what is to stay, the one that forgets most is chosen on
      one half of the units; doing nothing, which scores 0, always is among them.
    - `unlearning.retain`: accuracy on what is to stay at that setting, on the other half.

    Args:
        curves: of the tasks that could be measured.
        missing: of the others, why not.
        seed: of the halves and of the bootstrap over units.

    Returns:
        Two estimates from 0 to 1; `undefined` where no task could be measured, `unable` where that
        is the model's doing.

    Source: Farrell et al. 2024 (arXiv 2410.19278).

    A setting that makes all answers on one subject wrong and changes none on the other:

    >>> curve = Curve("task", np.zeros((1, 4)), np.ones((1, 4)), np.arange(4), np.arange(4),
    ...     [Setting(0.01, 10, 1)])
    >>> [(each.metric, each.value) for each in estimates([curve], {}, seed=0)]
    [('unlearning', 1.0), ('unlearning.retain', 1.0)]
    """
    if not curves:
        reason = "; ".join(f"{name}: {why.reason}" for name, why in missing.items())
        absent = unable if all(why.of_model for why in missing.values()) else undefined
        return [absent(name, reason) for name in NAMES]
    measured = [_measured(curve, seed) for curve in curves]
    n = {
        "tasks": len(curves),
        "tasks_expected": len(curves) + len(missing),
        "questions": sum(c.forget.shape[1] + c.retain.shape[1] for c in curves),
    }
    details = {
        "tasks": {curve.task: each.told for curve, each in zip(curves, measured, strict=True)},
        **({"undefined": {name: why.reason for name, why in missing.items()}} if missing else {}),
    }
    forgotten = np.mean([1 - each.forget for each in measured], axis=0)
    retained = np.mean([each.retain for each in measured], axis=0)
    return [
        drawn_estimate(NAMES[0], forgotten, {}, n, details=details),
        drawn_estimate(NAMES[1], retained, {}, n),
    ]


@dataclass(frozen=True)
class _Measured:
    """Accuracies with the setting of the other half, (1 + draw,), the sample itself first."""

    forget: Floats
    retain: Floats
    told: Mapping[str, object]


def _measured(curve: Curve, seed: int) -> _Measured:
    halves = [
        _half(unit, seed, curve.task, kind)
        for unit, kind in ((curve.forget_unit, "forget"), (curve.retain_unit, "retain"))
    ]
    picks = [_best(curve, halves, side) for side in (False, True)]

    def held_out(accuracy: Floats, half: NDArray[np.bool_], unit: Ints, kind: str) -> Floats:
        # Each question at the setting that the other half chose.
        own = np.where(half, _at(accuracy, picks[0]), _at(accuracy, picks[1]))
        rng = generator(seed, "unlearning", curve.task, kind)
        return drawn_means(own, np.ones_like(own), unit, rng)

    told = {
        "chosen": [_named(curve, pick) for pick in picks],
        "curve": [
            {**_named(curve, place), "forget": float(f.mean()), "retain": float(r.mean())}
            for place, (f, r) in enumerate(zip(curve.forget, curve.retain, strict=True))
        ],
        **curve.details,
    }
    return _Measured(
        held_out(curve.forget, halves[0], curve.forget_unit, "forget"),
        held_out(curve.retain, halves[1], curve.retain_unit, "retain"),
        told,
    )


def _best(curve: Curve, halves: Sequence[NDArray[np.bool_]], side: bool) -> int:
    """Return the setting that half of the questions choose; -1 is to do nothing."""
    forget = curve.forget[:, halves[0] == side].mean(1)
    kept = curve.retain[:, halves[1] == side].mean(1) >= RETAINED
    allowed = np.where(kept, forget, np.inf)
    if not len(allowed) or allowed.min() >= 1:
        return -1
    return int(allowed.argmin())


def _at(accuracy: Floats, setting: int) -> Floats:
    """Return the accuracies at a setting; all questions are answered rightly if nothing is done."""
    return np.ones(accuracy.shape[1]) if setting < 0 else accuracy[setting]


def _named(curve: Curve, setting: int) -> dict[str, object]:
    if setting < 0:
        return {"nothing": True}
    one = curve.settings[setting]
    return {"rarest": one.rarest, "n": one.n, "m": one.m}


def _half(unit: Ints, seed: int, task: str, kind: str) -> NDArray[np.bool_]:
    """Return to which half each question belongs; all questions of a unit to one."""
    units = np.unique(unit)
    order = generator(seed, "unlearning", task, kind, "halves").permutation(units)
    return np.isin(unit, order[: len(order) // 2])
