"""How far other texts move a concept metric, against the number of texts in a cell.

    python -m benchmarks.concept_noise --cache DIR [--worlds NAME ...] [--cells N ...] [--seeds N]

For every world and number of texts the package's figures of two trained dictionaries are measured
on texts drawn anew, to train and to test on, and their variation is printed beside the one that
their standard errors say, and beside how many texts there would have to be for 2 %: noise falls
with the root of their number.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.concept_packaged import RunTask, packaged, written
from benchmarks.concept_panels import RECIPES, STEPS, Code, trained
from benchmarks.concept_worlds import DESIGN, HELD_OUT, KindWorld
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes import ProbeRecipe

METRICS = (
    "tpp.rescaled:n=few", "removal", "scr.margin:direction=spurious,n=few",
    "scr.margin:direction=intended,n=few",
)  # fmt: skip
GOAL = 0.02
_RECIPES = (RECIPES[0], RECIPES[7])  # TopK and JumpReLU
_TASKS = 2  # of each kind
_UNUSED = ProbeRecipe(epochs=1)  # no published figure is asked for


def measured(world: KindWorld, codes: Sequence[Code], cell: int, seeds: int) -> Floats:
    """Return (code, seed, metric, value and standard error) with as many texts in a cell."""
    found = np.empty((len(codes), seeds, len(METRICS), 2))
    scales = [written(world, code) for code in codes]
    for seed in range(seeds):
        texts = [make(place, (cell, cell), 100 + seed) for place in range(_TASKS)
                 for make in (world.pair, world.multi)]  # fmt: skip
        tasks = [RunTask(each, seed, recipe=_UNUSED) for each in texts]
        for row, (code, scale) in enumerate(zip(codes, scales, strict=True)):
            figures = packaged(tasks, code, scale)
            found[row, seed] = [(figures[m].value, figures[m].se) for m in METRICS]
    return found


def variation(found: Floats) -> tuple[Floats, Floats]:
    """Return by metric how values vary over seeds, over their mean, and what their errors say."""
    mean = np.abs(found[..., 0].mean((0, 1)))
    spread = np.sqrt(found[..., 0].var(1, ddof=1).mean(0))
    told = np.sqrt(np.square(found[..., 1]).mean((0, 1)))
    return spread / mean, told / mean


def main() -> None:
    """Print a row for every world and number of texts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="directory of what was trained")
    parser.add_argument("--worlds", nargs="+", default=["plain", "correlated gamma"])
    parser.add_argument("--cells", nargs="+", type=int, default=[50, 100, 200, 400, 800])
    parser.add_argument("--seeds", type=int, default=4, help="draws of texts, two at least")
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.cache.mkdir(exist_ok=True, parents=True)
    print(f"| world | texts in a cell | {' | '.join(METRICS)} |\n{'|---' * (len(METRICS) + 2)}|")
    for kind in (each for each in (*DESIGN, *HELD_OUT) if each.name in told.worlds):
        world = KindWorld(kind)
        codes = [each for each in trained(world, told.cache, _RECIPES)
                 if each.name.endswith(f"@{STEPS[-1]}")]  # fmt: skip
        for cell in told.cells:
            seen = zip(*variation(measured(world, codes, cell, told.seeds)), strict=True)
            cells = [f"{100 * v:.1f} % ({100 * e:.1f} %); {cell * (e / GOAL) ** 2:.0f}"
                     for v, e in seen]  # fmt: skip
            print(f"| {kind.name} | {cell} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
