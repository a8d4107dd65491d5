"""Intervals: resampling the independent units (texts, never tokens) behind a number.

A resample is a row of counts, so that all replicates of all sums are one matrix product:
`counts (replicate, unit) @ sums (unit, column)`. Apart from `stats` because this needs numpy,
which a pytest run that uses no SAE must not import.

    generator(seed, *names) -> np.random.Generator
    resample(units, rng, strata=None, replicates=1000) -> Resamples
    spread(replicates) -> (se, (low, high)) | (None, None)
    drawn_estimate(metric, values, params, n, ...) -> Estimate      # row 0 is the value
    drawn_means(values, counted, group, rng) -> (1 + replicate,)
    ratio_estimate(metric, numerators, denominators, resamples, ...) -> Estimate
    mean_estimate(metric, values, ...) -> Estimate
    share_estimate(metric, hits, total, ...) -> Estimate
    influence(slopes, strata=None) -> tuple[float, ...]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.numbers.estimate import Estimate, Param, undefined
from pytest_sae.numbers.plain import INTERVAL

Floats = NDArray[np.float64]
Interval = tuple[float, float]

REPLICATES = 1000
CONFIDENCE = 0.95
_BLOCK = 64  # replicates drawn at once: bounds memory at 64 x units integers


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the random generator of (seed, metric, task, ...).

    It depends on its arguments alone, so no result depends on what ran before or on which worker.

    Args:
        seed: the run's seed.
        names: what the numbers are for, such as "scr", "professor/nurse".

    Returns:
        A new generator (PCG64); equal arguments give equal streams.

    >>> first, again = generator(0, "scr", "task"), generator(0, "scr", "task")
    >>> bool(first.random() == again.random())
    True
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@dataclass(frozen=True)
class Resamples:
    """How often each unit was drawn in each replicate.

    Args:
        counts: (replicate, unit) float64; every row sums to the number of units.
    """

    counts: Floats

    def sums(self, columns: Floats) -> Floats:
        """(unit, column) to the sums of every replicate, (replicate, column)."""
        return self.counts @ columns

    def with_sample(self) -> Resamples:
        """Return it with the sample itself, every unit once, as row 0."""
        return Resamples(np.concatenate([np.ones((1, self.counts.shape[1])), self.counts]))


def resample(
    units: int,
    rng: np.random.Generator,
    strata: NDArray[np.int64] | None = None,
    replicates: int = REPLICATES,
) -> Resamples:
    """Draw units with replacement, within each stratum separately.

    Args:
        units: how many units there are.
        rng: from `generator`.
        strata: (unit,) group of each unit; None is one group. Group sizes stay as they are.
        replicates: number of resamples.

    Returns:
        Counts (replicate, unit); in each row those of a stratum sum to its size.

    >>> drawn = resample(5, generator(0, "units"), np.array([0, 0, 1, 1, 1]), replicates=3)
    >>> drawn.counts[:, :2].sum(1).tolist(), drawn.counts[:, 2:].sum(1).tolist()
    ([2.0, 2.0, 2.0], [3.0, 3.0, 3.0])
    """
    groups = np.zeros(units, np.int64) if strata is None else strata
    counts = np.zeros((replicates, units))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        for start in range(0, replicates, _BLOCK):
            rows = min(_BLOCK, replicates - start)
            counts[start : start + rows, members] = _counts(len(members), rows, rng)
    return Resamples(counts)


def _counts(size: int, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = rng.integers(size, size=(rows, size)) + np.arange(rows)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)


def spread(replicates: Floats) -> tuple[float, Interval] | tuple[None, None]:
    """Return standard error and 95 % percentile interval of a bootstrapped value.

    A replicate that is not finite (an empty denominator) carries no value. If more than 5 % are
    like that the uncertainty is unknown, and said to be: (None, None).

    Args:
        replicates: (replicate,) the value in each resample.

    Returns:
        The standard deviation (n - 1 below) and (low, high), in the value's unit.

    >>> _, (low, high) = spread(np.arange(41.0))
    >>> round(low, 6), round(high, 6)
    (1.0, 39.0)
    >>> spread(np.array([1.0, np.nan]))
    (None, None)
    """
    finite = replicates[np.isfinite(replicates)]
    if len(replicates) < 2 or len(finite) < CONFIDENCE * len(replicates):
        return None, None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(finite.std(ddof=1)), (float(low), float(high))


def drawn_estimate(
    metric: str,
    values: Floats,
    params: Mapping[str, Param],
    n: Mapping[str, int],
    seeds: int = 1,
    details: Mapping[str, object] | None = None,
    influence: Sequence[float] = (),
) -> Estimate:
    """Return the estimate whose row 0 is the value and whose other rows are replicates.

    Args:
        metric: its name.
        values: (draw,) row 0 the value, then its replicates.
        params: setting of the estimate.
        n: what it rests on, by kind.
        seeds: how many random fits it averages over.
        details: for the report.
        influence: what each unit adds to the error, empty where that is not told.

    Returns:
        The estimate, with standard error and percentile interval of the replicates.

    >>> found = drawn_estimate("scr", np.array([0.5, 0.4, 0.6]), {"n": 20}, {"texts": 3}, 1, {})
    >>> found.value, round(found.se, 6)
    (0.5, 0.141421)
    """
    se, ci = spread(values[1:])
    return Estimate(
        metric,
        float(values[0]),
        params,
        se,
        ci,
        n,
        seeds,
        details=details or {},
        influence=influence,
    )


def drawn_means(
    values: Floats, counted: Floats, group: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Return `sum of values / sum of counted`, (1 + replicate,), elements drawn by their group.

    Args:
        values: (element,).
        counted: (element,) how much each counts.
        group: (element,) those of one group are drawn together.
        rng: from `generator`.

    Returns:
        The sample's in row 0; NaN where nothing is counted.

    >>> values, group = np.array([1.0, 0.0, 1.0]), np.array([4, 4, 7])
    >>> found = drawn_means(values, np.ones(3), group, generator(0, "groups"))
    >>> round(float(found[0]), 6), sorted(set(found[1:].round(6).tolist()))
    (0.666667, [0.5, 0.666667, 1.0])
    """
    _, place = np.unique(group, return_inverse=True)
    draws = resample(int(place.max()) + 1, rng).with_sample()
    columns = [np.bincount(place, weights=each) for each in (values, counted)]
    sums = draws.sums(np.stack(columns, axis=1))
    return divide(sums[:, 0], sums[:, 1])


