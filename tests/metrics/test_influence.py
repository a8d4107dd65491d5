"""What each text adds to an error, against paired bootstraps of formulas written out by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch

from pytest_sae.metrics import behaviour, core, scr_estimates, tpp_estimates
from pytest_sae.metrics.behaviour import BehaviourSums
from pytest_sae.metrics.core import CoreSums
from pytest_sae.metrics.scr import DirectionLogits, ScrTask
from pytest_sae.metrics.tpp import TppTask
from pytest_sae.numbers.bootstrap import influence
from pytest_sae.numbers.estimate import Estimate
from tests.metrics.planted import scr_world, tpp_world

REPLICATES = 600
TEXTS, TOKENS, D, LATENTS = 150, 3000, 6, 10
Draw = tuple[np.ndarray, np.ndarray]  # texts, probe fits


def named(found: Sequence[Estimate]) -> dict[str, Estimate]:
    return {f"{each.metric} {each.params.get('direction', '')}".strip(): each for each in found}


def paired_spread(values: Callable[[Draw], tuple[float, float]], draws: Sequence[Draw]) -> float:
    """With other test texts, other fits, and other training texts, which a bootstrap has fixed.

    F fits that are drawn anew show s^2 (F - 1) / F^2 of s^2 (1 + 1 / F), s their spread.
    """

    def spread(some: Sequence[Draw]) -> float:
        pairs = np.array([values(draw) for draw in some])
        return float((pairs[:, 0] - pairs[:, 1]).std())

    every, fits = (np.arange(len(each)) for each in draws[0])
    count = len(fits)
    further = math.sqrt(count * (count + 1) / (count - 1)) if count > 1 else 1.0
    of_texts = spread([(texts, fits) for texts, _ in draws])
    return math.hypot(of_texts, further * spread([(every, drawn) for _, drawn in draws]))


def stream(noise: float) -> dict[str, np.ndarray]:
    """Of a dictionary that errs in the same texts as another one, more or less."""
    g = torch.Generator().manual_seed(0)
    text = torch.randint(TEXTS, (TOKENS,), generator=g).sort().values
    hard = 0.2 + torch.rand(TEXTS, generator=g)[text, None]
    x = torch.randn(TOKENS, D, generator=g) * (1 + torch.rand(TEXTS, generator=g)[text, None]) + 2
    z = torch.randn(TOKENS, LATENTS, generator=g) * (torch.rand(TOKENS, LATENTS, generator=g) < 0.3)
    error = torch.randn(TOKENS, D, generator=g) * hard
    own = torch.randn(TOKENS, D, generator=torch.Generator().manual_seed(round(100 * noise)))
    x_hat = x + noise * (error + 0.3 * own)
    z = torch.where(torch.randn(TOKENS, 1, generator=g) > noise, z, 0.0)
    return {"text": text, "x": x.double(), "x_hat": x_hat.double(), "z": z.double()}


def core_estimates(seen: Mapping[str, torch.Tensor]) -> dict[str, Estimate]:
    sums = CoreSums(TEXTS, D, LATENTS)
    sums.update(seen["x"], seen["x_hat"], seen["z"], seen["text"])
    return named(core.finish(sums, 0))


CORE: dict[str, Callable[..., np.ndarray]] = {
    "explained_variance": lambda x, y, z: 1 - ((x - y) ** 2).sum() / ((x - x.mean(0)) ** 2).sum(),
    "mse": lambda x, y, z: ((x - y) ** 2).sum(1).mean(),
    "cosine": lambda x, y, z: (
        (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    ).mean(),
    "relative_bias": lambda x, y, z: (y * y).sum() / (x * y).sum(),
    "l0": lambda x, y, z: (z != 0).sum(1).mean(),
}


@pytest.mark.parametrize("metric", CORE)
def test_figures_of_a_stream_are_paired_as_a_bootstrap_of_the_texts_pairs_them(
    metric: str,
) -> None:
    pair = [stream(0.5), stream(0.55)]
    arrays = [[seen[name].numpy() for name in ("x", "x_hat", "z")] for seen in pair]
    tokens = [np.flatnonzero(pair[0]["text"].numpy() == text) for text in range(TEXTS)]

    def values(draw: Draw) -> tuple[float, float]:
        rows = np.concatenate([tokens[text] for text in draw[0]])
        first, second = (float(CORE[metric](*(a[rows] for a in each))) for each in arrays)
        return first, second

    rng = np.random.default_rng(1)
    draws = [(rng.integers(TEXTS, size=TEXTS), np.arange(1)) for _ in range(REPLICATES)]
    check(metric, [core_estimates(seen) for seen in pair], values, draws)


def behaviour_sums(quality: float) -> BehaviourSums:
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 40, TEXTS).astype(float)
    clean = tokens * rng.gamma(8, 0.2, TEXTS)
    ablated = clean + tokens * rng.gamma(6, 0.3, TEXTS)
    own = np.random.default_rng(round(100 * quality)).random(TEXTS)
    share = rng.beta(2, 18, TEXTS) + quality * own
    spliced = clean + (ablated - clean) * share
    return BehaviourSums(tokens, clean, spliced, ablated, ablated + tokens, spliced - clean)


BEHAVIOUR: dict[str, Callable[..., float]] = {
    "kl": lambda s, i: s.kl[i].sum() / s.tokens[i].sum(),
    "ce_recovered": lambda s, i: (
        (s.mean_ablated - s.spliced)[i].sum() / (s.mean_ablated - s.clean)[i].sum()
    ),
}


@pytest.mark.parametrize("metric", BEHAVIOUR)
def test_figures_of_behaviour_are_paired_as_a_bootstrap_of_the_texts_pairs_them(
    metric: str,
) -> None:
    pair = [behaviour_sums(0.02), behaviour_sums(0.03)]

    def values(draw: Draw) -> tuple[float, float]:
        first, second = (float(BEHAVIOUR[metric](sums, draw[0])) for sums in pair)
        return first, second

    rng = np.random.default_rng(1)
    draws = [(rng.integers(TEXTS, size=TEXTS), np.arange(1)) for _ in range(REPLICATES)]
    found = [named(behaviour.finish(sums, 0)) for sums in pair]
    check(metric, found, values, draws)


def scr_score(task: ScrTask, metric: str, ns: int, direction: str, draw: Draw) -> float:
    """Mean over the first ns, in equal quadrants, so that means over texts are balanced already."""
    texts, fits = draw
    if metric == "scr.canonical":
        read = {name: task.published[name] for name in ("spurious", "intended")}
        whole = {name: np.mean((r.confounded > 0) == said(task, name)) for name, r in read.items()}
        direction, fits = min(whole, key=lambda name: whole[name]), np.zeros(1, int)
    reading = (task.published if metric == "scr.canonical" else task.fits)[direction]
    label = said(task, direction)[texts]

    def mean(logits: np.ndarray) -> float:
        if metric == "scr.margin":
            return float(np.mean([np.corrcoef(logits[fit][texts], label)[0, 1] for fit in fits]))
        return float(np.mean((logits[fits][:, texts] > 0) == label))

    confounded = mean(reading.confounded)
    ablated = np.mean([mean(each) for each in reading.ablated[:ns]])
    return float((ablated - confounded) / (mean(reading.own) - confounded))


def scr_of_fits(task: ScrTask) -> list[float]:
    """How far the score moves by each fit on other texts, to first order: its gap may be small."""

    def gain_and_gap(read: Mapping[str, DirectionLogits]) -> tuple[float, float]:
        parts = (read[direction].own, read[direction].confounded, read[direction].ablated[0])
        own, confounded, ablated = (np.mean((each > 0) == label) for each in parts)
        return ablated - confounded, own - confounded

    whole = {
        name: np.mean((read.confounded > 0) == said(task, name))
        for name, read in task.published.items()
    }
    direction = min(whole, key=lambda name: whole[name])
    label = said(task, direction)
    gain, gap = gain_and_gap(task.published)
    fits = [gain_and_gap(fit) for fit in task.redrawn]
    return [(fit_gain - gain / gap * fit_gap) / gap for fit_gain, fit_gap in fits]


def said(task: ScrTask, direction: str) -> np.ndarray:
    return task.test.intended if direction == "spurious" else task.test.spurious


@pytest.mark.parametrize(
    ("metric", "few"),
    [("scr", ()), ("scr.margin", ()), ("scr.canonical", ()), ("scr.margin", (2, 5, 20))],
)
def test_scr_is_paired_as_a_bootstrap_of_texts_and_fits_pairs_it(
    metric: str, few: tuple[int, ...]
) -> None:
    world = scr_world(train=40)
    canonical = metric == "scr.canonical"
    # Which latents a published probe ranks first moves with its texts: a smaller damage is paired.
    half = 0.9 if canonical else 0.2
    weaker = np.where(np.arange(len(world.rows)) % 2 == 0, half, 1.0)[:, None].astype(np.float32)
    pair = [world.score(), world.score(rows=world.rows * weaker)]
    direction = "" if canonical else "spurious"

    def values(draw: Draw) -> tuple[float, float]:
        ns = max(1, len(few))
        first, second = (scr_score(task, metric, ns, direction, draw) for task in pair)
        return first, second

    # The mean over a few is named like that at one n, and stands after it.
    found = [named(scr_estimates.estimates([task], 0, 2, few or (1,))) for task in pair]
    draws = stratified(world.test.cells, 5)
    between = of_one_fit(*(scr_of_fits(task) for task in pair)) if canonical else 0.0
    check(f"{metric} {direction}".strip(), found, values, draws, between)


def tpp_score(task: TppTask, metric: str, draw: Draw) -> float:
    """At the first n."""
    variant = {"tpp": "accuracy", "tpp.margin": "margin", "tpp.canonical": "canonical"}[metric]
    effects, (texts, fits) = task.effects[variant], draw
    if metric == "tpp.canonical":
        return float((effects.intended - effects.unintended)[0, 0, texts].sum())
    won = (effects.intended - effects.unintended)[0][fits][:, texts].sum()
    return float(won / effects.achievable[fits][:, texts].sum())


@pytest.mark.parametrize("metric", ["tpp", "tpp.margin", "tpp.canonical"])
def test_tpp_is_paired_as_a_bootstrap_of_texts_and_fits_pairs_it(metric: str) -> None:
    world = tpp_world(strength=0.2)
    pair = [world.score(), world.score(rows=world.rows * np.float32(0.6))]

    def values(draw: Draw) -> tuple[float, float]:
        first, second = (tpp_score(task, metric, draw) for task in pair)
        return first, second

    found = [named(tpp_estimates.estimates([task], 0, 1)) for task in pair]
    canonical = metric == "tpp.canonical"
    between = of_one_fit(*(task.redrawn[0] for task in pair)) if canonical else 0.0
    check(metric, found, values, stratified(world.test, 5), between)


def of_one_fit(first: Sequence[float], second: Sequence[float]) -> float:
    """Spread of the difference from fit to fit, each on training texts drawn anew."""
    return statistics.stdev(a - b for a, b in zip(first, second, strict=True))


def stratified(cells: np.ndarray, fits: int) -> list[Draw]:
    rng = np.random.default_rng(2)
    groups = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    return [
        (np.concatenate([rng.choice(g, len(g)) for g in groups]), rng.integers(fits, size=fits))
        for _ in range(REPLICATES)
    ]


def check(
    metric: str,
    found: Sequence[Mapping[str, Estimate]],
    values: Callable[[Draw], tuple[float, float]],
    draws: Sequence[Draw],
    between: float = 0.0,
) -> None:
    """Of both, the length is the standard error; of their difference, that of the difference."""
    first, second = (each[metric] for each in found)
    for estimate in (first, second):
        assert math.hypot(*estimate.influence) == pytest.approx(estimate.se, rel=0.1, abs=1e-9)
    paired = math.dist(first.influence, second.influence)
    expected = math.hypot(paired_spread(values, draws), between)
    assert paired == pytest.approx(expected, rel=0.15, abs=1e-9)
    # Not vacuous: the two do differ, and pairing them does sharpen the comparison.
    assert 0 < paired < 0.9 * math.hypot(first.se or 0, second.se or 0)


def test_the_influence_on_a_mean_is_each_units_distance_from_it() -> None:
    values = np.array([1.0, 2.0, 6.0])
    assert influence(values / 3) == pytest.approx((-2 / 3, -1 / 3, 1.0))


def test_units_are_compared_with_their_own_stratum() -> None:
    assert influence(np.array([1.0, 3.0, 10.0, 14.0]), np.array([0, 0, 1, 1])) == (-1, 1, -2, 2)


@pytest.mark.parametrize("slopes", [[], [1.0], [1.0, math.nan]])
def test_what_says_nothing_of_its_error_has_no_influence(slopes: list[float]) -> None:
    assert influence(np.array(slopes)) == ()
