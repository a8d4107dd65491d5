"""Every family of a run where the truth is known: on worlds of activations and on a model.

    python -m benchmarks.family_table --cache DIR [--held-out] [--model] [--absorption]
                                      [--worlds NAME ...]

Measures what is not in the cache yet, through the package's own code, and prints a table: the six
worlds to design on, or those that were held out; the model whose residual stream has planted
features (`--model`); absorption where children fire only with their parents (`--absorption`). A
world takes some four minutes of one core, the model fifteen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks import family_absorption, family_models, family_worlds
from benchmarks.concept_table import ATTACKS, CONTROLS, LAST, Row, World
from benchmarks.concept_worlds import DESIGN, HELD_OUT
from pytest_sae.numbers.bootstrap import Floats

SUPERVISED = ("dual basis", "class means")
BROKEN = ("truth rotated in pairs", "truth split", "letters of 67% of the words absorbed")
#: What reads latents alone: to it a permuted decoder is the dictionary that it was made of.
OF_CODES = ("sparse_probing", "principled.f1", "principled.occlusion", "principled.splitting",
            "autointerp.detection", "autointerp.fuzzing", "live_share", "coactivation")  # fmt: skip
_OF_WORLDS = (
    "explained_variance", "erasure", "sparse_probing:k=1", "sparse_probing:k=16",
    "sparse_probing.auc:k=1", "sparse_probing.auc:k=16", "sparse_probing.gain:k=1",
    "sparse_probing.gain:k=16", "sparse_probing.all_latents", "sparse_probing.retention",
    "sparse_probing.canonical:k=1", "sparse_probing.canonical:k=5", "mdl:error=0.2",
    "mdl:error=0.1", "mdl:error=0.05", "coherence", "duplicate_share", "coactivation",
    "meta_structure", "live_share", "concept_deletion", "concept_insertion",
)  # fmt: skip
_OF_MODEL = (
    "explained_variance", "ce_recovered", "kl", "ravel", "ravel.disentangle", "ravel.cause",
    "ravel.isolation", "principled.sufficiency", "principled.necessity", "principled.control:k=2",
    "principled.removed:k=2", "principled.f1", "principled.occlusion", "principled.splitting",
    "absorption", "absorption.full", "absorption.canonical", "autointerp.detection",
    "autointerp.fuzzing", "autointerp.intervention",
)  # fmt: skip
_FOUND = 0.15  # of F1 times cosine, above which a dictionary has found something


@dataclass(frozen=True)
class Judged:
    """What a metric does on one world.

    Args:
        ranks: correlation with both truths, over the trained dictionaries at all steps.
        found: the same over those that found something.
        oracle: whether nothing trained is above the oracle.
        best: the best control that no label was needed for, in units of the median of those that
            were trained to the end; of a metric whose better values are lower, the other way round.
        above: controls that are not below that median.
        attacks: by name, what each wins over what it was made of, in the same units.
        cv: variation over other texts, of some that were trained to the end.
    """

    ranks: tuple[float, float]
    found: tuple[float, float]
    oracle: bool
    best: float
    above: tuple[str, ...]
    attacks: Mapping[str, float]
    cv: float

    @classmethod
    def of(cls, world: World, name: str) -> Judged:
        """Judge a metric on a world."""
        first = world["0"]

        def value(member: str, seed: str = "0") -> float:
            read = world[seed][member]["values"].get(name)
            return float("nan") if read is None else float(read)

        trained = [m for m, row in first.items() if row["kind"] == "trained"]
        ended = [m for m in trained if m.endswith(LAST)]
        median = float(np.nanmedian([value(m) for m in ended]))
        controls = {m: value(m) for m in controls_of(first, name)}
        known = {m: v for m, v in controls.items() if np.isfinite(v) and m not in SUPERVISED}
        again = np.array([[value(m, seed) for seed in world] for m in world["1"]])
        truths = {m: _truth(first[m], name) for m in trained}
        found = {m: each for m, each in truths.items() if each[0] >= _FOUND}
        return cls(
            _ranks(truths, value),
            _ranks(found, value),
            value("oracle") >= np.nanmax([value(m) for m in trained]) - 1e-9,
            _share(max(known.values(), default=float("nan")), median),
            tuple(m for m, v in controls.items() if v >= median),
            {m: _share(value(m) - value(ended[0]), abs(median)) for m in ATTACKS if m in first},
            _share(float(np.sqrt(np.nanmean(np.nanvar(again, 1, ddof=1)))), abs(np.nanmean(again))),
        )

    @property
    def wins(self) -> float:
        """The most that an attack wins."""
        return float(np.nanmax(list(self.attacks.values())))


def controls_of(first: Mapping[str, Row], name: str) -> list[str]:
    """Return the controls of a world that count for a metric."""
    there = [m for m in CONTROLS if m in first]
    return [m for m in there if not (m == "permuted" and name.startswith(OF_CODES))]


def _share(value: float, median: float) -> float:
    """In units of the median; where better is lower (both negative), how much of it is needed."""
    if median == 0:
        return float("nan")
    return median / value if value < 0 and median < 0 else value / median


def _truth(row: Row, name: str) -> tuple[float, float]:
    """Recovery of the features that a metric's tasks are about."""
    found: tuple[float, float] = row.get("of family", {}).get(_family(name), row["truth"])
    return found


