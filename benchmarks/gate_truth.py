"""Is a concept hurt by what no concept metric sees? Damages on worlds whose features are known.

    python -m benchmarks.gate_truth --cache DIR [--only NAME ...] [--work DIR]

The TopK dictionary of a world of `concept_worlds` (trained into --cache if it is not there) is
damaged as `gate_damages.py` damages SAEs. Beside what concept metrics say stands how much is
recovered of the features that its tasks ask about, by the two truths of docs/audit.md.
`gate_simulation.py` puts the table into docs/gate.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.concept_packaged import RunTask, packaged, written
from benchmarks.concept_panels import RECIPES, STEPS, WRONG_K, Code, recovery, trained
from benchmarks.concept_worlds import DESIGN, Kind, KindWorld
from benchmarks.gate_damage_tables import TRUTH, Change
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.damaged import DAMAGES, damaged
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.threads import threads

WHOLE = f"{RECIPES[0].name}@{STEPS[-1]}"
#: What is trained otherwise, by name of the code.
OTHERWISE = {
    f"{WRONG_K}@{STEPS[-1]}": "trained with three times the k",
    f"{RECIPES[0].name}@{STEPS[-2]}": "a quarter of the training",
}
METRICS = ("removal", "tpp.rescaled:n=few", "scr.margin:direction=spurious,n=few",
    "sparse_probing.gain:k=2")  # fmt: skip
CELL = (100, 80)  # texts to train and to test on, of each cell


@dataclass(frozen=True)
class Judged:
    """A dictionary: what metrics say of it, and how much of the truth it has."""

    figures: Mapping[str, Estimate]
    truth: tuple[float, float]


def codes(world: KindWorld, cache: Path) -> Iterator[tuple[str, Code]]:
    """Give the whole dictionary, then every damaged one, with what it is."""
    found = {each.name: each for each in trained(world, cache, (RECIPES[0], RECIPES[3]))}
    whole = found[WHOLE]
    yield "whole", whole
    for name, damage in DAMAGES.items():
        if not damage.files:
            yield damage.told, _damaged(whole, name)
    for name, told in OTHERWISE.items():
        yield told, found[name]


def _damaged(code: Code, name: str) -> Code:
    info = DictionaryInfo(code.name, "code", None, None, None)
    whole = AffineDictionary(
        code.encode, code.rows, torch.zeros(code.rows.shape[1]), None, info, code.name
    )
    worse = damaged(whole, name)
    rows = worse.decoder_rows
    assert rows is not None
    return Code(name, "attack", worse.encode, rows)


def measure(kind: Kind, cache: Path) -> dict[str, Judged]:
    """Return every dictionary of a world judged, by what it is.

    Args:
        kind: of the world.
        cache: where its dictionaries are kept.
    """
    world = KindWorld(kind)
    tasks = [RunTask(texts, 0) for texts in (world.pair(0, CELL, 0), world.multi(0, CELL, 0))]
    truth = world.sample(6000, 5, "truth")
    families = ("scr", "tpp", "removal", "sparse_probing")
    return {
        told: Judged(
            packaged(tasks, code, written(world, code), families),
            recovery(code, world, truth.x, truth.features),
        )
        for told, code in codes(world, cache)
    }


def table(worlds: Mapping[str, Mapping[str, Judged]]) -> str:
    """Return the section: each damage by the truth and by concept metrics.

    Args:
        worlds: by name, every dictionary by what it is.
    """
    heads = " | ".join(each.partition(":")[0] for each in METRICS)
    lines = [
        "### Beside the truth",
        "",
        "Made by `python -m benchmarks.gate_truth` on generated worlds whose features are known "
        "([audit.md](audit.md)): how much of the features that the tasks ask about is recovered, "
        "as F1 times cosine and as correlation, and the change of what concept metrics say ± its "
        "paired standard error; bold where it is for the worse by more than three of them.",
        "",
        f"| world | dictionary | recovered | {heads} |",
        f"|---|---|---|{'---|' * len(METRICS)}",
    ]
    for name, found in worlds.items():
        lines += [
            f"| {name} | {told} | {_row(found['whole'], each)} |" for told, each in found.items()
        ]
    return "\n".join(lines)


def _row(whole: Judged, judged: Judged) -> str:
    cells = ["{:.3f} / {:.3f}".format(*judged.truth)]
    for key in METRICS:
        change = Change.of(whole.figures[key], judged.figures[key])
        own = judged.figures[key].value
        first = "-" if own is None else f"{own:.3f}"
        cells.append("-" if change is None else first if judged is whole else change.told)
    return " | ".join(cells)


def main() -> None:
    """Judge the damages on the worlds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="of trained dictionaries")
    add("--only", nargs="+", default=[DESIGN[0].name, DESIGN[3].name], help="names of worlds")
    add("--work", type=Path, default=Path("gate-simulation"))
    chosen = parser.parse_args()
    kinds: Sequence[Kind] = [each for each in DESIGN if each.name in chosen.only]
    with threads(1):
        found = {each.name: measure(each, chosen.cache) for each in kinds}
    (chosen.work / TRUTH).write_text(table(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