def ratio_estimate(
    metric: str,
    numerators: Floats,
    denominators: Floats,
    resamples: Resamples,
    *,
    params: Mapping[str, Param] | None = None,
    n: Mapping[str, int] | None = None,
    details: Mapping[str, object] | None = None,
) -> Estimate:
    """Estimate `sum(numerators) / sum(denominators)` with a bootstrap over the units.

    Args:
        metric: its name.
        numerators: (unit,).
        denominators: (unit,).
        resamples: draws of these units, shared by all metrics that are to be compared.
        params: setting of the estimate.
        n: what it rests on, by kind.
        details: for the report.

    Returns:
        The estimate, with each unit's influence; `undefined` if the denominators sum to zero. One
        unit alone gives no uncertainty.

    >>> above, below = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    >>> found = ratio_estimate("mse", above, below, resample(2, generator(0, "mse")))
    >>> found.value, found.influence
    (1.0, (-0.25, 0.25))
    """
    below = float(denominators.sum())
    if below == 0:
        return undefined(metric, "the denominator is zero", params, details)
    sums = resamples.sums(np.stack([numerators, denominators], axis=1))
    se, ci = spread(divide(sums[:, 0], sums[:, 1])) if len(numerators) > 1 else (None, None)
    return Estimate(
        metric,
        float(numerators.sum()) / below,
        params or {},
        se,
        ci,
        n or {},
        details=details or {},
        influence=influence((numerators - denominators * (numerators.sum() / below)) / below),
    )