def _family(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def _ranks(
    truths: Mapping[str, tuple[float, float]], value: Callable[[str], float]
) -> tuple[float, float]:
    own = np.array([value(m) for m in truths])
    kept = np.isfinite(own)
    if kept.sum() < 4 or np.ptp(own[kept]) == 0:
        return float("nan"), float("nan")
    known = np.array(list(truths.values()))[kept]
    one, two = (float(spearmanr(own[kept], known[:, t])[0]) for t in (0, 1))
    return one, two


def table(worlds: Mapping[str, World], names: Sequence[str]) -> str:
    """Return one row per metric over some worlds, as Markdown."""
    lines = [
        "| metric | rank with truth: mean, least | among those that found something | oracle first "
        "| best control | controls not below the median | an attack wins | noise (CV) |",
        "|---" * 8 + "|",
    ]
    for name in names:
        each = [Judged.of(world, name) for world in worlds.values()]
        ranks, found = (np.array([getattr(j, what) for j in each]) for what in ("ranks", "found"))
        above: dict[str, int] = {}
        for judged in each:
            for control in judged.above:
                above[control] = above.get(control, 0) + 1
        told = ", ".join(f"{m} {n}" for m, n in sorted(above.items(), key=lambda e: -e[1]))
        best, wins = (" ".join(f"{v:.2f}" for v in what)
                      for what in ([j.best for j in each], [j.wins for j in each]))  # fmt: skip
        lines.append(
            f"| `{name}` | {_mean_least(ranks)} | {_mean_least(found)} | "
            f"{sum(j.oracle for j in each)} of {len(each)} | {best} | {told or 'none'} | "
            f"{wins} | {100 * float(np.mean([j.cv for j in each])):.1f} % |"
        )
    return "\n".join(lines)


def _mean_least(ranks: Floats) -> str:
    if np.isnan(ranks).all():
        return "-"
    return f"{np.nanmean(ranks):.2f}, {np.nanmin(ranks):.2f}"


def of_truth(world: World, names: Sequence[str]) -> str:
    """Return what each metric makes of the truth, of what is made of it, and of others."""
    first = world["0"]
    ended = [m for m, row in first.items() if row["kind"] == "trained" and m.endswith(LAST)]
    shown = ["oracle", *BROKEN, *(m for m in CONTROLS if m in first)]
    lines = [
        f"| metric | {' | '.join(shown)} | trained: median, best |",
        "|---" * (len(shown) + 2) + "|",
    ]
    for name in names:
        cells = [first[m]["values"].get(name) for m in shown]
        last = [v for m in ended if (v := first[m]["values"].get(name)) is not None]
        told = " | ".join("-" if v is None else f"{v:.2f}" for v in cells)
        lines.append(f"| `{name}` | {told} | {np.median(last):.2f}, {max(last):.2f} |")
    return "\n".join(lines)


def of_absorption(found: Mapping[str, Mapping[str, Row]]) -> str:
    """Return absorption beside what is true of it."""
    lines = ["| world | dictionary | lost in truth | absorption | full |", "|---" * 5 + "|"]
    for world, members in found.items():
        for name, row in members.items():
            if row["kind"] != "trained" or name.endswith(LAST):
                cells = " | ".join(f"{row[k]:.2f}" for k in ("true", "absorption", "full"))
                lines.append(f"| {world} | {name} | {cells} |")
        trained = [r for r in members.values() if r["kind"] == "trained"]
        for what in ("absorption", "full"):
            rank = spearmanr([r[what] for r in trained], [r["true"] for r in trained])[0]
            lines.append(
                f"| {world} | rank of {what} with what is lost, trained | {rank:.2f} | | |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="directory of what was measured")
    parser.add_argument("--worlds", nargs="+", help="names of worlds")
    parser.add_argument("--held-out", action="store_true", help="those kept for the end")
    parser.add_argument("--model", action="store_true", help="the model with planted features")
    parser.add_argument("--absorption", action="store_true", help="children and their parents")
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.cache.mkdir(exist_ok=True, parents=True)
    kinds = [k for k in (HELD_OUT if told.held_out else DESIGN)
             if not told.worlds or k.name in told.worlds]  # fmt: skip
    if told.absorption:
        kinds = [k for k in (*DESIGN, *HELD_OUT) if k.parents]
        print(of_absorption({k.name: family_absorption.measured(k, told.cache) for k in kinds}))
    elif told.model:
        world = family_models.measured(told.cache)
        print(table({"planted": world}, _OF_MODEL), of_truth(world, _OF_MODEL), sep="\n\n")
    else:
        print(table({k.name: family_worlds.measured(k, told.cache) for k in kinds}, _OF_WORLDS))


if __name__ == "__main__":
    main()
