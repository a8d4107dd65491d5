"""Texts of a world: bags of a few tokens each, so that pooling over tokens is real.

texts_of(world, count, length, seed, purpose) -> WorldTexts
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.synthetic.worlds import World


@dataclass(frozen=True, eq=False)
class WorldTexts:
    """Texts and what they are made of.

    Args:
        names: (text,) what stands for a text where a text is a string; each once.
        features: (text, token, F) how strongly each true feature fires.
        x: (text, token, d) activations.
    """

    names: tuple[str, ...]
    features: Tensor
    x: Tensor

    @cached_property
    def fires(self) -> NDArray[np.bool_]:
        """(text, token, F): which true features fire."""
        return (self.features > 0).cpu().numpy()

    def only(self, places: NDArray[np.int64]) -> WorldTexts:
        """Return some of the texts, in the order given."""
        names = tuple(self.names[place] for place in places)
        return WorldTexts(names, self.features[places], self.x[places])


def texts_of(world: World, count: int, length: int, seed: int, purpose: str) -> WorldTexts:
    """Draw texts of independent tokens.

    Args:
        world: that they are of.
        count: how many texts.
        length: tokens of a text.
        seed: the run's.
        purpose: what they are for: other purposes get other texts.

    Returns:
        Names, features (text, token, F) and activations (text, token, d).
    """
    sample = world.sample(count * length, seed, purpose)
    names = tuple(f"{world.spec.name} {purpose} {seed} {place}" for place in range(count))
    shape = (count, length, -1)
    return WorldTexts(names, sample.features.reshape(shape), sample.x.reshape(shape))
