"""Bootstrapping what probes read: texts and probe fits resampled together.

draw(cells, fits, rng) -> Draws            # row 0 is the sample itself, the rest are replicates
with_training(values, added, rng) -> (draw,), influence    # what other training texts would add
of_one_fit(values (fit,)) -> (fit,)     # what they would add to a figure of a single fit
draws.over_texts(values (..., text)) -> (draw, ...)
draws.over_fits(values (draw, ..., fit)) -> (draw, ...)
drawn_estimate(metric, draws (draw,), ...) -> Estimate
curve(ns, values (draw, n)) -> {"2": {"value": ..., "se": ..., "low": ..., "high": ...}, ...}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.protocol import MIN_STANDARD_ERRORS
from pytest_sae.numbers.bootstrap import Floats, influence, resample, spread


@dataclass(frozen=True)
class Draws:
    """The observed sample (row 0) and its bootstrap replicates, computed alike.

    Texts are drawn within their cells, so that every replicate is as balanced as the sample.
    The training texts are given: a spread over these says how a value moves with other test texts
    and other probe fits. What other training texts would add is `with_training`'s.

    Args:
        texts: (draw, text) how often each text is drawn.
        fits: (draw, fit) each fit's share, rows sum to 1.
    """

    texts: Floats
    fits: Floats

    def over_texts(self, values: Floats) -> Floats:
        """Sum weighted values over the drawn texts, (..., text) to (draw, ...)."""
        flat = values.reshape(-1, values.shape[-1])
        return (self.texts @ flat.T).reshape(-1, *values.shape[:-1])

    def over_fits(self, values: Floats) -> Floats:
        """Average over the drawn fits, (draw, ..., fit) to (draw, ...)."""
        result: Floats = np.einsum("d...f,df->d...", values, self.fits)
        return result


def draw(cells: NDArray[np.int64], fits: int, rng: np.random.Generator) -> Draws:
    """Draw texts within cells, and probe fits.

    Args:
        cells: (text,) quadrant or class of each test text.
        fits: how many probe fits there are.
        rng: from `bootstrap.generator`, of (seed, metric, task): the same for every dictionary, so
            that their differences are paired.

    Returns:
        The sample in row 0, then a thousand replicates.

    >>> draws = draw(np.array([0, 0, 1]), 2, np.random.default_rng(0))
    >>> draws.texts.shape, draws.texts[:, :2].sum(1).tolist() == [2.0] * 1001
    ((1001, 3), True)
    >>> draws.fits[0].tolist()
    [0.5, 0.5]
    """
    texts = resample(len(cells), rng, cells)
    chosen = resample(fits, rng)
    return Draws(texts.with_sample().counts, chosen.with_sample().counts / fits)


def draw_by_rank(
    cells: NDArray[np.int64], key: Floats, fits: int, rng: np.random.Generator
) -> Draws:
    """Draw as `draw`, texts by their rank within their cell: the order they stand in has no part.

    Args:
        cells: (text,) quadrant or class of each test text.
        key: (text,) what ranks them.
        fits: how many probe fits there are.
        rng: as of `draw`.

    Returns:
        The sample in row 0, then a thousand replicates, of the texts as they stand.

    >>> key, cells, rng = np.array([3.0, 1.0, 2.0]), np.zeros(3, np.int64), np.random.default_rng
    >>> ranked, stand = draw(cells, 1, rng(0)), draw_by_rank(cells, key, 1, rng(0))
    >>> bool((stand.texts[:, [1, 2, 0]] == ranked.texts).all())
    True
    """
    ranked = np.lexsort((key, cells))
    draws = draw(cells[ranked], fits, rng)
    texts = np.empty_like(draws.texts)
    texts[:, ranked] = draws.texts
    return Draws(texts, draws.fits)


@dataclass(frozen=True)
class Added:
    """What the test texts and the probe fits of one task add to the error of a value.

    Args:
        texts: (text,) of `bootstrap.influence`.
        fits: (fit,) how far each fit moves the value, a mean over fits; they sum to 0.
        further: what else moves with other training texts, each by itself.
    """

    texts: tuple[float, ...]
    fits: Floats
    further: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        slopes: Floats,
        cells: NDArray[np.int64],
        fits: Floats,
        further: tuple[float, ...] = (),
    ) -> Added:
        """Return what is added by slopes that say how the value moves.

        Args:
            slopes: (text,) derivatives by the weight of each test text.
            cells: (text,) quadrant or class, within which texts are drawn.
            fits: (fit,) each fit's share of the value.
            further: as above.
        """
        return cls(influence(slopes, cells), fits - fits.mean(), further)

    @property
    def influence(self) -> tuple[float, ...]:
        """Of the test texts, then of the fits as other training texts would have them."""
        return self.texts + influence(_widened(len(self.fits)) * self.fits) + self.further

    @property
    def unseen(self) -> Floats:
        """What a bootstrap that takes the training texts as given has no part of."""
        fits = np.sqrt(_widened(len(self.fits)) ** 2 - 1) * self.fits
        return np.concatenate([fits, self.further])


def _widened(fits: int) -> float:
    """How much further than the mean of some fits the mean of as many on other texts moves.

    The fits are on resamples of the training texts, so that their spread s says how a fit moves
    with other training texts, which all fits have in common. Their mean varies by s^2/F where the
    training texts are given (of which the F deviations around their own mean show the share
    (F-1)/F), and by s^2 + s^2/F where they are not.
    """
    return float(np.sqrt(fits * (fits + 1) / (fits - 1))) if fits > 1 else 1.0


def of_one_fit(values: Floats) -> tuple[float, ...]:
    """Return what a figure of one fit moves with other training texts, told by fits on resamples.

    Args:
        values: (fit,) the figure by each of them, on the same test texts.

    Returns:
        (fit,) for `Added.further`: the squares sum to the variance from fit to fit, which is that
        of one of them and not of their mean. Empty for fewer than two.

    >>> found = of_one_fit(np.array([1.0, 2.0, 6.0]))
    >>> round(sum(each**2 for each in found), 6) == float(np.var([1.0, 2.0, 6.0], ddof=1)) == 7.0
    True
    """
    if len(values) < 2:
        return ()
    return tuple(((values - values.mean()) / np.sqrt(len(values) - 1)).tolist())


def with_training(
    values: Floats, added: Sequence[Added], rng: np.random.Generator
) -> tuple[Floats, tuple[float, ...]]:
    """Let replicates vary as with other training texts too.

    What is added is to first order, so that a small denominator is not drawn to be none.

    Args:
        values: (draw,) with the training texts given, row 0 the value itself.
        added: of every task.
        rng: the same for every dictionary.

    Returns:
        The replicates, row 0 as it was, and what each text and fit of every task adds to the error.

    Two fits that are 1 apart: their mean errs by s sqrt(1 + 1/2), s = sqrt(1/2) their spread.

    >>> fits = Added((0.0, 0.0), np.array([-0.25, 0.25]))
    >>> given = np.tile([0.5, 0.5, 0.0, 1.0], 500)
    >>> drawn, told = with_training(given, [fits], np.random.default_rng(0))
    >>> round(float(np.linalg.norm(told)), 3), bool(abs(drawn.std() - 0.866) < 0.05)
    (0.866, True)
    """
    moved = np.concatenate([[], *(each.unseen for each in added)])
    drawn = values + rng.standard_normal((len(values), len(moved))) @ moved
    drawn[0] = values[0]
    return drawn, tuple(value for each in added for value in each.influence)


def nothing_to_erase(own: Floats, others: Floats, known: NDArray[np.floating]) -> str:
    """Return why a concept's erasure cannot be read; empty if it can.

    Args:
        own: (draw,) AUC of its own probe above chance; the sample and two replicates at least.
        others: (draw,) mean AUC of the other concepts' probes above chance.
        known: (2,) AUC of both where the probes were fitted.

    Returns:
        A reason in which no dictionary has a part.

    >>> nothing_to_erase(np.full(3, 0.4), np.full(3, 0.3), np.ones(2))
    ''
    >>> nothing_to_erase(np.zeros(3), np.full(3, 0.3), np.ones(2))
    "its own probe's AUC is 0.5: there is nothing to remove"
    """
    if not surely_positive(own) or known[0] <= 0.5:
        return f"its own probe's AUC is {own[0] + 0.5:.3g}: there is nothing to remove"
    if not surely_positive(others) or known[1] <= 0.5:
        return f"the other probes' AUC is {others[0] + 0.5:.3g}: there is nothing to damage"
    return ""


def equal_cells(cells: NDArray[np.int64]) -> Floats:
    """Return (text,) weights that sum to 1 and give every cell the same share.

    >>> equal_cells(np.array([0, 0, 1])).tolist()
    [0.25, 0.25, 0.5]
    """
    _, place, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    return 1.0 / (len(sizes) * sizes[place])


def surely_positive(values: Floats) -> bool:
    """Is a value (row 0) more than three of its standard errors above zero?

    >>> surely_positive(np.array([1.0, 0.9, 1.1])), surely_positive(np.array([1.0, 0.0, 2.0]))
    (True, False)
    """
    se, _ = spread(values[1:])
    return se is not None and bool(values[0] > MIN_STANDARD_ERRORS * se)


def curve(ns: Sequence[int], values: Floats) -> dict[str, object]:
    """Return value, standard error and interval at every n, as builtins.

    Args:
        ns: numbers of ablated latents.
        values: (draw, n).

    Returns:
        By n as a string: `value`, `se`, `low` and `high`, None where unknown.

    >>> curve([2, 5], np.array([[0.5, 0.75]]))["5"]
    {'value': 0.75, 'se': None, 'low': None, 'high': None}
    """
    return {str(n): point(values[:, place]) for place, n in enumerate(ns)}


def point(values: Floats) -> dict[str, object]:
    """Return value, standard error and interval of (draw,) as builtins; None where unknown.

    >>> point(np.array([0.5]))
    {'value': 0.5, 'se': None, 'low': None, 'high': None}
    """
    se, ci = spread(values[1:])
    low, high = ci if ci is not None else (None, None)
    return {"value": number(values[0]), "se": se, "low": low, "high": high}


def number(value: float) -> float | None:
    """Return a float, None if it is not finite: a report has no NaN.

    >>> number(0.5), number(float("nan"))
    (0.5, None)
    """
    return float(value) if np.isfinite(value) else None
