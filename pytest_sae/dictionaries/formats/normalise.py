"""Input normalisations that are computed from each token alone, as pure functions.

sae_lens keeps the statistics of the last batch on the module, so that decoding after another
encoding silently uses the wrong ones; here they are computed from x wherever they are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Normalisation(Protocol):
    """x = enter(x) * scale(x) + shift(x), up to the published constants."""

    def enter(self, x: Tensor) -> Tensor:
        """(token, d_in) as the model has it, to what the dictionary was trained on."""

    def scale(self, x: Tensor) -> Tensor:
        """(token, 1): what its output is multiplied by on the way back."""

    def shift(self, x: Tensor) -> Tensor | float:
        """(token, 1): what is added on the way back."""


@dataclass(frozen=True)
class LayerNorm:
    """sae_lens' `layer_norm`: (x - mean) / (std + 1e-5), and std (without the 1e-5) back."""

    def enter(self, x: Tensor) -> Tensor:
        return (x - self.shift(x)) / (self.scale(x) + 1e-5)

    def scale(self, x: Tensor) -> Tensor:
        return x.std(dim=-1, keepdim=True)

    def shift(self, x: Tensor) -> Tensor:
        return x.mean(dim=-1, keepdim=True)


@dataclass(frozen=True)
class ConstantNorm:
    """sae_lens' `constant_norm_rescale`: every token gets the norm sqrt(d_in)."""

    def enter(self, x: Tensor) -> Tensor:
        return x / self.scale(x)

    def scale(self, x: Tensor) -> Tensor:
        norm: Tensor = x.norm(dim=-1, keepdim=True)
        return norm / math.sqrt(x.shape[-1])

    def shift(self, x: Tensor) -> float:
        return 0.0


@dataclass(frozen=True)
class ConstantNorms:
    """`ConstantNorm` of several sites that stand side by side, back at one of them.

    Args:
        sites: how many.
        at: which one is written.
    """

    sites: int
    at: int

    def enter(self, x: Tensor) -> Tensor:
        return ConstantNorm().enter(self._apart(x)).flatten(1)

    def scale(self, x: Tensor) -> Tensor:
        return ConstantNorm().scale(self._apart(x)[:, self.at])

    def shift(self, x: Tensor) -> float:
        return 0.0

    def _apart(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.sites, -1)


PER_TOKEN: dict[str, Normalisation] = {
    "layer_norm": LayerNorm(),
    "constant_norm_rescale": ConstantNorm(),
}
