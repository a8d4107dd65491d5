"""Coupling of directions with an observable of the model (observable propagation)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_sae.numbers.bootstrap import Floats, divide


def coupling(known: NDArray[np.floating], wanted: NDArray[np.floating]) -> Floats:
    """Return what a score along one direction says to expect along another.

    `C(y1, y2) = y1 . y2 / |y1|^2` (Dunefsky and Cohan 2023, "Observable propagation", arXiv
    2312.16291): for isotropic activations, `x . y1 = s` makes `C s` the expected `x . y2`. It is
    not symmetric: `C(y1, y2) |y1|^2 = C(y2, y1) |y2|^2`, and `C(y, a y) = a`.

    Args:
        known: (..., d) y1, such as decoder rows.
        wanted: (..., d) y2, such as the weights of a probe or the direction of a logit.

    Returns:
        (...) unbounded; NaN where y1 is zero and has no direction.

    >>> coupling(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([1.0, 3.0])).tolist()
    [0.5, nan]
    """
    first, second = np.asarray(known, np.float64), np.asarray(wanted, np.float64)
    return divide((first * second).sum(-1), np.square(first).sum(-1))
