"""SHIFT with a judge who errs, on worlds whose truth is known: when is a judge not good enough?

    python -m benchmarks.judge_curve --cache DIR [--worlds NAME ...] [--held-out]

A judge knows what every latent is about, up to a stated share of errors (`judge_errors`). Its
opinions select latents of an oracle, of trained, half trained and worthless dictionaries
(`concept_panels`); what SHIFT makes of that stands beside what the judge would get in the
calibration. Bounds were set on the worlds of `concept_worlds` that are there to design on, and
looked at on those that are held out. Two to three minutes of one core a world, and two more where
the cache does not hold its dictionaries.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks import concept_panels
from benchmarks.concept_panels import STEPS
from benchmarks.concept_table import CELL
from benchmarks.concept_worlds import DESIGN, HELD_OUT, PAIRS, Kind, KindWorld
from benchmarks.judge_errors import AXES, Axis, answered, calibrated, kappa, opinions
from benchmarks.judge_readings import Read, Reading, names_of, picked, read, refit_gain, values
from pytest_sae.gate.bounds import Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.metrics.ablation import Indices
from pytest_sae.metrics.auc import rank_auc
from pytest_sae.metrics.scr import Concept
from pytest_sae.metrics.shift_selection import Opinion
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
JUDGES = 8  # with errors of one kind and share
REFITS = 2  # of them, for which probes are fitted again
CALIBRATED = 200  # judges whose calibration is simulated
BOUNDS = (0.7, 0.8, 0.9)  # of `judge_calibration.rate`

#: What is read, by worth.
MEMBERS = {
    "oracle": ("oracle",),
    "trained": tuple(f"{each}@{STEPS[-1]}" for each in ("topk-1-k1", "batchtopk-1.5-k1",
                                                       "jumprelu-1-p0.06")),
    "half trained": (f"topk-1-k1@{STEPS[2]}", f"topk-1-k1@{STEPS[1]}"),
    "worthless": ("random tied", "random untied", "permuted", "pca+-", "identity+-"),
}  # fmt: skip
WORTH = {name: worth for worth, names in MEMBERS.items() for name in names}
GOOD = (*MEMBERS["oracle"], *MEMBERS["trained"])
SHOWN = ("shift.margin", "shift.worst_cell.recentred", "shift.worst_cell.refit")

YES = "accepts all"  # of the candidates: nobody judges

World = Mapping[str, Any]  # by member


def measured(kind: Kind, cache: Path) -> dict[str, Any]:
    """Return what judges of every kind make of a world's dictionaries, measured once."""
    path = cache / f"judges-{kind.name}.json"
    if not path.is_file():
        world = KindWorld(kind)
        texts = [world.pair(place, CELL, 0) for place in range(PAIRS)]
        panel = {each.name: each for each in concept_panels.panel(world, cache)}
        found = {name: _judged(read(world, panel[name], texts), kind.name) for name in WORTH}
        path.write_text(json.dumps(found), encoding="utf-8")
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


def _judged(of: Read, world: str) -> dict[str, Any]:
    names = names_of(len(of.readings))
    everything = [each.candidates.orders["spurious"] for each in of.readings]
    found: dict[str, Any] = {
        "effect": _values(of.readings, everything),
        "truth": _values(of.readings, picked(of.readings, opinions(of.ratings, names))),
        "refit": _values(of.by_refit, picked(of.by_refit, opinions(of.ratings, names))),
        "right": {"kappa": 1.0, "agreement": _agreement(of, opinions(of.ratings, names))},
        "judges": {},
    }
    for axis, share in product(AXES, SHARES[1:]):
        rngs = [generator(judge, world, axis, str(share)) for judge in range(JUDGES)]
        told = [opinions(answered(of.ratings, axis, share, rng), names) for rng in rngs]
        found["judges"][f"{axis} {share}"] = _group(of, told)
    return found


def _values(readings: Sequence[Reading], sets: Sequence[Indices]) -> dict[str, float]:
    return values(readings, sets) | {"shift.worst_cell.refit": refit_gain(readings, sets)}


def _group(of: Read, told: Sequence[Mapping[int, Opinion]]) -> dict[str, Any]:
    rows = [values(of.readings, picked(of.readings, each)) for each in told]
    few = told[:REFITS]
    return {
        **{name: [row[name] for row in rows] for name in rows[0]},
        "shift.worst_cell.refit": [refit_gain(of.readings, picked(of.readings, e)) for e in few],
        "refit": [values(of.by_refit, picked(of.by_refit, each))["shift.margin"] for each in told],
        "kappa": kappa(_verdicts(of, told[0]), _verdicts(of, told[1])),
        "agreement": [_agreement(of, each) for each in told],
    }


def _verdicts(of: Read, said: Mapping[int, Opinion]) -> list[Concept | None]:
    return [
        said[int(latent)].accepted(each.about)
        for each in of.readings
        for latent in each.candidates.latents
    ]


def _agreement(of: Read, said: Mapping[int, Opinion]) -> float:
    """`shift.agreement`: of the difference of the ratings and that of the logarithms of effects."""
    pairs = []
    for each in of.readings:
        effects = each.candidates.effects
        for latent in map(int, each.candidates.latents):
            ratings = said[latent].ratings
            if ratings is not None and min(effects[c][latent] for c in effects) > 0:
                log = np.log(effects["spurious"][latent] / effects["intended"][latent])
                rated = ratings[each.about["spurious"]] - ratings[each.about["intended"]]
                pairs.append((rated, log))
    return float(spearmanr(*zip(*pairs, strict=True))[0])


# Tables -------------------------------------------------------------------------------------------


