"""From what probes read after ablation to the SCR figures, default and canonical.

    estimates(tasks, seed, headline_n=20, few=FEW) -> list[Estimate]
    recovered(drawn, direction, measure, metric, params, headline) -> Estimate

- `scr` and `scr.margin`, one per direction: `sum over tasks of (ablated - confounded) / sum over
  tasks of (clean - confounded)`, averaged over the probe fits, over the tasks whose gap is usable.
- `scr.canonical`: the published score, a mean of ratios over all tasks. Its error has that of other
  training texts in it, by fits of the same recipe on resamples of these.

The margin. A literal "mean logit margin toward the intended label" can't score an erasure: over
balanced quadrants the spurious part of the logit adds as much where it is right as it takes away
where it is wrong, so that removing all of it changes nothing. What it does change is how much of
the logit is *about* the intended label. So the margin here is standardised by the logit's own
spread, `mean(y logit) / sd(logit)`, y = +-1: the correlation of labels and logits, in [-1, 1],
without steps, blind to a rescaled probe, lowered by a spurious concept as by any other noise.

It is blind to a shifted threshold too, on purpose. Ablation sets latents to zero, not to their
mean: removing a latent that fires for one value of the spurious concept only (and none for the
other) moves every logit the same way. Accuracy then falls although the concept is gone; the margin
does not. Where the two disagree, the threshold has moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics.probe_bootstrap import (
    Added,
    Draws,
    curve,
    equal_cells,
    number,
    of_one_fit,
    point,
    surely_positive,
    with_training,
)
from pytest_sae.metrics.protocol import FEW, HEADLINE_N, SMALLEST_GAP, setting_of
from pytest_sae.metrics.scr import (
    DIRECTIONS,
    READ,
    Concept,
    DirectionLogits,
    Measure,
    Quadrants,
    ScrTask,
)
from pytest_sae.metrics.scr_gaps import Gap, draw_task, gap_of, hits
from pytest_sae.metrics.scr_influence import Slopes, added_by, margin_slopes
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator
from pytest_sae.numbers.estimate import Estimate, Param, unable

_NAMES: dict[Measure, str] = {"accuracy": "scr", "margin": "scr.margin"}


def estimates(
    tasks: Sequence[ScrTask],
    seed: int,
    headline_n: int = HEADLINE_N,
    few: tuple[int, ...] = FEW,
) -> list[Estimate]:
    """Return `scr` and `scr.margin` in both directions, and `scr.canonical`; higher is better.

    `scr.margin` twice: at one number of ablated latents, and its mean over a few small ones.

    Args:
        tasks: from `score_task`, all with the same ns.
        seed: the run's; intervals of two dictionaries use the same draws.
        headline_n: the n of the estimates; the others are in their details.
        few: the numbers of latents that the mean is over; it is left out where one of them was not
            measured.

    Returns:
        Seven estimates. Of each 1 is as good as the concept's own probe, 0 as good as doing
        nothing; neither is a bound. Where nothing can be won: `unable`.

    Raises:
        ValueError: no task, or headline_n was not measured.

    Source: Karvonen et al. 2024 (arXiv 2411.18895); `scr.canonical` is theirs, the others are ours.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> clean, mixed = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[-1.0, 1.0, 1.0, 2.0]])
    >>> read = DirectionLogits(clean, mixed, clean[None], np.array([1]))  # ablated as good as clean
    >>> other = DirectionLogits(clean[:, [0, 2, 1, 3]], mixed, mixed[None], np.array([1]))
    >>> task = ScrTask("t", (1,), test, {"spurious": read, "intended": other}, {"spurious": read,
    ...     "intended": other})
    >>> found = estimates([task], seed=0, headline_n=1, few=(1,))
    >>> [(each.metric, each.value) for each in found[:2]]
    [('scr', 1.0), ('scr', 0.0)]
    """
    if not tasks:
        raise ValueError("SCR needs at least one task")
    if headline_n not in tasks[0].ns:
        raise ValueError(f"n={headline_n} was not measured; measured: {tasks[0].ns}")
    drawn = [DrawnTask.of(task, seed) for task in tasks]
    wanted: list[tuple[Measure, tuple[int, ...]]] = [
        ("accuracy", (headline_n,)),
        ("margin", (headline_n,)),
    ]
    if set(few) <= set(tasks[0].ns):
        wanted.append(("margin", few))
    default = [
        recovered(
            drawn,
            direction,
            measure,
            _NAMES[measure],
            {"n": setting_of(ns), "direction": direction},
            ns,
        )
        for measure, ns in wanted
        for direction in DIRECTIONS
    ]
    return [*default, _canonical(drawn, headline_n)]


@dataclass(frozen=True)
class DrawnTask:
    """A task and its bootstrap draws, shared by all figures."""

    task: ScrTask
    draws: Draws
    seed: int

    @classmethod
    def of(cls, task: ScrTask, seed: int) -> DrawnTask:
        """Draw, alike for every dictionary and every direction."""
        confounded = task.fits["spurious"].confounded
        return cls(task, draw_task(task.name, task.test, confounded, seed), seed)

    def gap(self, direction: Concept) -> Gap:
        """Return what there is to win in a direction."""
        reading = self.task.fits[direction]
        return gap_of(
            self.task.name, direction, self.task.test, reading.own, reading.confounded, self.draws
        )

    def values(self, direction: Concept, measure: Measure) -> _Values:
        """Return gains and gaps of every draw."""
        gains, gaps = values_of(
            self.task.fits[direction], self.task, direction, measure, self.draws
        )
        return _Values(self.draws.over_fits(gains), self.draws.over_fits(gaps), gains[0], gaps[0])

    def slopes(self, direction: Concept, measure: Measure, places: Sequence[int]) -> Slopes:
        """Return how the mean gain over some n, and the gap, move with the texts' weights."""
        return slopes_of(self.task.fits[direction], self.task.test, direction, measure, places)


