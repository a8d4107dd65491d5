"""Latents against attributes that are known: edits by few latents, best latents, what is missing.

    exchange(change, z_base, z_other, rows, k) -> (k, edit) latents, -1 where none helps
    best_latents(active, values, count) -> (value,)               f1_counts(...) -> per group
    specific(active, values, count) -> (value, latent) bool
    covering(active, values, specific) -> per value (covered share, latents needed)

Makelov, Lange and Nanda 2024 (arXiv 2405.08366). Their edits search for the features that bring an
activation nearest to the counterfactual one; here greedily, one exchanged latent after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PRECISION = 0.8  # of a latent's firings must be on one value for the latent to be that value's
FEWEST = 3  # firings below which nothing is said of a latent
COVERED = 0.9  # of what all of a value's latents cover together: how far they are counted
OCCLUDED = 0.5  # share of a value's texts with one of its latents, below which it has none


def exchange(change: Floats, z_base: Floats, z_other: Floats, rows: Floats, k: int) -> Ints:
    """Return which latents to give the counterfactual's value, the best first, (k, edit).

    Each step takes the latent j that lowers `|change - sum of (z_other - z_base)_j d_j|` most, and
    none (-1) where none lowers it.

    Args:
        change: (edit, d), the counterfactual activation minus the base one.
        z_base: (edit, J) latents of the base.
        z_other: (edit, J) latents of the counterfactual.
        rows: (J, d) what one unit of each latent writes.
        k: most latents per edit.

    Returns:
        Indices of latents, one column per edit.

    Source: Makelov, Lange and Nanda 2024 (arXiv 2405.08366).

    Two latents, an axis each; the change is along the second one:

    >>> change, base = np.array([[0.0, 2.0]]), np.array([[1.0, 0.0]])
    >>> exchange(change, base, np.array([[0.0, 2.0]]), np.eye(2), k=2).tolist()
    [[1], [-1]]
    """
    steps = z_other - z_base
    squares = steps**2 * (rows**2).sum(1)
    left, free = change.copy(), steps != 0
    edits = np.arange(len(change))
    chosen = np.full((k, len(change)), -1, np.int64)
    for place in range(k if len(rows) else 0):
        gains = np.where(free, 2 * steps * (left @ rows.T) - squares, -np.inf)
        best = gains.argmax(1)
        helps = gains[edits, best] > 0
        chosen[place, helps] = best[helps]
        left[helps] -= steps[edits, best][helps, None] * rows[best[helps]]
        free[edits[helps], best[helps]] = False
    return chosen


def best_latents(active: Bools, values: Ints, count: int) -> Ints:
    """Return the latent with the highest F1 for each value, (value,); -1 where none ever fires.

    Args:
        active: (text, J) whether a latent fires.
        values: (text,) numbers below `count`.
        count: how many values there are.

    Returns:
        Indices of latents.

    >>> active = np.array([[True, False], [True, False], [True, True]])
    >>> best_latents(active, np.array([0, 0, 1]), 3).tolist()
    [0, 1, -1]
    """
    if active.shape[1] == 0:
        return np.full(count, -1, np.int64)
    hits, fired, texts = _counts(active, values, count)
    below = fired + texts[:, None]
    f1 = np.divide(2 * hits, below, out=np.zeros_like(hits), where=below > 0)
    return np.where(f1.max(1) > 0, f1.argmax(1), -1)


def f1_counts(predicted: Bools, values: Ints, count: int, group: Ints, groups: int) -> Floats:
    """Return what F1 is made of, (group, value, 2): `2 hits`, and `predictions + texts`.

    Args:
        predicted: (text, value) whether a text is taken to have it.
        values: (text,).
        count: how many values there are.
        group: (text,) numbers below `groups`.
        groups: how many there are.

    Returns:
        F1 is the first column's sum over the second's.

    >>> predicted = np.array([[True, False], [True, False]])
    >>> f1_counts(predicted, np.array([0, 1]), 2, np.array([0, 0]), 1).tolist()
    [[[2.0, 3.0], [0.0, 1.0]]]
    """
    true = values[:, None] == np.arange(count)
    parts = np.stack([2.0 * (predicted & true), predicted.astype(float) + true], axis=2)
    sums = np.zeros((groups, count, 2))
    np.add.at(sums, group, parts)
    return sums


def predictions(active: Bools, best: Ints) -> Bools:
    """Return (text, value) whether the value's latent fires; never where it has none.

    Args:
        active: (text, J) whether a latent fires.
        best: (value,) from `best_latents`, -1 for none.

    Returns:
        Whether a text is taken to have each value.

    >>> predictions(np.array([[True, False]]), np.array([0, 1, -1])).tolist()
    [[True, False, False]]
    """
    if active.shape[1] == 0:
        return np.zeros((len(active), len(best)), bool)
    return active[:, np.maximum(best, 0)] & (best >= 0)


def specific(active: Bools, values: Ints, count: int) -> Bools:
    """Return which latents belong to which value, (value, J).

    A latent belongs to a value if at least 80 % of its firings are on texts with that value, and
    more than a latent's that fires by chance would be: at least three, and precision above the
    middle between the value's share and 1.

    Args:
        active: (text, J).
        values: (text,).
        count: how many values there are.

    Returns:
        True where a latent is a value's; it belongs to one value at most.

    >>> active = np.array([[True, True]] * 3 + [[False, True]] * 3)
    >>> specific(active, np.array([0, 0, 0, 1, 1, 1]), 2).tolist()
    [[True, False], [False, False]]
    """
    hits, fired, texts = _counts(active, values, count)
    precision = np.divide(hits, fired, out=np.zeros_like(hits), where=fired > 0)
    least = np.maximum(PRECISION, (1 + texts / len(values)) / 2)
    return (precision >= least[:, None]) & (hits >= FEWEST)


@dataclass(frozen=True)
class Coverage:
    """How a value is spread over its latents.

    Args:
        covered: (text,) of the texts with that value, whether one of its latents fires.
        needed: how many of its latents, taken greedily, cover 90 % of what all of them cover.
    """

    covered: Bools
    needed: int


def covering(active: Bools, values: Ints, latents: Bools) -> list[Coverage]:
    """Return each value's coverage by the latents that belong to it.

    Args:
        active: (text, J).
        values: (text,).
        latents: (value, J) from `specific`.

    Returns:
        One entry per value.

    >>> active = np.array([[True, False], [False, True], [False, False]])
    >>> (one,) = covering(active, np.zeros(3, np.int64), np.array([[True, True]]))
    >>> one.covered.tolist(), one.needed
    ([True, True, False], 2)
    """
    found = []
    for value, own in enumerate(latents):
        fires = active[values == value][:, own]
        covered = fires.any(1)
        found.append(Coverage(covered, _needed(fires, COVERED * covered.sum())))
    return found


def _needed(fires: Bools, goal: float) -> int:
    left, count, reached = fires.copy(), 0, 0
    while reached < goal:
        best = int(left.sum(0).argmax())
        reached += int(left[:, best].sum())
        left[left[:, best]] = False
        count += 1
    return count


def _counts(active: Bools, values: Ints, count: int) -> tuple[Floats, Floats, Floats]:
    """Firings on each value (value, J), firings (J,), texts of each value (value,)."""
    true = (values[:, None] == np.arange(count)).astype(float)
    return true.T @ active.astype(float), active.sum(0).astype(float), true.sum(0)