def by_member(worlds: Mapping[str, World]) -> str:
    """Return what a judge without errors makes of every member, beside all of the top n."""
    lines = [f"| dictionary | {' | '.join(worlds)} |", "|---" * (len(worlds) + 1) + "|"]
    for name in WORTH:
        cells = [_member(world[name]) for world in worlds.values()]
        lines.append(f"| {name} ({WORTH[name]}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _member(row: Mapping[str, Any]) -> str:
    margins = "/".join(f"{row[each]['shift.margin']:.2f}" for each in ("effect", "truth", "refit"))
    return f"{margins} {row['truth'][SHOWN[1]]:.2f} {row['truth'][SHOWN[2]]:.2f}"


def by_error(worlds: Mapping[str, World]) -> str:
    """Return a row per kind and share of errors."""
    heading = [
        "error", "share", *(f"kept: {each}" for each in SHOWN), "spread", "kept, by refit",
        "told apart: mean, least", "agreement", "kappa", "calibration",
        *(f"passes {least}" for least in BOUNDS),
    ]  # fmt: skip
    lines = [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
    everything = [f"{kept_of(worlds, metric, YES, 1.0):.2f}" for metric in SHOWN]
    apart = [told_apart(world, YES, 1.0) for world in worlds.values()]
    lines.append(f"| {YES} | - | {' | '.join(everything)} | - | - | {_least(apart)} {'| - ' * 6}|")
    for axis, share in product(AXES, SHARES):
        if share or axis == AXES[0]:
            lines.append(
                f"| {axis if share else 'none'} | {share:g} | {_row(worlds, axis, share)} |"
            )
    return "\n".join(lines)


def _row(worlds: Mapping[str, World], axis: Axis, share: float) -> str:
    kept = [f"{kept_of(worlds, metric, axis, share):.2f}" for metric in SHOWN]
    apart = [told_apart(world, axis, share) for world in worlds.values()]
    asked = [calibrated(axis, share, generator(j, "curve", axis)) for j in range(CALIBRATED)]
    cells = [*kept, f"{_spread(worlds, axis, share):.2f}",
             f"{kept_of(worlds, 'refit', axis, share):.2f}",
             _least(apart),
             *(f"{_mean(worlds, what, axis, share):.2f}" for what in ("agreement", "kappa")),
             f"{np.mean([each.value for each in asked]):.2f}",
             *(f"{100 * _passed(asked, least):.0f} %" for least in BOUNDS)]  # fmt: skip
    return " | ".join(cells)


def _least(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}, {min(values):.2f}"


def _passed(asked: Sequence[Estimate], least: float) -> float:
    """Share of calibrations that a lower bound of `judge_calibration.rate` lets pass."""
    rule = Rule("judge_calibration.rate", min=least)
    return float(np.mean([not judge(each, rule).red for each in asked]))


def judged(row: Mapping[str, Any], metric: str, axis: str, share: float) -> list[float]:
    """Return a figure under every judge; `refit`: `shift.margin` with candidates by refit."""
    if axis == YES:
        return [row["effect"][metric]]
    if share:
        found: list[float] = row["judges"][f"{axis} {share}"][metric]
        return found
    return [row["refit"]["shift.margin"] if metric == "refit" else row["truth"][metric]]


def kept_of(worlds: Mapping[str, World], metric: str, axis: str, share: float) -> float:
    """Return the share of a figure that is left, over good dictionaries of all worlds together."""
    rows = [world[name] for world in worlds.values() for name in GOOD]
    left = sum(float(np.mean(judged(row, metric, axis, share))) for row in rows)
    whole = "shift.margin" if metric == "refit" else metric
    return left / sum(float(row["truth"][whole]) for row in rows)


def _spread(worlds: Mapping[str, World], axis: Axis, share: float) -> float:
    """How judges alike differ in `shift.margin`, over what it is without errors."""
    rows = [world[name] for world in worlds.values() for name in GOOD]
    variances = [np.var(judged(row, "shift.margin", axis, share)) for row in rows]
    whole = float(np.mean([row["truth"]["shift.margin"] for row in rows]))
    return float(np.sqrt(np.mean(variances))) / whole


def told_apart(world: World, axis: str, share: float, metric: str = "shift.margin") -> float:
    """Return how often a good dictionary is above a worthless one, each with a judge of its own."""
    good, bad = (
        [value for name in names for value in judged(world[name], metric, axis, share)]
        for names in (GOOD, MEMBERS["worthless"])
    )
    return rank_auc(np.array(good + bad), np.arange(len(good) + len(bad)) < len(good))


def _mean(worlds: Mapping[str, World], what: str, axis: Axis, share: float) -> float:
    """Mean over good dictionaries of what judges agree in."""
    rows = [world[name] for world in worlds.values() for name in GOOD]
    key = f"{axis} {share}"
    return float(np.mean([
        np.nanmean(row["judges"][key][what] if share else row["right"][what]) for row in rows
    ]))  # fmt: skip


def main() -> None:
    """Measure what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="directory of what was measured")
    parser.add_argument("--worlds", nargs="+", help="names of worlds")
    parser.add_argument("--held-out", action="store_true", help="those kept for the end")
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.cache.mkdir(exist_ok=True, parents=True)
    kinds = [
        kind
        for kind in (HELD_OUT if told.held_out else DESIGN)
        if not told.worlds or kind.name in told.worlds
    ]
    worlds = {kind.name: measured(kind, told.cache) for kind in kinds}
    print(by_error(worlds), by_member(worlds), sep="\n\n")


if __name__ == "__main__":
    main()
