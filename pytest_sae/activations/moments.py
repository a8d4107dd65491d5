"""Mean and covariance of the activations at a site, which no dictionary changes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pytest_sae.activations.store import Tensors
from pytest_sae.activations.stream import TokenActivations

VERSION = "1"  # part of the cache key: raise it when they are computed otherwise


class Moments:
    """Sums of vectors and of their products, in float64 about a reference.

    Args:
        reference: (d,) a rough mean, so that squares do not cancel far from the origin.
    """

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference.double()
        self.tokens = 0
        self._sum = torch.zeros_like(self.reference)
        self._products = torch.zeros(
            len(reference), len(reference), dtype=torch.float64, device=reference.device
        )

    def add(self, x: Tensor) -> None:
        """Add vectors, (token, d)."""
        about = x.double() - self.reference
        self.tokens += len(x)
        self._sum += about.sum(0)
        self._products += about.T @ about

    @property
    def mean(self) -> Tensor:
        """(d,) float64."""
        return self.reference + self._sum / self.tokens

    @property
    def covariance(self) -> Tensor:
        """(d, d) float64, divided by the number of tokens."""
        off = self._sum / self.tokens
        return self._products / self.tokens - torch.outer(off, off)


def moments(activations: TokenActivations) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and covariance (d, d) over all valid tokens, float64, cached."""

    def make() -> Tensors:
        found = _moments(part.x_valid.to(device) for part in activations)
        return {"mean": found.mean, "covariance": found.covariance}

    device = activations.model.device
    key = {"step": "moments", "code": VERSION, "activations": activations.key}
    kept = activations.store.get(key, make)
    return kept["mean"], kept["covariance"]


def _moments(parts: Iterable[Tensor]) -> Moments:
    found: Moments | None = None
    for x in parts:
        found = found or Moments(x.double().mean(0))
        found.add(x)
    assert found is not None
    return found
