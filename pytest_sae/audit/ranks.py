"""Spearman's correlation, of a sample and of many resamples of it at once.

correlation(one, two) -> float | None
weighted_correlations(one, two, counts) -> (sample,)
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from pytest_sae.numbers.bootstrap import Floats, divide


def correlation(one: Floats, two: Floats) -> float | None:
    """Return Spearman's correlation.

    Args:
        one: (n,) values.
        two: (n,) values of the same things.

    Returns:
        -1 to 1; None for fewer than three, or where either does not vary.
    """
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return None
    return float(np.corrcoef(rankdata(one), rankdata(two))[0, 1])


def weighted_correlations(one: Floats, two: Floats, counts: Floats) -> Floats:
    """Return Spearman's correlation of samples that hold each unit so many times.

    As if units were repeated, ties at their middle rank, without repeating them.

    Args:
        one: (unit,).
        two: (unit,).
        counts: (sample, unit).

    Returns:
        (sample,), NaN where a sample does not vary.
    """
    centred = []
    for values in (one, two):
        below = (values[:, None] < values) + 0.5 * (values[:, None] == values)
        ranks = counts @ below
        centred.append(ranks - ((counts * ranks).sum(1) / counts.sum(1))[:, None])
    first, second = centred
    scale = np.sqrt((counts * first**2).sum(1) * (counts * second**2).sum(1))
    return divide((counts * first * second).sum(1), np.where(scale > 1e-9, scale, 0.0))
