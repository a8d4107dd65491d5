"""The worlds of gate_simulation.py and their dictionaries: good, damaged and worthless ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.foreign_dictionaries import AGAIN, WORTHLESS
from fixtures import WORLD
from pytest_sae.dictionaries.damaged import DAMAGES

Kind = Literal["good", "again", "damaged", "worthless"]
BUNDLED = "bundled"
GOOD = ("topk", "batchtopk")
EARLY = "topk-010"
# What gate_trainings.py makes: half of the training, and the recipe with other seeds.
HALF = "topk-050"
SEEDS = ("topk-seed-1", "topk-seed-2", "topk-seed-3")
TOLD = {AGAIN: "trained again, another seed", EARLY: "10 % of the training"}


@dataclass(frozen=True)
class Variant:
    """A dictionary of the simulation.

    Args:
        name: what its figures are kept under.
        kind: what a gate should say of it: nothing; nothing, also beside `topk`; that it is worse
            than `topk`; that it is worth nothing.
        sae: the value of `--sae`.
    """

    name: str
    kind: Kind
    sae: str

    @property
    def told(self) -> str:
        """What it is, for people."""
        return DAMAGES[self.name].told if self.name in DAMAGES else TOLD.get(self.name, self.name)

    @property
    def of(self) -> str:
        """The dictionary that it is compared with, empty for none."""
        return {"good": self.name, "worthless": ""}.get(self.kind, "topk")


@dataclass(frozen=True)
class World:
    """A model, texts and dictionaries.

    Args:
        name: of it.
        saes: directory of its dictionaries.
        model: directory of its model, None for what they declare.
        data: its task file, None for the bundled one.
    """

    name: str
    saes: Path
    model: str | None = None
    data: str | None = None

    def variants(self) -> Iterator[Variant]:
        """Give its dictionaries, those first that others are compared with."""
        yield from self._there("good", *GOOD)
        yield from self._there("again", AGAIN)
        for name in DAMAGES:
            yield Variant(name, "damaged", f"damage={name}:{self.saes / 'topk'}")
        yield from self._there("damaged", EARLY)
        yield from self._there("worthless", *WORTHLESS)

    def _there(self, kind: Kind, *names: str) -> Iterator[Variant]:
        found = (name for name in names if (self.saes / name).is_dir())
        return (Variant(name, kind, str(self.saes / name)) for name in found)


def worlds(foreign: Path | None) -> Iterator[World]:
    """Give the bundled world, and those that foreign_worlds.py made.

    Args:
        foreign: directory of them, None for none.
    """
    yield World(BUNDLED, WORLD / "saes")
    for tasks in sorted(foreign.glob("*/tasks.toml")) if foreign else ():
        folder = tasks.parent
        yield World(folder.name, folder / "saes", str(folder / "model"), str(tasks))
