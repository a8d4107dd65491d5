"""The area under the ROC curve as a sum over texts, so that it can be bootstrapped like a mean.

auc(scores, positive) -> (...)                    rank_auc(scores, labels) -> float
contributions(scores, positive) -> (..., text)     # their sum is the AUC
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.numbers.bootstrap import Floats


def auc(scores: Floats, positive: Bools) -> Floats:
    """Return the chance that a positive text scores above a negative one; ties count half.

    Args:
        scores: (..., text).
        positive: (text,) bool.

    Returns:
        (...), from 0 to 1; 0.5 for scores that say nothing.

    Raises:
        ValueError: texts of one label only.

    >>> auc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])).tolist()
    0.75
    """
    result: Floats = contributions(scores, positive).sum(-1)
    return result


def rank_auc(scores: Floats, labels: Bools) -> float:
    """Return the probability that a positive scores above a negative, ties counting half.

    The Mann-Whitney statistic over the number of pairs; NaN where a label does not occur.

    Args:
        scores: (unit,).
        labels: (unit,) bool.

    Returns:
        0 to 1; 0.5 for scores that say nothing.

    >>> rank_auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def contributions(scores: Floats, positive: Bools) -> Floats:
    """Return what each text adds to the AUC, (..., text); the sum over texts is the AUC, in [0, 1].

    With V_i the share of the other label's texts that text i is on the right side of (ties count
    half), a positive text adds `(V_i - A/2) / n_pos`, a negative one `(V_i - A/2) / n_neg`. Sums
    over resampled texts are then the AUC's first-order bootstrap, whose variance is DeLong's
    (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        scores: (..., text).
        positive: (text,) bool.

    Returns:
        Shares of the texts.

    Raises:
        ValueError: texts of one label only.

    >>> contributions(np.array([1.0, 2.0]), np.array([False, True])).tolist()
    [0.5, 0.5]
    """
    up, down = int(positive.sum()), int((~positive).sum())
    if not up or not down:
        raise ValueError("the AUC needs texts of both labels")
    place = np.argsort(scores, axis=-1, kind="stable")
    low, high = _ties(np.take_along_axis(scores, place, -1))
    # Negatives before each place in the order, and after the last one.
    seen = np.zeros((*scores.shape[:-1], scores.shape[-1] + 1))
    np.cumsum(~positive[place], axis=-1, out=seen[..., 1:])
    before, until = (np.take_along_axis(seen, end, -1) for end in (low, high))
    beaten = (before + until) / 2
    wins = np.where(positive[place], beaten / down, 1 - ((low + high) / 2 - beaten) / up)
    half = (wins * positive[place]).sum(-1, keepdims=True) / up / 2
    shares: Floats = np.empty(scores.shape)
    np.put_along_axis(shares, place, (wins - half) / np.where(positive[place], up, down), -1)
    return shares


def _ties(ascending: Floats) -> tuple[Indices, Indices]:
    """Return where the group of equal values of each place begins, and where it has ended."""
    size = ascending.shape[-1]
    steps = np.diff(ascending, axis=-1) > 0
    first = np.ones((*ascending.shape[:-1], 1), bool)
    begins = np.where(np.concatenate([first, steps], -1), np.arange(size), 0)
    ends = np.where(np.concatenate([steps, first], -1), np.arange(1, size + 1), size)
    high = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    return np.maximum.accumulate(begins, axis=-1), high