@dataclass(frozen=True)
class _Values:
    gain: Floats  # (draw, n)
    gap: Floats  # (draw,)
    fit_gain: Floats  # (n, fit), of the sample itself
    fit_gap: Floats  # (fit,)


def values_of(
    reading: DirectionLogits, task: ScrTask, direction: Concept, measure: Measure, draws: Draws
) -> tuple[Floats, Floats]:
    """Return gains (draw, n, fit), ablated over confounded, and gaps (draw, fit), clean over it.

    Args:
        reading: what the probes of one direction say about the test texts.
        task: that they are of.
        direction: concept whose latents were ablated.
        measure: what is compared, accuracy or margin.
        draws: of the task.

    Returns:
        Differences of balanced accuracies or of correlations, row 0 those of the sample itself;
        gains are higher the more ablation helps.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> clean, mixed = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[-1.0, 1.0, 1.0, 2.0]])
    >>> read = DirectionLogits(clean, mixed, clean[None], np.array([1]))
    >>> task, one = ScrTask("t", (1,), test, {}, {}), Draws(np.ones((1, 4)), np.ones((1, 1)))
    >>> gains, gaps = values_of(read, task, "spurious", "accuracy", one)
    >>> gains.tolist(), gaps.tolist()
    ([[[0.25]]], [[0.25]])
    """
    logits = np.concatenate([reading.own[None], reading.confounded[None], reading.ablated])
    if measure == "accuracy":
        correct = hits(logits, task.test, direction)
        # Differences before sums: a dictionary that does nothing gains exactly 0.
        gains = draws.over_texts(correct[2:] - correct[1])
        return gains, draws.over_texts(correct[0] - correct[1])
    margin = margins(logits, task.test, direction, draws)
    return margin[:, 2:] - margin[:, 1:2], margin[:, 0] - margin[:, 1]


def margins(logits: Floats, test: Quadrants, direction: Concept, draws: Draws) -> Floats:
    """(..., text) logits to (draw, ...): their correlation with the label that is read.

    Args:
        logits: (..., text).
        test: labels of the texts.
        direction: concept whose latents were ablated; the other one's label is read.
        draws: of the texts.

    Returns:
        -1 to 1, higher is better; 0 where all logits are alike.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> once = Draws(np.ones((1, 4)), np.ones((1, 1)))
    >>> logits = np.array([[-3.0, -3.0, 3.0, 3.0], [-1.0, 1.0, -1.0, 1.0]])
    >>> margins(logits, test, "spurious", once).tolist()
    [[1.0, 0.0]]
    """
    return _margin(*(draws.over_texts(part) for part in _moments(logits, test, direction)))


def _moments(logits: Floats, test: Quadrants, direction: Concept) -> tuple[Floats, Floats, Floats]:
    """(..., text) logits to the weighted `y logit`, `logit` and `logit^2` of the margin."""
    weights = equal_cells(test.cells)
    signs = np.where(test.label(READ[direction]), 1.0, -1.0)
    weighted = logits * weights
    return weighted * signs, weighted, weighted * logits


def _margin(toward: Floats, mean: Floats, square: Floats) -> Floats:
    """Means of `y logit`, `logit` and `logit^2` to the correlation with the balanced labels."""
    variance = square - mean * mean
    # Logits that are all alike say nothing about the label; what is left of them is rounding.
    varied = variance > 1e-12 * square
    return np.where(varied, toward / np.sqrt(np.where(varied, variance, 1.0)), 0.0)


