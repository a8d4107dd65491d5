"""Dictionaries that gate_damages.py needs and no world has: of other seeds, and of half a training.

    python -m benchmarks.gate_trainings --out DIR [--worlds DIR] [--only NAME ...] [--seeds 3] \\
        [--model DIR --texts FILE.json --labelled DIR]

For the bundled world, and for those in --worlds, the recipe of `topk` is run again: with its own
seed, of which the state after half of the steps is kept, and with others. `stories` needs what
foreign_worlds.py made it of. What is there already is not made again. A world takes some five CPU
minutes.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from sae_lens import SAE
from torch import Tensor

from benchmarks.foreign_dictionaries import SEED
from benchmarks.foreign_models import activations
from benchmarks.foreign_worlds import World, worlds
from benchmarks.gate_worlds import BUNDLED, HALF, SEEDS
from fixtures import WORLD, dictionaries, language_model
from fixtures.dictionaries import Make

log = logging.getLogger("benchmarks.gate_trainings")


def bundled(out: Path, seeds: Sequence[str]) -> None:
    """Run the recipe of the bundled TopK SAE again."""
    x = dictionaries.training_activations(*language_model.load(WORLD / "model"))
    _train(x, out, Make(), dictionaries.STEPS, dictionaries.SEED, seeds)


def foreign(world: World, folder: Path, out: Path, seeds: Sequence[str]) -> None:
    """Run the recipe of the TopK SAE of a foreign world again.

    Args:
        world: how it was made.
        folder: of it.
        out: where its dictionaries go.
        seeds: names of those of other seeds.
    """
    recipes = world.recipes
    texts = tuple(world.material().training)
    x = activations(folder / "model", texts, [recipes.block], recipes.tokens)[recipes.block]
    # Where they belong is said by those that the world has.
    site = SAE.load_from_disk(str(folder / "saes" / "topk")).cfg.metadata
    make = Make(recipes.makes["topk"].d_sae, recipes.makes["topk"].k, metadata=site)
    _train(x, out, make, recipes.steps, SEED, seeds)


def _train(x: Tensor, out: Path, make: Make, steps: int, seed: int, seeds: Sequence[str]) -> None:
    runs: dict[str, tuple[int, Mapping[str, float]]] = {HALF: (seed, {HALF: 0.5})}
    runs |= {name: (seed + number, {}) for number, name in enumerate(seeds, start=1)}
    for name, (own, checkpoints) in runs.items():
        if (out / name).is_dir():
            continue
        scratch = out / "unfinished"
        shutil.rmtree(scratch, ignore_errors=True)
        dictionaries.train("topk", x, scratch, steps, own, checkpoints, make)
        (scratch / (name if checkpoints else "topk")).rename(out / name)
        shutil.rmtree(scratch)
        log.info("%s: made %s", out.name, name)


def main() -> None:
    """Train what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="directory of the dictionaries")
    parser.add_argument("--worlds", type=Path, help="what foreign_worlds.py made")
    parser.add_argument("--only", nargs="+", help="names of worlds")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many other seeds")
    for name in ("model", "texts", "labelled"):
        parser.add_argument(f"--{name}", type=Path, help="of the world `stories`")
    told = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    there = {path.parent.name: path.parent for path in told.worlds.glob("*/tasks.toml")}
    known, seeds = worlds(told.model, told.texts, told.labelled), SEEDS[: told.seeds]
    for name in (BUNDLED, *known):
        out = told.out / name
        if told.only and name not in told.only:
            continue
        out.mkdir(parents=True, exist_ok=True)
        if name == BUNDLED:
            bundled(out, seeds)
        elif name in there:
            foreign(known[name], there[name], out, seeds)


if __name__ == "__main__":
    main()
