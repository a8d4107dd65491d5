"""The area of a frontier from (0, 0), nothing done, to (1, 1), everything wiped.

corners(removal, collateral) -> indices       # of the lower convex hull, from left to right
area(removal, collateral) -> (...)            # 1 - 2 * integral of collateral over removal
slopes(removal, collateral) -> (...)          # how it moves with every point
"""

from __future__ import annotations

import numpy as np

from pytest_sae.metrics.ablation import Indices
from pytest_sae.numbers.bootstrap import Floats


def corners(removal: Floats, collateral: Floats) -> Indices:
    """Return the points on the lower convex hull of (0, 0), all points and (1, 1), ends left out.

    Args:
        removal: (point,).
        collateral: (point,).

    Returns:
        Indices of points, by ascending removal.

    >>> corners(np.array([0.2, 0.5, 0.8]), np.array([0.3, 0.1, 0.9])).tolist()
    [1]
    """
    x, y = np.append(np.minimum(removal, 1.0), 1.0), np.append(collateral, 1.0)
    at, level, found = 0.0, 0.0, []
    while at < 1.0:
        ahead = np.flatnonzero(x > at)
        slopes = (y[ahead] - level) / (x[ahead] - at)
        # Of several in a line the last one: those between add no corner.
        best = ahead[np.lexsort((-x[ahead], slopes))[0]]
        if best < len(removal):
            found.append(best)
        at, level = x[best], y[best]
    return np.array(found, np.int64)


def area(removal: Floats, collateral: Floats) -> Floats:
    """Return `1 - 2 * integral of collateral d removal` from (0, 0) through the points to (1, 1).

    0 on the diagonal, 1 where all is removed at no cost.

    Args:
        removal: (..., point), in the order of the line.
        collateral: (..., point).

    Returns:
        (...) at most 1; higher is better, below 0 for a line above the diagonal.

    With a single point it is removal minus collateral:

    >>> round(float(area(np.array([0.5]), np.array([0.125]))), 6)
    0.375
    """
    ends = np.zeros((*removal.shape[:-1], 1)), np.ones((*removal.shape[:-1], 1))
    x = np.concatenate([ends[0], removal, ends[1]], axis=-1)
    y = np.concatenate([ends[0], collateral, ends[1]], axis=-1)
    result: Floats = 1.0 - (np.diff(x) * (y[..., 1:] + y[..., :-1])).sum(-1)
    return result


def slopes(removal: Floats, collateral: Floats) -> tuple[Floats, Floats]:
    """Return the derivatives of `area` by the removal and by the collateral of every point.

    Args:
        removal: (point,), in the order of the line.
        collateral: (point,).

    Returns:
        (point,) each.

    With a single point the area is removal minus collateral:

    >>> [each.tolist() for each in slopes(np.array([0.5]), np.array([0.125]))]
    [[1.0], [-1.0]]
    """
    x, y = np.r_[0.0, removal, 1.0], np.r_[0.0, collateral, 1.0]
    return y[2:] - y[:-2], x[:-2] - x[2:]
