"""What each test text and each probe fit adds to the error of `erasure`, to first order.

    influences(concepts, score, whole) -> influence      # of one task

The score is a ratio of sums of areas, an area a polynomial in removal and collateral of its
corners, and these are ratios of sums over texts, mean over the probe fits: so it has a derivative
by each test text and each fit. Two dictionaries that were read on the same texts with the same
probes are compared by the differences of these (`bootstrap.influence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics.ablation import Indices
from pytest_sae.metrics.frontier import Frontier
from pytest_sae.metrics.frontier_area import corners, slopes
from pytest_sae.metrics.frontier_texts import ProbeAucs
from pytest_sae.numbers.bootstrap import Floats, influence

#: The optimum's one point.
_ALL: Indices = np.zeros(1, np.int64)


def influences(concepts: Sequence[Frontier], score: float, whole: float) -> tuple[float, ...]:
    """Return what the texts of one task, then its fits, add to the error of the score.

    Args:
        concepts: of the task, that count.
        score: `erasure` over the concepts of all tasks.
        whole: what it is divided by: by how much LEACE's areas exceed random latents', all tasks
            together.

    Returns:
        (text + fit,), see `bootstrap.influence`: the squares sum to the variance over test texts
        and probe fits. Empty parts where there is one text of a cell or one fit.

    Two texts of a cell, on one of which the dictionary removes twice as much as on the other:

    >>> def read(*own):
    ...     return ProbeAucs(np.array([[own]]), np.full((1, 1, 2), 0.5), np.array([[sum(own), 1]]))
    >>> clean, gone, half = read(0.5, 0.5), read(0.25, 0.25), read(0.4, 0.4)
    >>> cells = np.zeros(2, np.int64)
    >>> one = Frontier("t", "c", (1,), cells, cells * 1.0, cells, clean, read(0.2, 0.35), (half,),
    ...     {"leace": gone})
    >>> first, second = influences([one], score=0.5, whole=1.0)
    >>> first > 0 and abs(first + second) < 1e-6
    True
    """
    moved = np.sum([_slopes(each, score) for each in concepts], axis=0) / whole
    texts = influence(moved.mean(0), concepts[0].cells)
    return texts + influence(moved.sum(1) / len(moved))


def chosen(frontier: Frontier, readings: ProbeAucs) -> Indices:
    """Return the corners of a curve, told by the training texts.

    Args:
        frontier: with what the probes read of the untouched texts.
        readings: of the curve.

    Returns:
        Places of points among the curve's, by ascending removal.

    >>> def read(*known):
    ...     return ProbeAucs(*np.zeros((2, len(known), 1, 1)), np.array(known))
    >>> cells, clean = np.zeros(1, np.int64), read((1.0, 1.0))
    >>> one = Frontier("t", "c", (1, 2), cells, cells * 1.0, cells, clean, clean, (), {})
    >>> chosen(one, read((0.75, 0.95), (0.7, 0.6))).tolist()
    [0]
    """
    clean = frontier.clean.known[0]
    return corners(*((clean - readings.known) / (clean - 0.5)).T)


def _slopes(frontier: Frontier, score: float) -> Floats:
    """(fit, text): derivatives of what a concept adds above the score, less the score's share."""
    random = np.mean(
        [_Curve.of(frontier, each).slopes(chosen(frontier, each)) for each in frontier.random],
        axis=0,
    )
    ours = _Curve.of(frontier, frontier.sae).slopes(chosen(frontier, frontier.sae))
    leace = _Curve.of(frontier, frontier.erased["leace"]).slopes(_ALL)
    result: Floats = (ours - random) - score * (leace - random)
    return result


@dataclass(frozen=True)
class _Curve:
    """Losses of one curve over the gaps to chance.

    Args:
        losses: own and others', (point, fit, text) each.
        clean: own and others' share of the clean AUC, (fit, text) each.
        gaps: own and others' clean AUC above chance.
    """

    losses: tuple[Floats, Floats]
    clean: tuple[Floats, Floats]
    gaps: tuple[float, float]

    @classmethod
    def of(cls, frontier: Frontier, readings: ProbeAucs) -> _Curve:
        own, others = frontier.clean.own[0], frontier.clean.others[0]
        gaps = own.sum(1).mean() - 0.5, others.sum(1).mean() - 0.5
        return cls((own - readings.own, others - readings.others), (own, others), gaps)

    def axes(self, points: Indices) -> tuple[Floats, Floats]:
        """Removal and collateral of some points, (point,) each."""
        removal, collateral = (
            losses[points].sum(2).mean(1) / gap
            for losses, gap in zip(self.losses, self.gaps, strict=True)
        )
        return removal, collateral

    def slopes(self, points: Indices) -> Floats:
        """(fit, text): derivatives of the area, over the fits' share in the mean."""
        axes = self.axes(points)
        parts = [
            np.einsum("p,pft->ft", by, (losses[points] - at[:, None, None] * clean) / gap)
            for by, losses, at, clean, gap in zip(
                slopes(*axes), self.losses, axes, self.clean, self.gaps, strict=True
            )
        ]
        result: Floats = parts[0] + parts[1]
        return result
