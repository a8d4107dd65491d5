"""The default probe at several penalties: what is shared between them is computed once.

fit_path(x, labels, weights, l2s) -> one LinearProbes per penalty
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes.linear import Bools, LinearProbes, require_finite, with_ones
from pytest_sae.probes.logistic import DenseInputs, Logistic, minimise, shares_of

_TOLERANCE = 1e-6  # on the gradient: logits move by a thousandth of their range at most
_MEMORY = 5  # the curvature is nearly diagonal here: more costs more than it saves
_RANK = 1e-10  # of the largest variance: directions below hold rounding and no rows


def fit_path(
    x: NDArray[np.floating], labels: Bools, weights: NDArray[np.floating], l2s: Sequence[float]
) -> list[LinearProbes]:
    """Fit what `fit_logistic` fits, at every penalty.

    A penalised fit lies in the span of its rows and does not change when that is rotated. Along
    the rows' principal components the curvature is nearly diagonal, whatever the penalty, and
    there are at most as many of them as rows, however wide x is.

    Args:
        x: (row, d).
        labels: (probe, row) bool.
        weights: (probe, row), not negative; 0 leaves a row out.
        l2s: penalties as of `fit_logistic`; each fit starts from the one before, so begin with the
            largest.

    Returns:
        One LinearProbes per penalty, in their order.

    Raises:
        MeasurementError: as `fit_logistic`.
    """
    signs = torch.as_tensor(np.where(labels, 1.0, -1.0))
    shares = shares_of(labels, np.asarray(weights, np.float64))
    wide = require_finite(np.asarray(x, np.float64))
    mean, deviation = wide.mean(0), wide.std(0)
    scale = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
    standard = (wide - mean) / scale
    axes = _axes(standard)
    inputs = with_ones(torch.from_numpy(standard @ axes))
    found, at = [], torch.zeros(len(shares), inputs.shape[1], dtype=torch.float64)
    for l2 in l2s:
        at = minimise(Logistic(_Rotated.of(inputs, l2), signs, shares, l2), at, _TOLERANCE, _MEMORY)
        solved = at.numpy()
        weight = solved[:, :-1] @ axes.T / scale
        bias = solved[:, -1] - weight @ mean
        found.append(LinearProbes(weight.astype(np.float32), bias.astype(np.float32)))
    return found


def _axes(rows: Floats) -> Floats:
    """(d, component) orthonormal: the principal components of centred rows, none without rows."""
    tall = rows.shape[0] >= rows.shape[1]
    squares, vectors = np.linalg.eigh(rows.T @ rows if tall else rows @ rows.T)
    kept = squares > _RANK * max(squares[-1], 1e-300)
    if tall:
        return np.ascontiguousarray(vectors[:, kept])
    result: Floats = rows.T @ vectors[:, kept] / np.sqrt(squares[kept])
    return result


@dataclass(frozen=True)
class _Rotated(DenseInputs):
    curvature: Tensor  # (component + 1,) of the loss at most, with the penalty

    @classmethod
    def of(cls, inputs: Tensor, l2: float) -> _Rotated:
        curvature = inputs.square().mean(0) / 4 + l2
        curvature[-1] -= l2
        return cls(inputs, curvature)

    def precondition(self, gradient: Tensor, /) -> Tensor:
        return gradient / self.curvature
