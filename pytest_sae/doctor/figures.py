"""How much of some activations is explained, and how much principal components would explain.

explained(y, y_hat) -> float
ordinary(x) -> (token,) bool
components(x, count, seed) -> Components; .of_rank(x, k), .largest(x, k) -> float
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_OUTLIER = 10  # times the median norm: a token that other tokens attend to for want of anything
_ROUNDS = 6  # of subspace iteration: its error falls with the ratio of eigenvalues to this power


def explained(y: Tensor, y_hat: Tensor, mean: Tensor | None = None) -> float:
    """Return the explained variance, `1 - Σ|y - ŷ|² / Σ|y - mean|²`.

    Args:
        y: (token, d).
        y_hat: (token, d).
        mean: (d,) that counts as explaining nothing, None for that of y.

    Returns:
        At most 1; minus infinity where the reconstruction is not finite.
    """
    wide = _wide(y)
    middle = wide.mean(0) if mean is None else _wide(mean)
    apart = (wide - _wide(y_hat)).pow(2).sum()
    share = 1 - float(apart / (wide - middle).pow(2).sum())
    return share if share > -float("inf") else -float("inf")


def ordinary(x: Tensor) -> Tensor:
    """Return which tokens (token,) are of ordinary size, at most ten times the median norm.

    The first token of a text can be a thousand times larger than any other; the figures of all
    others would drown in it.

    Args:
        x: (token, d).
    """
    norms: Tensor = x.norm(dim=1)
    return norms.le(_OUTLIER * norms.median())


@dataclass(frozen=True)
class Components:
    """Leading principal components of some activations.

    Args:
        mean: (d,).
        axes: (component, d), orthonormal, the largest first.
    """

    mean: Tensor
    axes: Tensor

    def of_rank(self, x: Tensor, k: int) -> float:
        """Return the variance of x (token, d) that the first k components explain."""
        coefficients = self._coefficients(x)
        return explained(x, self.mean + coefficients[:, :k] @ self.axes[:k])

    def largest(self, x: Tensor, k: int) -> float:
        """Return the same for the k components of each token that are largest in it."""
        coefficients = self._coefficients(x)
        k = min(k, coefficients.shape[1])
        chosen = coefficients.abs().topk(k, dim=1).indices
        kept = torch.zeros_like(coefficients).scatter(1, chosen, coefficients.gather(1, chosen))
        return explained(x, self.mean + kept @ self.axes)

    def _coefficients(self, x: Tensor) -> Tensor:
        return (_wide(x) - self.mean) @ self.axes.T


def components(x: Tensor, count: int, seed: int = 0) -> Components:
    """Return the leading principal components, by subspace iteration.

    Args:
        x: (token, d), other tokens than those that are judged.
        count: how many; fewer are given where x has not as many.
        seed: of where the iteration starts.

    Returns:
        Orthonormal axes, the largest variance first.
    """
    wide = _wide(x)
    mean = wide.mean(0)
    centred = wide - mean
    count = min(count, *centred.shape)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(x.shape[1], count, generator=generator, dtype=torch.float64)
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    _, _, turned = torch.linalg.svd(centred @ basis, full_matrices=False)
    return Components(mean, turned @ basis.T)


def _wide(x: Tensor) -> Tensor:
    """In double precision, on the CPU: not every device has it, and these are few tokens."""
    return x.cpu().double()
