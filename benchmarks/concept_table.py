"""Definitions of concept metrics on worlds of many kinds: who ranks dictionaries by their truth?

    python -m benchmarks.concept_table --cache DIR [--worlds NAME ...] [--held-out]
        [--erasure | --packaged | --shift]

Measures the panel of every world once (what is there already is not measured again) and prints one
row per definition: rank correlation with the truth, whether the oracle is first, what the best of
the controls gets and what the attacks win, and the variation over other texts; then the mean rank
over the worlds with an interval over trainings. A world takes some two minutes of one core. The
held-out worlds are for definitions that have been chosen. With `--packaged` it reads what users
get, by the package's own code; by how much other texts move that is what `concept_noise` says. With
`--shift` it reads SHIFT's figures under a judge who knows what every latent is about.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks import concept_definitions, concept_packaged, concept_panels, concept_shift
from benchmarks.concept_definitions import Task
from benchmarks.concept_panels import STEPS
from benchmarks.concept_worlds import DESIGN, HELD_OUT, MULTIS, PAIRS, Kind, KindWorld, Labelled
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.synthetic.worlds import Sample

CELL = (150, 100)  # texts of a cell of a pair, to train and to test on
RESEEDS = 2
DRAWS = 4000  # of trainings, for an interval
LAST = f"@{STEPS[-1]}"
#: Recipes whose first steps, as good as untrained, are in the panel too.
_FROM_THE_START = ("topk-1-k1", "relu-1-p0.05")
CONTROLS = (
    "identity+-", "pca+-", "pca topk", "random tied", "random untied", "permuted",
    f"topk-1-k1@{STEPS[0]}", "dual basis", "class means",
)  # fmt: skip
ATTACKS = ("other roles halved", "asked doubled", "fifth dropped", "pairs rotated")

#: Recovery under which a dictionary has found next to nothing: untrained rows have 0.05 to 0.1.
FOUND = 0.15
#: Held together: the smaller one, each over the median of those that were trained to the end.
TOGETHER = (
    ("tpp.capped small", "explained variance"),
    ("tpp.rescaled:n=few", "explained_variance"),
    ("removal", "explained_variance"),
    ("removal", "tpp.rescaled:n=few"),
    ("shift.margin:n=20", "explained_variance"),
)

Row = Mapping[str, Any]
World = Mapping[str, Mapping[str, Row]]  # by seed, by member
_Measure = Callable[[KindWorld, Sequence[concept_panels.Code], int], dict[str, Row]]


def packaged(kind: Kind, cache: Path) -> World:
    """Return what the package measures of every member, at seed 0."""
    path = cache / f"{kind.name} packaged.json"
    if not path.is_file():
        world = KindWorld(kind)
        codes = [each for each in concept_panels.panel(world, cache) if in_panel(each.name)]
        tasks = [concept_packaged.RunTask(texts, 0) for texts in _texts(world, 0)]
        truth = world.sample(12_000, 5, "truth")
        found = {}
        for code in codes:
            scale = concept_packaged.written(world, code)
            read = concept_packaged.packaged(tasks, code, scale).items()
            values = {key: each.value for key, each in read if each.value is not None}
            values["explained_variance"] = _written(code, truth)[1]
            found[code.name] = _row(world, code, truth, values)
        path.write_text(json.dumps({"0": found}), encoding="utf-8")
    read_back: World = json.loads(path.read_text(encoding="utf-8"))
    return read_back


def measured(kind: Kind, cache: Path, erasure: bool) -> World:
    """Return every definition's value of every member, at seed 0 and, for a few, at others."""
    return _reseeded(kind, cache, "", partial(_measure, erasure=erasure))


def shifted(kind: Kind, cache: Path) -> World:
    """Return SHIFT's figures under a judge who is right, as `measured` does."""
    return _reseeded(kind, cache, " shift", _shift)


def _reseeded(kind: Kind, cache: Path, what: str, measure: _Measure) -> World:
    path = cache / f"{kind.name}{what}.json"
    if not path.is_file():
        world = KindWorld(kind)
        codes = [each for each in concept_panels.panel(world, cache) if in_panel(each.name)]
        few = [each for each in codes if each.name == "oracle" or each.name.endswith(LAST)]
        found = {"0": measure(world, codes, 0)}
        for seed in range(1, RESEEDS + 1):
            found[str(seed)] = measure(world, few, seed)
        path.write_text(json.dumps(found), encoding="utf-8")
    read: World = json.loads(path.read_text(encoding="utf-8"))
    return read


def with_pairs(world: World) -> World:
    """Add what two definitions say together, where a world has both."""
    return {seed: _paired(rows) for seed, rows in world.items()}


