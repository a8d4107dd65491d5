"""What SHIFT gives every dictionary of a panel whose latents are judged by one who knows the truth.

    tasks = [world.pair(place, (150, 100), seed) for place in range(PAIRS)]
    shift(world, code, tasks) -> {"shift.margin:n=20": 0.61, ...}

`judge_curve` asks how judges who err move a few dictionaries; this asks whether SHIFT ranks all of
them by their truth where the judge is not to blame.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.concept_panels import Code
from benchmarks.concept_worlds import KindWorld, Labelled
from benchmarks.judge_errors import opinions
from benchmarks.judge_readings import names_of, picked, read, refit_gain, values
from pytest_sae.metrics.shift import HEADLINE_N

SIZES = (2, 5, 10, HEADLINE_N)
SHOWN = ("shift.margin", "shift.worst_cell.recentred")


def shift(world: KindWorld, code: Code, texts: Sequence[Labelled]) -> dict[str, float]:
    """Return SHIFT's figures by metric and number of candidates.

    Args:
        world: whose features say what latents are about.
        code: the dictionary.
        texts: of tasks with two labels, the world's first ones.
    """
    of = read(world, code, texts)
    said = opinions(of.ratings, names_of(len(of.readings)))
    found: dict[str, float] = {}
    for n in SIZES:
        sets = picked(of.readings, said, n)
        row = values(of.readings, sets)
        found |= {f"{metric}:n={n}": row[metric] for metric in SHOWN}
    return found | {f"shift.worst_cell.refit:n={HEADLINE_N}": refit_gain(of.readings, sets)}
