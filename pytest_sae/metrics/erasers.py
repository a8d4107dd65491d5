"""Erasing a concept without any dictionary: the references of the erasure frontier.

leace(x, label) -> Eraser          mean_difference_eraser(x, label) -> Eraser
Eraser: (text, d) -> (text, d)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from concept_erasure import LeaceFitter
from numpy.typing import NDArray

from pytest_sae.metrics.ablation import Bools
from pytest_sae.numbers.bootstrap import Floats

Eraser = Callable[[NDArray[Any]], Floats]

#: The package drops cross-covariances under 1 % of a standard deviation; here none is dropped.
_SVD_TOLERANCE = 1e-6


def leace(x: NDArray[np.floating], label: Bools) -> Eraser:
    """Return the affine map nearest to the identity after which no linear probe finds the label.

    Belrose et al. 2023 (arXiv 2306.03819), by their package. Its guard against a growing covariance
    is off: it gives up the guarantee, and nothing is put back into a model here.

    Args:
        x: (text, d) of the training texts.
        label: (text,) bool.

    Returns:
        A function of (text, d) to (text, d) float64.

    After it the labels' means agree, on the texts it was fitted on:

    >>> x = np.tile([[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [2.0, 0.0]], (50, 1))
    >>> label = np.arange(200) % 2 > 0
    >>> left = leace(x, label)(x)
    >>> bool(np.allclose(left[label].mean(0), left[~label].mean(0)))
    True
    """
    fitter = LeaceFitter.fit(
        torch.as_tensor(np.asarray(x, np.float64)),
        torch.as_tensor(label.astype(np.float64)),
        constrain_cov_trace=False,
        svd_tol=_SVD_TOLERANCE,
    )
    eraser = fitter.eraser

    def erase(texts: NDArray[Any]) -> Floats:
        result: Floats = eraser(torch.as_tensor(np.asarray(texts, np.float64))).numpy()
        return result

    return erase


def mean_difference_eraser(x: NDArray[np.floating], label: Bools) -> Eraser:
    """Return the projection that removes the direction from one class mean to the other.

    Args:
        x: (text, d) of the training texts.
        label: (text,) bool.

    Returns:
        A function of (text, d) to (text, d) float64.

    >>> x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    >>> mean_difference_eraser(x, np.array([False, True, False, True]))(x).tolist()
    [[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """
    wide = np.asarray(x, np.float64)
    mean, direction = wide.mean(0), wide[label].mean(0) - wide[~label].mean(0)
    length = np.linalg.norm(direction)
    unit = direction / length if length > 0 else direction

    def erase(texts: NDArray[Any]) -> Floats:
        result: Floats = texts - ((texts - mean) @ unit)[:, None] * unit
        return result

    return erase
