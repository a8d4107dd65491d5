"""Probes fitted again on changed activations: regularised discriminants, a few per change.

Refits(x, weights, l2=1.0) .directions(changed, labels) -> (fit, d)
Refits(...) .fitted(changed, labels) -> the same as a tensor, on the device of what was changed
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.errors import MeasurementError
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes.linear import require_finite, require_finite_tensor

#: Penalty of a refitted probe, in variances of a standardised coordinate; see `Refits`.
NOISE = 1.0
_TOLERANCE = 1e-7  # of the residual, relative to the right side
_MAX_STEPS = 500


class Refits:
    """Fits one direction per resample of the training texts, again for every change of them.

    With s the activations standardised by mean and deviation of the *unchanged* training texts,
    S' the covariance of the changed ones and m' their class means,

        v = (S' + l2 I)^-1 (m'_pos - m'_neg)

    This is the linear discriminant (ridge regression on the label, up to scale), as read through
    isotropic noise of variance l2. The noise is what makes a refit say something about a
    dictionary: without it a probe finds a concept again however little of it is left, in any
    direction that the reconstruction error leaves alone. At l2 = 1 what is left counts if it stands
    out of the variance of an average coordinate.

    Solved by conjugate gradients, all resamples together, from the factor of the unchanged
    covariance: nothing of size d x d is formed for a change.

    Args:
        x: (text, d) of the unchanged training texts.
        weights: (fit, text), not negative.
        l2: penalty.

    Raises:
        MeasurementError: x is not finite.
    """

    def __init__(
        self, x: NDArray[np.floating], weights: NDArray[np.floating], l2: float = NOISE
    ) -> None:
        wide = require_finite(np.asarray(x, np.float64))
        mean, deviation = wide.mean(0), wide.std(0)
        scale = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
        shares = torch.as_tensor(np.asarray(weights, np.float64)).T.contiguous()
        inputs = torch.as_tensor((wide - mean) / scale)
        curvature = inputs.T @ inputs / len(inputs)
        root = torch.linalg.cholesky(curvature + l2 * torch.eye(len(curvature)).double())
        self._l2 = l2
        before = _Unchanged(torch.as_tensor(mean), torch.as_tensor(scale), shares, root)
        self._before = {root.device: before}  # by device

    def directions(self, changed: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
        """Return (fit, d): the refitted probes' directions, to act on unstandardised activations.

        Args:
            changed: (text, d) of the same training texts.
            labels: (text,) 1 positive, 0 negative, -1 left out of the fit.

        Raises:
            MeasurementError: the activations are not finite, or the fit does not converge.
        """
        wide = torch.as_tensor(np.array(changed, np.float64))
        found: Floats = self.fitted(wide, labels).cpu().numpy()
        return found

    def fitted(self, changed: Tensor, labels: NDArray[np.integer]) -> Tensor:
        """Return (fit, d) on the device of what was changed, where all of it is computed.

        Args:
            changed: (text, d) float64 of the same training texts.
            labels: as in `directions`.

        Raises:
            MeasurementError: as in `directions`.
        """
        before, device = self._on(changed.device), changed.device
        used = torch.as_tensor(labels >= 0, device=device)
        inputs = (require_finite_tensor(changed[used]) - before.mean) / before.scale
        shares = before.shares[used]
        shares = shares / shares.sum(0)
        label = torch.as_tensor(labels > 0, device=device)[used][:, None]
        found = self._solve(before.root, inputs, shares, inputs.T @ _contrast(shares, label))
        return found.T / before.scale

    def _on(self, device: torch.device) -> _Unchanged:
        if device not in self._before:
            self._before[device] = next(iter(self._before.values())).to(device)
        return self._before[device]

    def _apply(self, inputs: Tensor, shares: Tensor, v: Tensor) -> Tensor:
        """(d, fit) to the covariance of each resample, and the penalty, times v."""
        read = inputs @ v
        read = shares * (read - (shares * read).sum(0))
        return inputs.T @ read + self._l2 * v

    def _solve(self, root: Tensor, inputs: Tensor, shares: Tensor, right: Tensor) -> Tensor:
        """Preconditioned conjugate gradients, one column per resample; (d, fit)."""
        v, residual = torch.zeros_like(right), right.clone()
        small = _TOLERANCE * right.norm(dim=0)
        ahead = torch.cholesky_solve(residual, root)
        direction, slope = ahead, (residual * ahead).sum(0)
        for _ in range(_MAX_STEPS):
            if bool((residual.norm(dim=0) <= small).all()):
                return v
            bent = self._apply(inputs, shares, direction)
            step = _divide(slope, (direction * bent).sum(0))
            v, residual = v + step * direction, residual - step * bent
            ahead = torch.cholesky_solve(residual, root)
            after = (residual * ahead).sum(0)
            direction, slope = ahead + _divide(after, slope) * direction, after
        raise MeasurementError(
            f"{_MAX_STEPS} steps did not refit the probes: relative residual "
            f"{float((residual.norm(dim=0) / right.norm(dim=0)).max()):.1e}"
        )


@dataclass(frozen=True, eq=False)
class _Unchanged:
    """What is kept of the unchanged training texts, on one device."""

    mean: Tensor
    scale: Tensor
    shares: Tensor
    root: Tensor

    def to(self, device: torch.device) -> _Unchanged:
        return _Unchanged(
            *(each.to(device) for each in (self.mean, self.scale, self.shares, self.root))
        )


def _contrast(shares: Tensor, label: Tensor) -> Tensor:
    """(text, fit): the weights of mean_pos - mean_neg."""
    up, down = shares * label, shares * ~label
    return up / up.sum(0) - down / down.sum(0)


def _divide(above: Tensor, below: Tensor) -> Tensor:
    """0 where a column has converged and no longer moves."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)