def recovered(
    drawn: Sequence[DrawnTask],
    direction: Concept,
    measure: Measure,
    metric: str,
    params: Mapping[str, Param],
    headline: tuple[int, ...],
) -> Estimate:
    """Return `sum of (ablated - confounded) / sum of (clean - confounded)` over usable tasks.

    Args:
        drawn: at least one task.
        direction: concept whose latents were ablated.
        measure: what is compared.
        metric: name of the estimate.
        params: its setting.
        headline: the n that its value is the mean over; the others are in its details.

    Returns:
        1 where ablation gives all that the concept's own probe has over the confounded one, 0 where
        it gives nothing; `unable` where no task has a usable gap.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> clean, mixed = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[-1.0, 1.0, 1.0, 2.0]])
    >>> read = DirectionLogits(clean, mixed, clean[None], np.array([1]))
    >>> task = DrawnTask.of(ScrTask("t", (1,), test, {}, {"spurious": read}), seed=0)
    >>> recovered([task], "spurious", "accuracy", "scr", {"n": 1}, (1,)).value
    1.0
    """
    used, coverage = _usable(drawn, direction)
    parts = [each.values(direction, measure) for each in used]
    gap_sum = np.sum([part.gap for part in parts], axis=0)
    without = _without_gap(len(drawn), gap_sum if used else None)
    if without:
        return unable(metric, without, params, coverage)
    ns = used[0].task.ns
    places = [ns.index(n) for n in headline]
    # A replicate without a gap has no score.
    scores = divide(np.sum([part.gain for part in parts], axis=0), gap_sum[:, None])
    details = {
        **coverage,
        "curve": curve(ns, scores),
        "fit_sd": _fit_sd(parts, places),
        "tasks": {
            each.task.name: _task_details(each.task, direction, part, places)
            for each, part in zip(used, parts, strict=True)
        },
    }
    values = scores[:, places].mean(1)
    slopes = [each.slopes(direction, measure, places) for each in used]
    added = added_by(slopes, float(values[0]), float(gap_sum[0]))
    values, told = with_training(values, added, generator(used[0].seed, "scr", "training texts"))
    n = {"texts": sum(len(each.task.test.cells) for each in used), "tasks": len(used)}
    fits = len(used[0].task.fits[direction].own)
    return drawn_estimate(metric, values, params, n, fits, details, told)


def _without_gap(tasks: int, gap_sum: Floats | None) -> str:
    """Say why there is nothing to recover, empty where there is; gap_sum: (draw,)."""
    if gap_sum is None:
        return (
            f"no task of {tasks} has a gap between the clean and the confounded probe of more "
            "than three standard errors"
        )
    if surely_positive(gap_sum):
        return ""
    return (
        f"over the tasks together the gap is {gap_sum[0]:.3g}, not more than three standard "
        "errors above zero"
    )


def _usable(
    drawn: Sequence[DrawnTask], direction: Concept
) -> tuple[list[DrawnTask], dict[str, object]]:
    """Return the tasks that have something to win, and for the report which have not."""
    gaps = [each.gap(direction) for each in drawn]
    used = [each for each, gap in zip(drawn, gaps, strict=True) if gap.usable]
    excluded = [_told(gap) for gap in gaps if not gap.usable]
    return used, {"used": len(used), "expected": len(drawn), "excluded": excluded}


def slopes_of(
    reading: DirectionLogits,
    test: Quadrants,
    direction: Concept,
    measure: Measure,
    places: Sequence[int],
) -> Slopes:
    """Return how the mean gain over some n, and the gap, move with the texts' weights.

    Args:
        reading: what the probes of one direction say about the test texts.
        test: their labels.
        direction: concept whose latents were ablated.
        measure: what is compared, accuracy or margin.
        places: which of the task's ns.

    Returns:
        Derivatives by texts' weights, and gain and gap of each fit.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> clean, mixed = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[-1.0, 1.0, 1.0, 2.0]])
    >>> read = DirectionLogits(clean, mixed, clean[None], np.array([1]))
    >>> found = slopes_of(read, test, "spurious", "accuracy", [0])
    >>> found.gain.tolist(), found.fit_gain.tolist()
    ([[0.0, 0.25, 0.0, 0.0]], [0.25])
    """
    logits = np.stack([reading.own, reading.confounded, *reading.ablated[list(places)]])
    if measure == "accuracy":
        slopes = hits(logits, test, direction)
        values = slopes.sum(-1)
    else:
        moments = _moments(logits, test, direction)
        slopes = margin_slopes(*moments)
        values = _margin(*(part.sum(-1) for part in moments))
    return Slopes(
        test.cells,
        gain=slopes[2:].mean(0) - slopes[1],
        gap=slopes[0] - slopes[1],
        fit_gain=values[2:].mean(0) - values[1],
        fit_gap=values[0] - values[1],
    )


