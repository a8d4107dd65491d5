"""From what probes lose after ablation to the TPP figures, default and canonical.

estimates(tasks, seed, headline_n=20, scale=None) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics.probe_bootstrap import (
    Draws,
    curve,
    draw,
    number,
    surely_positive,
)
from pytest_sae.metrics.protocol import HEADLINE_N
from pytest_sae.metrics.tpp import TppTask, Variant
from pytest_sae.metrics.written_scale import WrittenScale
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator, influence
from pytest_sae.numbers.estimate import Estimate, Param, unable

RESCALED = "tpp.rescaled"
_NAMES: dict[Variant, str] = {
    "accuracy": "tpp",
    "margin": "tpp.margin",
    "canonical": "tpp.canonical",
}


def estimates(
    tasks: Sequence[TppTask],
    seed: int,
    headline_n: int = HEADLINE_N,
    scale: WrittenScale | None = None,
) -> list[Estimate]:
    """Return `tpp`, `tpp.margin` and `tpp.canonical`; higher is better, 0 for a no-op dictionary.

    `tpp` and `tpp.margin` reach 1 when ablating a class takes its own probe to chance and leaves
    all others as they were; `tpp.canonical` is not divided by what can be lost. `tpp.rescaled` is
    `tpp.margin` as it would be if what the latents write were as strong as fits the activations
    best: what ablation takes from a margin is proportional to that. Latents that are right but too
    weak lose nothing by it, and rows that only happen to point along a probe gain nothing.

    Args:
        tasks: from `score_task`, all with the same ns.
        seed: the run's; intervals of two dictionaries use the same draws.
        headline_n: the n of the estimates; the others are in their details.
        scale: what `tpp.rescaled` multiplies by; None leaves it out.

    Returns:
        One estimate per variant; `unable` where the probes know nothing that could be lost.

    Raises:
        ValueError: no task, or headline_n was not measured.

    Source: Karvonen et al. 2024 (arXiv 2411.18895); `tpp.canonical` is theirs, the others are ours.

    Three classes, a text each. Ablation takes each class' own probe from 1 to chance, no other:

    >>> from pytest_sae.metrics.tpp import Effects
    >>> lost, kept = np.full((1, 1, 3), 0.5 / 3), np.zeros((1, 1, 3))
    >>> effects = Effects(lost, kept, lost[0], np.eye(3)[None] / 2, np.ones((1, 3), np.int64))
    >>> every = dict.fromkeys(("accuracy", "margin", "canonical"), effects)
    >>> task = TppTask("t", ("a", "b", "c"), (1,), np.arange(3), every)
    >>> [(each.metric, each.value) for each in estimates([task], seed=0, headline_n=1)]
    [('tpp', 1.0), ('tpp.margin', 1.0), ('tpp.canonical', 0.5)]
    """
    if not tasks:
        raise ValueError("TPP needs at least one task")
    if headline_n not in tasks[0].ns:
        raise ValueError(f"n={headline_n} was not measured; measured: {tasks[0].ns}")
    fits = len(tasks[0].effects["accuracy"].achievable)
    drawn = [(task, draw(task.labels, fits, generator(seed, "tpp", task.name))) for task in tasks]
    found = [_estimate(drawn, variant, headline_n) for variant in _NAMES]
    return found if scale is None else [*found, _estimate(drawn, "margin", headline_n, scale)]


def _estimate(
    drawn: Sequence[tuple[TppTask, Draws]],
    variant: Variant,
    headline_n: int,
    rescaled: WrittenScale | None = None,
) -> Estimate:
    metric, ns = _NAMES[variant] if rescaled is None else RESCALED, drawn[0][0].ns
    params: dict[str, Param] = {"n": headline_n}
    place = ns.index(headline_n)
    totals = _totals(drawn, variant)
    details: dict[str, object] = {
        "tasks": {task.name: _task_details(task, variant, place) for task, _ in drawn}
    }
    if not surely_positive(totals.achievable):
        reason = (
            f"the probes are {totals.achievable[0]:.3g} above chance over all classes, not more "
            "than three standard errors: there is nothing to lose"
        )
        return unable(metric, reason, params, details)
    factor = np.ones(len(totals.achievable)) if rescaled is None else rescaled.draws
    share = (factor / totals.achievable)[:, None]
    scores = (totals.intended - totals.unintended) * share
    details |= {
        "curve": curve(ns, scores),
        "intended": curve(ns, totals.intended * share),
        "unintended": curve(ns, totals.unintended * share),
        "fit_sd": _fit_sd(totals.fit_scores[place] * factor[0]),
    }
    n = {
        "texts": sum(len(task.labels) for task, _ in drawn),
        "tasks": len(drawn),
        "classes": sum(len(task.classes) for task, _ in drawn),
    }
    seeds = totals.fit_scores.shape[1]
    margin = totals.scores[place]
    added = _influence(drawn, variant, place, margin, float(totals.achievable[0]))
    if rescaled is not None:
        details["scale"] = rescaled.value
        n["scale_texts"] = rescaled.texts
        added = _of_product(added, margin, rescaled)
    return drawn_estimate(metric, scores[:, place], params, n, seeds, details, added)


def _of_product(added: tuple[float, ...], margin: float, scale: WrittenScale) -> tuple[float, ...]:
    """Return what each unit adds to the error of a margin times its scale; empty if not known."""
    if not added or not scale.influence:
        return ()
    return (*(scale.value * each for each in added), *(margin * each for each in scale.influence))


def _influence(
    drawn: Sequence[tuple[TppTask, Draws]],
    variant: Variant,
    place: int,
    score: float,
    achievable: float,
) -> tuple[float, ...]:
    """Return what each text, then each fit, of every task adds to the error of the score."""
    added: tuple[float, ...] = ()
    for task, _ in drawn:
        effects = task.effects[variant]
        slopes = effects.intended[place] - effects.unintended[place]
        if variant != "canonical":
            slopes = slopes - score * effects.achievable
        slopes = _weight(task, variant, len(drawn)) * slopes / achievable
        fits = slopes.sum(1) / len(slopes)
        added += influence(slopes.mean(0), task.labels) + influence(fits)
    return added


def _weight(task: TppTask, variant: Variant, tasks: int) -> float:
    # Ratio of sums over classes: a task weighs as many classes as it has. Canonical: a mean.
    return 1 / tasks if variant == "canonical" else len(task.classes)


@dataclass(frozen=True)
class _Totals:
    """Weighted sums over the tasks."""

    intended: Floats  # (draw, n)
    unintended: Floats  # (draw, n)
    achievable: Floats  # (draw,), ones for the canonical variant: it is divided by nothing
    fit_scores: Floats  # (n, fit), of the sample itself

    @property
    def scores(self) -> list[float]:
        """(n,) of the sample itself."""
        values = (self.intended[0] - self.unintended[0]) / self.achievable[0]
        return [float(value) for value in values]


def _totals(drawn: Sequence[tuple[TppTask, Draws]], variant: Variant) -> _Totals:
    canonical = variant == "canonical"
    sums = [np.zeros(())] * 3
    fit_sums = [np.zeros(())] * 3
    for task, draws in drawn:
        effects = task.effects[variant]
        weight = _weight(task, variant, len(drawn))
        used = Draws(draws.texts, np.ones((len(draws.texts), 1))) if canonical else draws
        for which, part in enumerate((effects.intended, effects.unintended, effects.achievable)):
            over_texts = weight * used.over_texts(part)
            sums[which] = sums[which] + used.over_fits(over_texts)
            fit_sums[which] = fit_sums[which] + over_texts[0]
    if canonical:
        sums[2], fit_sums[2] = np.ones_like(sums[2]), np.ones_like(fit_sums[2])
    return _Totals(sums[0], sums[1], sums[2], divide(fit_sums[0] - fit_sums[1], fit_sums[2]))


def _fit_sd(scores: Floats) -> float | None:
    """Spread of the score from one probe fit to the next, all tasks together."""
    return number(scores.std(ddof=1)) if len(scores) > 1 else None


def _task_details(task: TppTask, variant: Variant, place: int) -> dict[str, object]:
    """Per class, at the headline n: own loss, mean loss of the others, latents there were."""
    effects = task.effects[variant]
    losses, others = effects.losses[place], len(task.classes) - 1
    return {
        name: {
            "intended": float(losses[c, c]),
            "unintended": float((losses[c].sum() - losses[c, c]) / others),
            "latents": int(effects.latents[:, c].min()),
        }
        for c, name in enumerate(task.classes)
    }
