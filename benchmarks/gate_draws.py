"""What a repetition of gate_simulation.py is made on: drawn units, and one set of all else.

Draws(seed).of_repetition(number) -> Draw
draw.corpus(count)      draw.units(members, *names)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.numbers.bootstrap import generator

#: Everything that is random in a family is made anew with each: masks, edits.
SEEDS = tuple(range(3))

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """One repetition: alike for every dictionary.

    Args:
        seed: of the simulation.
        number: of the repetition, and the seed of its bootstraps.
    """

    seed: int
    number: int

    @property
    def made_with(self) -> int:
        """Which of `SEEDS`, by index."""
        return int(self.rng("seed").integers(len(SEEDS)))

    def corpus(self, count: int) -> Indices:
        """Draw as many texts of the corpus as there are, with replacement, (text,)."""
        return self.rng().integers(count, size=count)

    def units(self, members: Indices, *names: str) -> Indices:
        """Draw as many units as there are, with replacement, (unit,); names say which units."""
        return self.rng(*names).choice(members, len(members))

    def rng(self, *names: str) -> np.random.Generator:
        """Return the generator of what the names say."""
        return generator(self.seed, "gate simulation", str(self.number), *names)
