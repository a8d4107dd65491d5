"""Linear probes as data: `logit = w . x + b` per probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.errors import MeasurementError
from pytest_sae.numbers.bootstrap import Floats

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class LinearProbes:
    """Linear probes of one site.

    Args:
        weight: (probe, d) float32.
        bias: (probe,) float32.
    """

    weight: Singles
    bias: Singles

    def logits(self, x: NDArray[np.floating]) -> Floats:
        """(text, d) to (probe, text) float64."""
        wide = self.weight.astype(np.float64) @ x.astype(np.float64).T
        return wide + self.bias.astype(np.float64)[:, None]

    def take(self, probes: Indices | slice) -> LinearProbes:
        """Return some of the probes."""
        return LinearProbes(self.weight[probes], self.bias[probes])

    def split(self, size: int) -> tuple[LinearProbes, ...]:
        """Return consecutive groups of `size` probes, such as one group per resample."""
        starts = range(0, len(self.bias), size)
        return tuple(self.take(slice(start, start + size)) for start in starts)


@dataclass(frozen=True)
class ProbeSets:
    """The probes of one task: they depend on model, site, task and seed, never on a dictionary.

    Args:
        published: one probe per concept or class, fitted by the published recipe.
        fits: the same concepts, converged fits on bootstrap resamples of the training texts.
    """

    published: LinearProbes
    fits: tuple[LinearProbes, ...]

    def to_arrays(self) -> dict[str, Singles]:
        """Return a flat dict of arrays, for a cache."""
        return {
            "published.weight": self.published.weight,
            "published.bias": self.published.bias,
            "fits.weight": np.stack([fit.weight for fit in self.fits]),
            "fits.bias": np.stack([fit.bias for fit in self.fits]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Singles]) -> ProbeSets:
        """Undo `to_arrays`."""
        fits = zip(arrays["fits.weight"], arrays["fits.bias"], strict=True)
        return cls(
            LinearProbes(arrays["published.weight"], arrays["published.bias"]),
            tuple(LinearProbes(weight, bias) for weight, bias in fits),
        )


def with_ones(x: Tensor) -> Tensor:
    """(text, d) to (text, d + 1): the last column carries the bias."""
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def require_finite(x: NDArray[Any]) -> NDArray[Any]:
    """Return x.

    Raises:
        MeasurementError: some activation is NaN or infinite: a probe on it would be one too.
    """
    bad = np.flatnonzero(~np.isfinite(x).all(1))
    if len(bad):
        raise MeasurementError(
            f"the pooled activations of {len(bad)} of {len(x)} texts are not "
            f"finite (first: text {bad[0]}): run the model in a wider dtype"
        )
    return x
