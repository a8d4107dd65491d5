"""What each test text and each probe fit adds to the error of an SCR figure, to first order.

    added_by(tasks, score, gap) -> list[Added]          # texts and fits of every task, in order
    Slopes.of(reading, test, direction, measure, place) -> Slopes
    margin_slopes(toward, mean, square) -> (..., text)

See `bootstrap.influence`: two dictionaries that were read on the same texts with the same probes
are compared by the differences of these, which is far sharper than by their standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.probe_bootstrap import Added
from pytest_sae.numbers.bootstrap import Floats


@dataclass(frozen=True)
class Slopes:
    """How gain and gap of one task move with the weights of its texts, and from fit to fit.

    Args:
        cells: (text,) quadrant of each text.
        gain: (fit, text) derivatives of `ablated - confounded`.
        gap: (fit, text) derivatives of `clean - confounded`.
        fit_gain: (fit,) the gain of each fit.
        fit_gap: (fit,) the gap of each fit.
    """

    cells: NDArray[np.int64]
    gain: Floats
    gap: Floats
    fit_gain: Floats
    fit_gap: Floats

    def added(self, score: float, gap: float) -> Added:
        """Return what texts and fits add to the error of `sum of gains / gap`."""
        texts = ((self.gain - score * self.gap) / gap).mean(0)
        fits = (self.fit_gain - score * self.fit_gap) / gap / len(self.fit_gain)
        return Added.of(texts, self.cells, fits)


def added_by(tasks: Sequence[Slopes], score: float, gap: float) -> list[Added]:
    """Return what texts and fits of every task add to the error of `sum of gains / sum of gaps`.

    Args:
        tasks: in the order of the tasks, which is part of what two dictionaries must share.
        score: the figure.
        gap: sum of the gaps.

    Returns:
        Task after task; see `probe_bootstrap.with_training`.

    >>> texts, fits = np.array([[0.25, 0.0, 0.25, 0.0]]), np.array([0.5])
    >>> task = Slopes(np.zeros(4, np.int64), gain=texts, gap=texts, fit_gain=fits, fit_gap=fits)
    >>> added_by([task], score=0.0, gap=0.5)[0].texts
    (0.25, -0.25, 0.25, -0.25)
    """
    return [task.added(score, gap) for task in tasks]


def margin_slopes(toward: Floats, mean: Floats, square: Floats) -> Floats:
    """Return derivatives of `sum toward / sqrt(sum square - (sum mean)^2)` by the texts' weights.

    Args:
        toward: (..., text) weighted `y logit`.
        mean: (..., text) weighted logits.
        square: (..., text) weighted squared logits.

    Returns:
        (..., text), 0 where the logits are all alike and the margin is 0 by definition.

    Logits -2 and 2 of labels -1 and 1 have the margin 1, which grows with the root of a factor
    common to both weights; logits 1 and 1 have the margin 0 by definition:

    >>> signs, logits = np.array([-1.0, 1.0]), np.array([[-2.0, 2.0], [1.0, 1.0]])
    >>> margin_slopes(signs * logits / 2, logits / 2, logits**2 / 2).tolist()
    [[0.25, 0.25], [0.0, 0.0]]
    """
    sums = [part.sum(-1, keepdims=True) for part in (toward, mean, square)]
    variance = sums[2] - np.square(sums[1])
    varied = variance > 1e-12 * sums[2]
    sd = np.sqrt(np.where(varied, variance, 1.0))
    moved = square - 2 * sums[1] * mean
    return np.where(varied, toward / sd - sums[0] * moved / (2 * sd**3), 0.0)
