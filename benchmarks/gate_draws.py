"""What a repetition of gate_simulation.py is made on: drawn units, and one set of all else.

Draws.of(tasks, seed).of_repetition(number) -> Draw
draw.corpus(count)      draw.places(texts)      draw.units(members, *names)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.data.tasks import Tasks
from pytest_sae.measure.scr_and_tpp import class_labels, quadrants
from pytest_sae.numbers.bootstrap import generator

#: Everything that is random in a family is made anew with each: probe fits, masks, edits, orders.
SEEDS = tuple(range(5))

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """One repetition: alike for every dictionary.

    Args:
        seed: of the simulation.
        number: of the repetition, and the seed of its bootstraps.
        made_with: which of `SEEDS`, by index.
        times: how often each labelled test text is drawn.
    """

    seed: int
    number: int
    made_with: int
    times: Mapping[str, int]

    def corpus(self, count: int) -> Indices:
        """Draw as many texts of the corpus as there are, with replacement, (text,)."""
        return self.rng().integers(count, size=count)

    def places(self, texts: Sequence[str]) -> Indices:
        """Return where a task's drawn test texts stand among its test texts, (text,)."""
        return np.repeat(np.arange(len(texts)), [self.times[text] for text in texts])

    def units(self, members: Indices, *names: str) -> Indices:
        """Draw as many units as there are, with replacement, (unit,); names say which units."""
        return self.rng(*names).choice(members, len(members))

    def rng(self, *names: str) -> np.random.Generator:
        """Return the generator of what the names say."""
        return _rng(self.seed, self.number, *names)


@dataclass(frozen=True)
class Draws:
    """Makes the repetitions.

    A text that several tasks share is drawn once for all of them, or what they have in common would
    be lost. It is drawn among the texts that stand in the same cells of the same tasks, so that
    every quadrant and every class keeps its size.

    Args:
        seed: of the simulation.
        groups: texts that are drawn among each other.
    """

    seed: int
    groups: Sequence[Sequence[str]]

    @classmethod
    def of(cls, tasks: Tasks, seed: int) -> Draws:
        """Group the test texts of every [[scr]] and [[tpp]] table."""
        cells = [(f"scr/{each.name}", each.test.texts, quadrants(each.test).cells)
                 for each in tasks.scr]  # fmt: skip
        cells += [(f"tpp/{each.name}", each.test.texts, class_labels(each.test))
                  for each in tasks.tpp]  # fmt: skip
        stands: dict[str, list[tuple[str, int]]] = {}
        for task, texts, places in cells:
            for text, cell in zip(texts, places, strict=True):
                stands.setdefault(text, []).append((task, int(cell)))
        groups: dict[tuple[tuple[str, int], ...], list[str]] = {}
        for text, where in stands.items():
            groups.setdefault(tuple(where), []).append(text)
        return cls(seed, list(groups.values()))

    def of_repetition(self, number: int) -> Draw:
        """Draw the texts and the seed of one repetition."""
        rng = _rng(self.seed, number, "texts")
        times: dict[str, int] = {}
        for group in self.groups:
            drawn = np.bincount(rng.integers(len(group), size=len(group)), minlength=len(group))
            times.update(zip(group, drawn.tolist(), strict=True))
        return Draw(self.seed, number, int(rng.integers(len(SEEDS))), times)


def _rng(seed: int, number: int, *names: str) -> np.random.Generator:
    return generator(seed, "gate simulation", str(number), *names)
