"""The worlds of gate_simulation.py and their dictionaries: good, damaged and worthless ones."""

from __future__ import annotations

import json
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
ELSEWHERE = "site_above"
TOLD = {
    AGAIN: "trained again, another seed",
    EARLY: "10 % of the training",
    HALF: "half of the training",
    ELSEWHERE: "reads the block above its own",
    **{name: f"trained again, seed {number}" for number, name in enumerate(SEEDS, start=1)},
}


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
        trained: directory of what gate_trainings.py made of it, None for nothing.
    """

    name: str
    saes: Path
    model: str | None = None
    data: str | None = None
    trained: Path | None = None

    def variants(self) -> Iterator[Variant]:
        """Give its dictionaries, those first that others are compared with."""
        yield from self._there("good", *GOOD)
        yield from self.again()
        for name in DAMAGES:
            yield Variant(name, "damaged", f"damage={name}:{self.saes / 'topk'}")
        yield self.elsewhere
        yield from self._there("damaged", HALF, EARLY)
        yield from self._there("worthless", *WORTHLESS)

    def again(self) -> Iterator[Variant]:
        """Give other runs of the recipe of `topk`."""
        return self._there("again", AGAIN, *SEEDS)

    @property
    def elsewhere(self) -> Variant:
        """The SAE `topk` where it reads the block above its own."""
        whole = self.saes / "topk"
        site = json.loads((whole / "cfg.json").read_text(encoding="utf-8"))["metadata"]["hook_name"]
        before, block, after = site.split(".", 2)
        above = f"{before}.{int(block) + 1}.{after}"
        return Variant(ELSEWHERE, "damaged", f"site={above}:{whole}")

    def _there(self, kind: Kind, *names: str) -> Iterator[Variant]:
        folders = [self.saes, *([self.trained] if self.trained else [])]
        for name in names:
            for folder in folders:
                if (folder / name).is_dir():
                    yield Variant(name, kind, str(folder / name))


def worlds(foreign: Path | None, trained: Path | None = None) -> Iterator[World]:
    """Give the bundled world, and those that foreign_worlds.py made.

    Args:
        foreign: directory of them, None for none.
        trained: directory of what gate_trainings.py made, None for nothing.
    """

    def own(name: str) -> Path | None:
        return trained / name if trained else None

    yield World(BUNDLED, WORLD / "saes", trained=own(BUNDLED))
    for tasks in sorted(foreign.glob("*/tasks.toml")) if foreign else ():
        folder = tasks.parent
        model, name = str(folder / "model"), folder.name
        yield World(name, folder / "saes", model, str(tasks), own(name))
