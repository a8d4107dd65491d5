"""Concept metrics on real activations, beside a supervised reference in place of the truth.

    python -m benchmarks.real_reference --worlds DIR [--only NAME ...] [--suite smoke|standard]

DIR is what foreign_worlds.py made. No one knows the features of these models, but texts have
labels: of every labelled concept the difference of the means of its texts is a direction, and its
label says where a latent should fire. How much of that a dictionary has is stated twice:

- F1 x cosine: of the concept's latent, F1 above that of saying yes to every text (1 is a perfect
  one), times the cosine of what it writes with the direction;
- correlation: of the pooled latent with the label.

The latent, its threshold and its sign are chosen on training texts, all else is read on test texts;
a latent of the absence of a concept counts as one of the concept. Both are sums over concepts, over
what a supervised latent gets: one that reads the linear discriminant and writes the direction.
Prints both of every dictionary, and how each concept metric ranks dictionaries beside them.
Metrics are measured by `pytest evals/` (what is there is not measured again).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.foreign_dictionaries import GOOD, NAMES, WORTHLESS
from benchmarks.gate_foreign import KIND, Asked, key, reported
from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import Tasks
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.measure.scr_and_tpp import class_labels, erasure_texts
from pytest_sae.metrics.class_probes import one_versus_rest
from pytest_sae.options import Options
from pytest_sae.session.session import EvalSession

TESTS = (
    "test_reconstruction.py::test_reconstruction",
    "test_tpp.py",
    "test_removal.py",
    "test_scr.py::test_scr_removing_few_latents",
    "test_sparse_probing.py::test_few_latents_know_concepts",
    "test_sparse_probing.py::test_few_latents_beat_few_neurons",
)
EXPLAINED, TPP = "explained_variance", "tpp.rescaled:n=few"
METRICS = (
    TPP,
    "removal",
    "scr.margin:direction=spurious,n=few",
    "scr.margin:direction=intended,n=few",
    "sparse_probing:k=1",
    "sparse_probing.gain:k=16",
    EXPLAINED,
)
TOGETHER = f"smaller of {TPP} and {EXPLAINED}"
REFERENCES = ("F1 x cosine", "correlation")

RIDGE = 0.01  # of the discriminant, in mean variances

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]
Values = Mapping[str, float]  # by metric or reference
World = Mapping[str, Values]  # by dictionary


@dataclass(frozen=True)
class Concept:
    """A label of texts; each array has the training texts, then the test texts.

    Args:
        labels: (text,) whether the concept is there.
        x: (text, d) pooled activations.
        train: how many of the texts are for training.
    """

    labels: Bools
    x: Floats
    train: int

    @cached_property
    def direction(self) -> Floats:
        """(d,) difference of the means of the training texts."""
        up, down = self._halves
        return np.asarray(up.mean(0) - down.mean(0))

    @cached_property
    def supervised(self) -> Floats:
        """(text, 1) what the linear discriminant of the training texts reads in all of them."""
        centred = np.concatenate([each - each.mean(0) for each in self._halves])
        within = centred.T @ centred / len(centred)
        within += RIDGE * within.trace() / len(within) * np.eye(len(within))
        return self.x @ np.linalg.solve(within, self.direction)[:, None]

    @property
    def _halves(self) -> tuple[Floats, Floats]:
        x, labels = self.x[: self.train], self.labels[: self.train]
        return x[labels], x[~labels]


def labelled(tasks: Tasks) -> Iterator[tuple[Bools, tuple[str, ...], int]]:
    """Give labels, texts and number of training texts of both concepts of pairs and each class."""
    for pair in tasks.scr:
        for name in ("intended", "spurious"):
            labels = np.array(getattr(pair.train, name) + getattr(pair.test, name), bool)
            yield labels, pair.train.texts + pair.test.texts, len(pair.train.texts)
    for task in tasks.tpp:
        classes = np.concatenate([class_labels(task.train), class_labels(task.test)])
        for labels in one_versus_rest(classes, len(task.classes)):
            yield labels, task.train.texts + task.test.texts, len(task.train.texts)


def reference(read: Iterable[tuple[Concept, Floats]], rows: Floats) -> dict[str, float]:
    """Return what a dictionary has of some concepts, over what the supervised latents have.

    Args:
        read: concepts, each with the (text, d_sae) pooled latents of its texts.
        rows: (d_sae, d) what latents write.
    """
    found = [
        (recovery(each, z, rows), recovery(each, each.supervised, each.direction[None]))
        for each, z in read
    ]
    own, supervised = np.sum(found, axis=0)
    return dict(zip(REFERENCES, (own / supervised).tolist(), strict=True))


def recovery(concept: Concept, z: Floats, rows: Floats) -> tuple[float, float]:
    """Return how much of one concept latents have, by F1 times cosine and by correlation.

    Args:
        concept: with its texts.
        z: (text, d_sae) pooled latents.
        rows: (d_sae, d) what they write.

    Returns:
        Each at most 1; about 0 for latents that have nothing to do with it.
    """
    gap, train = concept.direction, concept.train
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(gap)
    cosine = rows @ gap / norms.clip(min=1e-12)
    best, found = 0.0, 0.0
    for sign, labels in ((1, concept.labels), (-1, ~concept.labels)):
        levels, f1 = _thresholds(z[:train], labels[:train])
        agreed = f1 * (sign * cosine).clip(min=0)
        latent = int(agreed.argmax())
        if agreed[latent] > best:
            best = float(agreed[latent])
            told, seen = z[train:, latent] >= levels[latent], labels[train:]
            found = float(_above_chance(_f1(told, seen), seen) * sign * cosine[latent])
    return found, _correlation(z, concept.labels, train)


def _thresholds(z: Floats, labels: Bools) -> tuple[Floats, Floats]:
    """Per latent the threshold with the best F1, and that F1 above chance."""
    order = np.argsort(-z, axis=0, kind="stable")
    ordered = np.take_along_axis(z, order, axis=0)
    hits = labels[order].cumsum(0)
    f1 = 2 * hits / (np.arange(1, len(z) + 1)[:, None] + labels.sum())
    # No threshold lies between texts of one value.
    f1[:-1][ordered[:-1] == ordered[1:]] = 0.0
    at = f1.argmax(0)[None]
    levels, best = (np.take_along_axis(each, at, axis=0)[0] for each in (ordered, f1))
    return levels, _above_chance(best, labels)


def _f1(told: Bools, labels: Bools) -> Floats:
    return np.asarray(2 * (told & labels).sum() / max(told.sum() + labels.sum(), 1))


def _above_chance(f1: Floats, labels: Bools) -> Floats:
    """Of the way from yes to every text to no mistake."""
    chance = 2 * labels.mean() / (1 + labels.mean())
    return np.asarray((f1 - chance) / (1 - chance)).clip(min=0)


def _correlation(z: Floats, labels: Bools, train: int) -> float:
    """Of the latent that correlates best on the training texts, with its sign there."""
    first = _correlations(z[:train], labels[:train])
    latent = int(np.abs(first).argmax())
    (seen,) = _correlations(z[train:, [latent]], labels[train:])
    return float(seen * np.sign(first[latent]))


def _correlations(z: Floats, labels: Bools) -> Floats:
    centred, y = z - z.mean(0), labels - labels.mean()
    norms = np.linalg.norm(centred, axis=0) * np.linalg.norm(y)
    return np.asarray(y @ centred / norms.clip(min=1e-12))


def references(world: Path, suite: str) -> dict[str, dict[str, float]]:
    """Return both references of every dictionary of a world.

    Args:
        world: its directory.
        suite: sizes, as --sae-suite.
    """
    session, found = EvalSession(_options(world, suite)), {}
    for name in NAMES:
        if (world / "saes" / name).is_dir():
            sae = session.load(resolve([str(world / "saes" / name)])[0])
            latents, texts = session.latents(sae), erasure_texts(session.tasks)
            rows = latents.written_rows(texts).cpu().numpy()
            found[name] = reference(_read(session.tasks, latents), rows)
            session.release(sae)
    session.close()
    return found


def _read(tasks: Tasks, latents: Latents) -> Iterator[tuple[Concept, Floats]]:
    texts = erasure_texts(tasks)
    pooled = latents.pooled(texts)
    for labels, own, train in labelled(tasks):
        places = latents.places(texts, own)
        yield Concept(labels, pooled.x[places].astype(float), train), pooled.z[places].toarray()


def _options(world: Path, suite: str) -> Options:
    return Options(
        sae=(),
        model=str(world / "model"),
        device="cpu",
        dtype="float32",
        suite=suite,
        data=str(world / "tasks.toml"),
        thresholds=None,
        report="",
        cache=str(world / "cache"),
        seed=0,
        gate=False,
        threads=1,
        asked=True,
    )


def metrics(world: Path, suite: str) -> dict[str, dict[str, float]]:
    """Return the concept metrics of every dictionary of a world; what is undefined is left out."""
    report = reported(world, "concepts", TESTS, "off", Asked(suite, "off", None, False))
    # A directory's name is not the id that is made of it.
    names = {each["id"]: Path(each["path"]).name for each in report["saes"]}
    found: dict[str, dict[str, float]] = {name: {} for name in names.values()}
    for row in report["measurements"]:
        if key(row) in METRICS and row["value"] is not None:
            found[names[row["sae"]]][key(row)] = row["value"]
    return together(found)


def together(found: Mapping[str, Values]) -> dict[str, dict[str, float]]:
    """Add the smaller of two metrics, each over its median of the good dictionaries."""
    pair = (TPP, EXPLAINED)
    medians = {m: float(np.median([found[name][m] for name in GOOD])) for m in pair}
    return {
        name: {**values, TOGETHER: min(values[m] / medians[m] for m in pair)}
        if all(m in values for m in pair)
        else dict(values)
        for name, values in found.items()
    }


def ranks(world: World, metric: str) -> tuple[float, ...]:
    """Return the rank correlations of a metric with the references, over those that have it."""
    there = [values for values in world.values() if metric in values]
    said = [values[metric] for values in there]
    return tuple(float(spearmanr(said, [v[each] for v in there])[0]) for each in REFERENCES)


def above(world: World, metric: str) -> str:
    """Return how many worthless dictionaries are below every good one, of those that have it."""
    least = min(world[name][metric] for name in GOOD)
    bad = [world[name][metric] for name in WORTHLESS if metric in world.get(name, {})]
    return f"{sum(value < least for value in bad)} of {len(bad)}"


def tables(worlds: Mapping[str, World]) -> Iterator[str]:
    """Give two tables in Markdown: the references of dictionaries, and the metrics beside them."""
    lines = [f"| dictionary | is | {' | '.join(worlds)} |", "|---" * (len(worlds) + 2) + "|"]
    for name in NAMES:
        cells = [_references_of(world, name) for world in worlds.values()]
        lines.append(f"| {name} | {KIND[name]} | {' | '.join(cells)} |")
    yield "\n".join(lines)
    lines = [f"| metric | {' | '.join(worlds)} |", "|---" * (len(worlds) + 1) + "|"]
    for metric in (*METRICS, TOGETHER, *REFERENCES):
        cells = [_judged(world, metric) for world in worlds.values()]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    yield "\n".join(lines)


def _references_of(world: World, name: str) -> str:
    return " / ".join(f"{world[name][each]:.2f}" for each in REFERENCES) if name in world else "-"


def _judged(world: World, metric: str) -> str:
    # Where the model cannot do what a metric asks for, no dictionary has it.
    if not all(metric in world[name] for name in GOOD):
        return "-"
    told = " / ".join(f"{each:.2f}" for each in ranks(world, metric))
    return f"{told}; {above(world, metric)}"


def read(world: Path, suite: str) -> World:
    """Return references and metrics of every dictionary of a world."""
    measured = metrics(world, suite)
    return {name: {**each, **measured[name]} for name, each in references(world, suite).items()}


def main() -> None:
    """Measure the worlds that are asked for and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=Path, required=True, help="what foreign_worlds.py made")
    parser.add_argument("--only", nargs="+", help="names of worlds")
    parser.add_argument("--suite", default="standard", help="sizes, as --sae-suite")
    told = parser.parse_args()
    torch.set_num_threads(1)
    folders: Sequence[Path] = sorted(p.parent for p in told.worlds.resolve().glob("*/tasks.toml"))
    chosen = [each for each in folders if not told.only or each.name in told.only]
    print("\n\n".join(tables({each.name: read(each, told.suite) for each in chosen})))


if __name__ == "__main__":
    main()