def influence(slopes: Floats, strata: NDArray[np.int64] | None = None) -> tuple[float, ...]:
    """Return what each unit adds to the error of a value, to first order.

    The value is a smooth function of weighted sums over units; a bootstrap varies the weights, and
    its standard error is, to first order, the root of the sum of squares of the derivatives by
    them, less their mean within each stratum (the infinitesimal jackknife: Efron 1982, The
    Jackknife, the Bootstrap and Other Resampling Plans, chapter 6).

    Args:
        slopes: (unit,) derivatives of the value by the weight of each unit, at weight 1.
        strata: (unit,) groups within which units are drawn, None for one group.

    Returns:
        In single precision, which is what baselines keep; empty where it cannot be told.

    The mean of 1, 3 and 8, 4, whose derivative by a unit's weight is a third of its distance:

    >>> [round(each, 4) for each in influence((np.array([1.0, 3.0, 8.0]) - 4) / 3)]
    [-1.0, -0.3333, 1.3333]
    """
    groups = np.zeros(len(slopes), np.int64) if strata is None else strata
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.bincount(place, slopes) / sizes
    centred = (slopes - means[place]).astype(np.float32)
    return tuple(centred.tolist()) if len(slopes) > 1 and np.isfinite(centred).all() else ()


def divide(above: Floats, below: Floats) -> Floats:
    """Divide elementwise; NaN, which `spread` counts as no value, where the divisor is zero.

    Args:
        above: array of any shape.
        below: array that broadcasts with it.

    Returns:
        `above / below`, in the shape that both broadcast to.

    >>> divide(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    result: Floats = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result


def mean_estimate(
    metric: str, values: Floats, kind: str, details: Mapping[str, object] | None = None
) -> Estimate:
    """Estimate a mean over many independent units; the interval is the normal one.

    Args:
        metric: its name.
        values: (unit,).
        kind: what the units are, such as "latents".
        details: for the report.

    Returns:
        The mean with its standard error, `standard deviation / sqrt(units)`; `undefined` without
        units. One unit alone gives no uncertainty.

    >>> found = mean_estimate("decoder_norm", np.array([1.0, 2.0, 3.0, 6.0]), "latents")
    >>> found.value, round(found.se, 4), found.n
    (3.0, 1.0801, {'latents': 4})
    """
    if len(values) == 0:
        return undefined(metric, f"there are no {kind} to average over", details=details)
    mean, n = float(values.mean()), {kind: len(values)}
    if len(values) < 2:
        return Estimate(metric, mean, n=n, details=details or {})
    se = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(
        metric, mean, {}, se, (mean - INTERVAL * se, mean + INTERVAL * se), n, details=details or {}
    )


def share_estimate(
    metric: str, hits: int, total: int, kind: str, details: Mapping[str, object] | None = None
) -> Estimate:
    """Estimate a share of units, with Wilson's interval (Wilson 1927).

    Unlike mean +- 2 se it stays within [0, 1] and isn't empty when no unit or every unit is hit.

    Args:
        metric: its name.
        hits: how many units are counted.
        total: of how many.
        kind: what the units are, such as "latents".
        details: for the report.

    Returns:
        `hits / total`, from 0 to 1, with se `sqrt(share (1 - share) / total)`; `undefined` if
        total is 0.

    Of no hits in n Wilson's upper bound is `z^2 / (n + z^2)`, z = 1.96:

    >>> found = share_estimate("dead_share", 0, 10, "latents")
    >>> found.value, [round(end, 4) for end in found.ci], round(1.96**2 / (10 + 1.96**2), 4)
    (0.0, [0.0, 0.2775], 0.2775)
    """
    if total == 0:
        return undefined(metric, f"there are no {kind} to count", details=details)
    share, z2 = hits / total, INTERVAL**2 / total
    centre = (share + z2 / 2) / (1 + z2)
    half = INTERVAL / (1 + z2) * float(np.sqrt(share * (1 - share) / total + z2 / (4 * total)))
    ci = (max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))
    return Estimate(
        metric,
        share,
        {},
        float(np.sqrt(share * (1 - share) / total)),
        ci,
        {kind: total},
        details=details or {},
    )