def _told(gap: Gap) -> dict[str, object]:
    return {"task": gap.task, "clean": gap.clean, "confounded": gap.confounded, "se": gap.se}


def _fit_sd(parts: Sequence[_Values], places: Sequence[int]) -> float | None:
    """Spread of the score from one probe fit to the next, all tasks together."""
    gains = np.sum([part.fit_gain[places].mean(0) for part in parts], axis=0)
    scores = divide(gains, np.sum([part.fit_gap for part in parts], axis=0))
    return number(scores.std(ddof=1)) if len(scores) > 1 else None


def _task_details(
    task: ScrTask, direction: Concept, values: _Values, places: Sequence[int]
) -> dict[str, object]:
    latents = task.fits[direction].latents
    return {
        "gap": point(values.gap),
        "gain": point(values.gain[:, places].mean(1)),
        "latents": int(latents.min()),
    }


def _canonical(drawn: Sequence[DrawnTask], headline_n: int) -> Estimate:
    ns = drawn[0].task.ns
    params: dict[str, Param] = {"n": headline_n}
    found = {each.task.name: _canonical_task(each.task, each.draws) for each in drawn}
    scores = {name: result for name, result in found.items() if not isinstance(result, str)}
    reasons = {name: result for name, result in found.items() if isinstance(result, str)}
    place = ns.index(headline_n)
    details: dict[str, object] = {
        "used": len(scores),
        "expected": len(drawn),
        "undefined": reasons,
        "tasks": {
            name: point(values[:, place]) | {"ablated": "both" if len(ablated) > 1 else ablated[0]}
            for name, (values, ablated) in scores.items()
        },
    }
    if reasons:
        return unable(
            "scr.canonical",
            f"{len(reasons)} of {len(drawn)} tasks have no score: "
            + "; ".join(f"{name}: {why}" for name, why in reasons.items()),
            params,
            details,
        )
    mean = np.mean([values for values, _ in scores.values()], axis=0)
    details["curve"] = curve(ns, mean)
    n = {"texts": sum(len(each.task.test.cells) for each in drawn), "tasks": len(drawn)}
    added = [
        _canonical_added(each.task, scores[each.task.name][1], place, len(drawn)) for each in drawn
    ]
    rng = generator(drawn[0].seed, "scr", "training texts of the published probes")
    values, told = with_training(mean[:, place], added, rng)
    return drawn_estimate("scr.canonical", values, params, n, 1, details, told)


def _canonical_added(task: ScrTask, directions: Sequence[Concept], place: int, tasks: int) -> Added:
    """Return what texts, and fits on other training texts, add to the error of the tasks' mean.

    To first order, as for the other figures: the gap of some fit may be next to nothing.
    """
    slopes, between = np.zeros(len(task.test.cells)), np.zeros(len(task.redrawn))
    for direction in directions:
        moved, *others = (
            slopes_of(each[direction], task.test, direction, "accuracy", [place])
            for each in (task.published, *task.redrawn)
        )
        gap = moved.fit_gap[0]
        score = moved.fit_gain[0] / gap
        slopes += (moved.gain[0] - score * moved.gap[0]) / gap
        between += [(each.fit_gain[0] - score * each.fit_gap[0]) / gap for each in others]
    share = 1 / len(directions) / tasks
    return Added.of(slopes * share, task.test.cells, np.zeros(1), of_one_fit(between * share))


def _canonical_task(task: ScrTask, draws: Draws) -> tuple[Floats, tuple[Concept, ...]] | str:
    """Return (draw, n) and the directions, or why there is no score.

    The direction is the one whose confounded accuracy is lower, chosen on the sample and kept in
    the replicates; a tie takes the mean of both (the published code drops the task).
    """
    one_fit = Draws(draws.texts, np.ones((len(draws.texts), 1)))
    accuracy = {
        direction: hits(task.published[direction].confounded, task.test, direction).sum()
        for direction in DIRECTIONS
    }
    tie = abs(accuracy["spurious"] - accuracy["intended"]) < 1e-9
    chosen = DIRECTIONS if tie else (min(DIRECTIONS, key=lambda each: accuracy[each]),)
    scores = []
    for direction in chosen:
        gains, gaps = (
            one_fit.over_fits(part)
            for part in values_of(task.published[direction], task, direction, "accuracy", one_fit)
        )
        if gaps[0] <= SMALLEST_GAP:
            return f"{direction} direction: clean minus confounded accuracy is {gaps[0]:.4f}"
        scores.append(gains / np.where(gaps > SMALLEST_GAP, gaps, np.nan)[:, None])
    return np.mean(scores, axis=0), chosen
