"""From what probes lose after ablation to the TPP figures, default and canonical.

estimates(tasks, seed, headline_n=20, scale=None, few=FEW) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics.probe_bootstrap import (
    Added,
    Draws,
    curve,
    draw,
    number,
    of_one_fit,
    surely_positive,
    with_training,
)
from pytest_sae.metrics.protocol import FEW, HEADLINE_N, setting_of
from pytest_sae.metrics.tpp import TppTask, Variant
from pytest_sae.metrics.written_scale import WrittenScale
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator
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
    few: tuple[int, ...] = FEW,
) -> list[Estimate]:
    """Return `tpp`, `tpp.margin` and `tpp.canonical`; higher is better, 0 for a no-op dictionary.

    `tpp` and `tpp.margin` reach 1 when ablating a class takes its own probe to chance and leaves
    all others as they were; `tpp.canonical` is not divided by what can be lost. `tpp.rescaled` is
    the mean of `tpp.margin` over few ablated latents, times the least squares factor of the
    activations on what the latents write, or 1 if that is smaller: what ablation takes from a
    margin is proportional to how strongly they write, and rows that only happen to point along a
    probe gain nothing by writing more than is there. The factor is at most 1, as above that it is a
    reward for writing too weakly what no task reads; and latents are few, as with many of them a
    code whose latents all know a little takes away as much as one that has found the concepts.

    Args:
        tasks: from `score_task`, all with the same ns.
        seed: the run's; intervals of two dictionaries use the same draws.
        headline_n: the n of the estimates; the others are in their details.
        scale: what `tpp.rescaled` multiplies by, where below 1; None leaves it out.
        few: the numbers of latents that `tpp.rescaled` is the mean over.

    Returns:
        One estimate per variant; `unable` where the probes know nothing that could be lost.

    Raises:
        ValueError: no task, or an n was not measured.

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
    for n in (headline_n, *(few if scale is not None else ())):
        if n not in tasks[0].ns:
            raise ValueError(f"n={n} was not measured; measured: {tasks[0].ns}")
    fits = len(tasks[0].effects["accuracy"].achievable)
    drawn = [(task, draw(task.labels, fits, generator(seed, "tpp", task.name))) for task in tasks]
    found = [_estimate(drawn, variant, (headline_n,), seed) for variant in _NAMES]
    return found if scale is None else [*found, _estimate(drawn, "margin", few, seed, scale)]


def _estimate(
    drawn: Sequence[tuple[TppTask, Draws]],
    variant: Variant,
    headline: tuple[int, ...],
    seed: int,
    rescaled: WrittenScale | None = None,
) -> Estimate:
    metric, ns = _NAMES[variant] if rescaled is None else RESCALED, drawn[0][0].ns
    params: dict[str, Param] = {"n": setting_of(headline)}
    places = [ns.index(n) for n in headline]
    totals = _totals(drawn, variant)
    details: dict[str, object] = {
        "tasks": {task.name: _task_details(task, variant, places) for task, _ in drawn}
    }
    if not surely_positive(totals.achievable):
        reason = (
            f"the probes are {totals.achievable[0]:.3g} above chance over all classes, not more "
            "than three standard errors: there is nothing to lose"
        )
        return unable(metric, reason, params, details)
    scale = None if rescaled is None else rescaled.at_most(1.0)
    factor = np.ones(len(totals.achievable)) if scale is None else scale.draws
    share = (factor / totals.achievable)[:, None]
    scores = (totals.intended - totals.unintended) * share
    details |= {
        "curve": curve(ns, scores),
        "intended": curve(ns, totals.intended * share),
        "unintended": curve(ns, totals.unintended * share),
        "fit_sd": _fit_sd(totals.fit_scores[places].mean(0) * factor[0]),
    }
    n = {
        "texts": sum(len(task.labels) for task, _ in drawn),
        "tasks": len(drawn),
        "classes": sum(len(task.classes) for task, _ in drawn),
    }
    seeds = totals.fit_scores.shape[1]
    margin = float(totals.scores[places].mean())
    added = _added([task for task, _ in drawn], variant, places, margin, float(share[0, 0]))
    rng = generator(seed, "tpp", "training texts")
    values, told = with_training(scores[:, places].mean(1), added, rng)
    if rescaled is not None and scale is not None:
        details["scale"] = rescaled.value
        n["scale_texts"] = rescaled.texts
        told = (*told, *(margin * each for each in scale.influence)) if scale.influence else ()
    return drawn_estimate(metric, values, params, n, seeds, details, told)


def _added(
    tasks: Sequence[TppTask], variant: Variant, places: Sequence[int], score: float, share: float
) -> list[Added]:
    """Return what texts and fits add to the error of the score times a factor.

    Args:
        tasks: all of them.
        variant: which effects.
        places: of the ns that the score is the mean over.
        score: own losses less the others', over what can be lost.
        share: the factor, over what can be lost.
    """
    found = []
    for task in tasks:
        effects = task.effects[variant]
        slopes = (effects.intended[places] - effects.unintended[places]).mean(0)
        if variant != "canonical":
            slopes = slopes - score * effects.achievable
        factor = _weight(task, variant, len(tasks)) * share
        slopes = factor * slopes
        between: tuple[float, ...] = ()
        if variant == "canonical" and task.redrawn is not None:
            between = of_one_fit(factor * task.redrawn[places].mean(0))
        found.append(Added.of(slopes.mean(0), task.labels, slopes.sum(1) / len(slopes), between))
    return found


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
    def scores(self) -> Floats:
        """(n,) of the sample itself."""
        result: Floats = (self.intended[0] - self.unintended[0]) / self.achievable[0]
        return result


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


def _task_details(task: TppTask, variant: Variant, places: Sequence[int]) -> dict[str, object]:
    """Per class, at the headline n: own loss, mean loss of the others, latents there were."""
    effects = task.effects[variant]
    losses, others = effects.losses[places].mean(0), len(task.classes) - 1
    return {
        name: {
            "intended": float(losses[c, c]),
            "unintended": float((losses[c].sum() - losses[c, c]) / others),
            "latents": int(effects.latents[:, c].min()),
        }
        for c, name in enumerate(task.classes)
    }
