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
class Redrawn:
    """Probes of the published recipe, as other training texts and other randomness give them.

    Args:
        probes: one per concept or class, fitted on a bootstrap resample of the training texts.
        counts: (text,) how often each training text was drawn.
    """

    probes: LinearProbes
    counts: Floats


@dataclass(frozen=True)
class ProbeSets:
    """The probes of one task: they depend on model, site, task and seed, never on a dictionary.

    Args:
        published: one probe per concept or class, fitted by the published recipe.
        fits: the same concepts, converged fits on bootstrap resamples of the training texts.
        redrawn: the published recipe on some of these resamples: how far the published probes are
            from those of other training texts.
    """

    published: LinearProbes
    fits: tuple[LinearProbes, ...]
    redrawn: tuple[Redrawn, ...] = ()

    @property
    def every(self) -> tuple[LinearProbes, ...]:
        """All sets: the published one, those on redrawn texts, then each fit."""
        return (self.published, *(each.probes for each in self.redrawn), *self.fits)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return a flat dict of arrays, for a cache."""
        weights, biases = ([getattr(s, name) for s in self.every] for name in ("weight", "bias"))
        return {
            "weight": np.stack(weights),
            "bias": np.stack(biases),
            "counts": np.array([each.counts for each in self.redrawn]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ProbeSets:
        """Undo `to_arrays`."""
        parts = zip(arrays["weight"], arrays["bias"], strict=True)
        published, *others = (LinearProbes(weight, bias) for weight, bias in parts)
        counts = arrays["counts"]
        redrawn = (Redrawn(each, drawn) for each, drawn in zip(others, counts, strict=False))
        return cls(published, tuple(others[len(counts) :]), tuple(redrawn))


def with_ones(x: Tensor) -> Tensor:
    """(text, d) to (text, d + 1): the last column carries the bias."""
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def require_finite(x: NDArray[Any]) -> NDArray[Any]:
    """Return x.

    Raises:
        MeasurementError: some activation is NaN or infinite: a probe on it would be one too.
    """
    _refuse(np.isfinite(x).all(1))
    return x


def require_finite_tensor(x: Tensor) -> Tensor:
    """Return x; only whether each text is finite leaves its device.

    Raises:
        MeasurementError: as `require_finite`.
    """
    _refuse(x.isfinite().all(1).cpu().numpy())
    return x


def _refuse(finite: Bools) -> None:
    bad = np.flatnonzero(~finite)
    if len(bad):
        raise MeasurementError(
            f"the pooled activations of {len(bad)} of {len(finite)} texts are not "
            f"finite (first: text {bad[0]}): run the model in a wider dtype"
        )