def _paired(rows: Mapping[str, Row]) -> Mapping[str, Row]:
    ended = [m for m, row in rows.items() if row["kind"] == "trained" and m.endswith(LAST)]
    added: dict[str, dict[str, float]] = {member: {} for member in rows}
    for pair in TOGETHER:
        if not all(name in row["values"] for name in pair for row in rows.values()):
            continue
        medians = [np.median([rows[m]["values"][name] for m in ended]) for name in pair]
        for member, row in rows.items():
            parts = [row["values"][n] / at for n, at in zip(pair, medians, strict=True)]
            added[member][f"smaller of {' and '.join(pair)}"] = float(min(parts))
    return {m: {**row, "values": {**row["values"], **added[m]}} for m, row in rows.items()}


def in_panel(name: str) -> bool:
    """Whether a code is in the panel of a table: of most trainings the first steps are not."""
    recipe, _, step = name.partition("@")
    return step not in map(str, STEPS[:2]) or recipe in _FROM_THE_START


def _texts(world: KindWorld, seed: int) -> list[Labelled]:
    smaller = (CELL[0] * 4 // 5, CELL[1] * 4 // 5)
    texts = [world.pair(place, CELL, seed) for place in range(PAIRS)]
    return texts + [world.multi(place, smaller, seed) for place in range(MULTIS)]


def _measure(
    world: KindWorld, codes: Sequence[concept_panels.Code], seed: int, erasure: bool
) -> dict[str, Row]:
    texts = _texts(world, seed)
    tasks = [_task(each) for each in texts]
    truth = world.sample(12_000, 5, "truth")
    found: dict[str, Row] = {}
    for code in codes:
        factor, explained = _written(code, truth)
        pooled = {each.name: code.pooled(each) for each in texts}
        halves = {each.name: (pooled[each.name][: each.train], pooled[each.name][each.train :])
                  for each in texts}  # fmt: skip
        read = concept_definitions.Code(halves, code.rows.double().numpy(), factor)
        values = concept_definitions.definitions(tasks, read, erasure)
        values["explained variance"] = explained
        found[code.name] = _row(world, code, truth, values)
    return found


def _shift(world: KindWorld, codes: Sequence[concept_panels.Code], seed: int) -> dict[str, Row]:
    texts = [world.pair(place, CELL, seed) for place in range(PAIRS)]
    truth = world.sample(12_000, 5, "truth")
    found: dict[str, Row] = {}
    for code in codes:
        values = concept_shift.shift(world, code, texts)
        values["explained_variance"] = _written(code, truth)[1]
        found[code.name] = _row(world, code, truth, values)
    return found


def _row(
    world: KindWorld, code: concept_panels.Code, truth: Sample, values: Mapping[str, float]
) -> Row:
    """What is kept of a member: its values, beside how much of the truth it recovers."""
    recovered = concept_panels.recovery(code, world, truth.x, truth.features)
    return {"kind": code.kind, "values": values, "truth": recovered}


def _task(texts: Labelled) -> Task:
    x, train = texts.tokens.mean(1).double().numpy(), texts.train
    labels = texts.labels
    return Task(texts.name, x[:train], x[train:], labels[..., :train], labels[..., train:])


def _written(code: concept_panels.Code, truth: Sample) -> tuple[float, float]:
    """Least squares of the activations on what is written, and the variance that explains."""
    with torch.no_grad():
        written = (truth.features if code.name == "oracle" else code.encode(truth.x)) @ code.rows
    x, written = truth.x - truth.x.mean(0), written - written.mean(0)
    square = float((written**2).sum())
    explained = 1 - float(((x - written) ** 2).sum() / (x**2).sum())
    return (float((x * written).sum()) / square if square > 0 else 0.0), explained


@dataclass(frozen=True)
class Judged:
    """What a definition does on one world.

    Args:
        ranks: correlation with both truths, over trained dictionaries at all steps.
        found: the same of those that have found something.
        oracle: whether nothing trained is above the oracle.
        control: the best control, over the median of those that were trained to the end.
        attacks: by name, what each wins over what it was made of, over that median.
        cv: variation over other texts, of those that were trained to the end; None if not known.
    """

    ranks: tuple[float, float]
    found: tuple[float, float]
    oracle: bool
    control: float
    attacks: Mapping[str, float]
    cv: float | None

    @classmethod
    def of(cls, world: World, name: str) -> Judged:
        """Judge a definition on a world."""
        first = world["0"]

        def value(member: str, seed: str = "0") -> float:
            return float(world[seed][member]["values"].get(name, np.nan))

        trained = [m for m, row in first.items() if row["kind"] == "trained"]
        values = [value(m) for m in trained]
        some = [m for m in trained if first[m]["truth"][0] >= FOUND]

        def ranks(members: Sequence[str]) -> tuple[float, float]:
            said = [value(m) for m in members]
            one, two = (
                float(spearmanr(said, [first[m]["truth"][t] for m in members])[0]) for t in (0, 1)
            )
            return one, two

        ended = [m for m in trained if m.endswith(LAST)]
        median = float(np.median([value(m) for m in ended]))
        again = np.array([[value(m, seed) for seed in world] for m in world.get("1", ())])
        return cls(
            ranks(trained),
            ranks(some),
            value("oracle") >= max(values),
            max(value(m) for m in CONTROLS) / median,
            {m: (value(m) - value(ended[0])) / median for m in ATTACKS},
            float(np.sqrt(again.var(1, ddof=1).mean()) / abs(again.mean())) if len(again) else None,
        )


def interval(worlds: Sequence[World], name: str, draws: int = DRAWS) -> Floats:
    """Return 95 % intervals of a definition's rank with truth, mean over the worlds.

    Checkpoints of one training are no independent evidence: whole trainings are resampled, in each
    world by itself, each with all of its steps.

    Args:
        worlds: with the same definition measured.
        name: of the definition.
        draws: samples of trainings.

    Returns:
        (truth, 2) lower and upper ends.
    """
    rng = np.random.default_rng(0)
    ranks = np.mean([resampled_ranks(world, name, draws, rng) for world in worlds], axis=0)
    ends: Floats = np.nanpercentile(ranks, (2.5, 97.5), axis=1).T
    return ends


def resampled_ranks(world: World, name: str, draws: int, rng: np.random.Generator) -> Floats:
    """Return (truth, draw) rank correlations, each over trainings drawn with replacement."""
    rows = {m: row for m, row in world["0"].items() if row["kind"] == "trained"}
    trainings = [m.partition("@")[0] for m in rows]
    recipes, place = np.unique(trainings, return_inverse=True)
    counts = rng.multinomial(len(recipes), np.full(len(recipes), 1 / len(recipes)), draws)
    weights = counts[:, place].astype(float)
    said = _ranks(np.array([row["values"].get(name, np.nan) for row in rows.values()]), weights)
    truths = np.array([row["truth"] for row in rows.values()]).T
    return np.stack([_correlation(said, _ranks(truth, weights), weights) for truth in truths])


def _ranks(values: Floats, weights: Floats) -> Floats:
    """(draw, member) ranks where members stand as often as weights say; ties share theirs."""
    below = (values[:, None] > values) + 0.5 * (values[:, None] == values)
    ranks: Floats = weights @ below.T
    return np.where(np.isnan(values), np.nan, ranks)


def _correlation(a: Floats, b: Floats, weights: Floats) -> Floats:
    one, two = (each - np.average(each, 1, weights)[:, None] for each in (a, b))
    spread = np.sqrt((weights * one**2).sum(1) * (weights * two**2).sum(1))
    found: Floats = (weights * one * two).sum(1) / spread
    return found


def table(worlds: Mapping[str, World]) -> str:
    """Return one row per definition, with a cell per world, as Markdown."""
    worlds = {name: with_pairs(world) for name, world in worlds.items()}
    names = next(iter(worlds.values()))["0"]["oracle"]["values"]
    lines = [
        "Rank with truth (F1 x cosine / correlation), in brackets of those that found something; "
        "o: the oracle is first; the best control, and the most that an attack wins, over the "
        "median trained to the end; CV over texts. Intervals (95 %) over trainings.",
        "",
        f"| definition | {' | '.join(worlds)} | mean rank |",
        "|---" * (len(worlds) + 2) + "|",
    ]
    for name in names:
        judged = [Judged.of(world, name) for world in worlds.values()]
        ends = interval(list(worlds.values()), name)
        means = np.mean([each.ranks for each in judged], axis=0)
        told = (f"{m:.2f} ({a:.2f} to {b:.2f})" for m, (a, b) in zip(means, ends, strict=True))
        cells = [*map(_cell, judged), " / ".join(told)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(judged: Judged) -> str:
    first, second, some, others = (*judged.ranks, *judged.found)
    oracle = "o" if judged.oracle else "-"
    won = max(judged.attacks.values())
    noise = "-" if judged.cv is None else f"{100 * judged.cv:.0f} %"
    ranks = f"{first:.2f} / {second:.2f} ({some:.2f} / {others:.2f})"
    return f"{ranks} {oracle} {judged.control:.2f} {won:+.2f} {noise}"


def main() -> None:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="directory of what was measured")
    parser.add_argument("--worlds", nargs="+", help="names of worlds")
    parser.add_argument("--held-out", action="store_true", help="those kept for the end")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--erasure", action="store_true", help="measure `erasure` too: it is slow")
    how.add_argument("--packaged", action="store_true", help="what the package measures")
    how.add_argument("--shift", action="store_true", help="SHIFT under a judge who is right")
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.cache.mkdir(exist_ok=True, parents=True)
    chosen: Callable[[Kind], bool] = lambda kind: not told.worlds or kind.name in told.worlds  # noqa: E731
    kinds = [kind for kind in (HELD_OUT if told.held_out else DESIGN) if chosen(kind)]
    print(table({kind.name: _read(kind, told) for kind in kinds}))


def _read(kind: Kind, told: argparse.Namespace) -> World:
    if told.packaged:
        return packaged(kind, told.cache)
    return shifted(kind, told.cache) if told.shift else measured(kind, told.cache, told.erasure)


if __name__ == "__main__":
    main()
