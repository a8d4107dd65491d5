"""Tasks about true features: concept pairs balanced over the spurious one, and many classes.

    concepts_of(world, size) -> Concepts                  # which features each task is about
    make_book(world, size, seed) -> Book                  # texts, and tasks as a run has them

A concept is a few features. A text has it if they fire on two of its tokens or more, and lacks it
if they fire on none; texts in between belong to neither. Texts are only *chosen*, never edited, so
that hierarchy and correlations hold in them as in the world. The features of a concept are a
matter of the world; another seed gives other texts about the same concepts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_sae.data.tasks import (
    ClassTask,
    ClassTexts,
    Contrast,
    Corpus,
    SpuriousTask,
    SpuriousTexts,
    Tasks,
)
from pytest_sae.errors import DataError
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.synthetic.texts import WorldTexts, texts_of
from pytest_sae.synthetic.worlds import World

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

VERSION = "1"  # part of fingerprints: raise it when the same seed gives other tasks

_FREQUENCY_TOKENS = 32768
_DRAWS = 4  # times that a pool is drawn before a cell counts as too rare
_SURE = 2  # tokens on which a concept must fire for its text to count as having it


@dataclass(frozen=True)
class BookSize:
    """How much a book holds.

    Args:
        pool: texts drawn at a time, until every cell of every task has enough.
        length: tokens of a text.
        corpus: texts without labels.
        pairs: SCR tasks, each of two concepts.
        multis: TPP tasks.
        classes: of a TPP task.
        concept: features of a concept in a pair.
        share: features of a class.
        train: texts per cell or class to train on.
        test: to test on.
        least: features that fire more rarely than this are in no task.
        most: nor are those that fire more often than this.
    """

    pool: int = 12_000
    length: int = 10
    corpus: int = 1000
    pairs: int = 4
    multis: int = 4
    classes: int = 5
    concept: int = 4
    share: int = 3
    train: int = 400
    test: int = 300
    least: float = 0.018
    most: float = 0.1


SMOKE_BOOK = BookSize(
    pool=2000, length=8, corpus=100, pairs=2, multis=1, classes=4, concept=3, share=3, train=40,
    test=30, least=0.02, most=0.16,
)  # fmt: skip
SMALL_BOOK = BookSize()
LARGE_BOOK = BookSize(pool=30_000, corpus=4000, train=500, test=500, least=0.004, most=0.05)


@dataclass(frozen=True)
class Concepts:
    """Which features each task is about.

    Args:
        pairs: (intended, spurious) feature indices of each SCR task.
        multis: of each TPP task, the feature indices of each class.
    """

    pairs: tuple[tuple[Ints, Ints], ...]
    multis: tuple[tuple[Ints, ...], ...]

    def first(self, pairs: int, multis: int) -> Concepts:
        """Return those of the first tasks alone."""
        return Concepts(self.pairs[:pairs], self.multis[:multis])

    @property
    def features(self) -> Ints:
        """All features that any task is about, ascending."""
        return np.union1d(self.of_pairs, self.of_classes)

    @property
    def of_pairs(self) -> Ints:
        """Those that an SCR task is about, ascending."""
        return np.unique(np.concatenate([each for pair in self.pairs for each in pair]))

    @property
    def of_classes(self) -> Ints:
        """Those that a TPP task is about, ascending."""
        return np.unique(np.concatenate([each for multi in self.multis for each in multi]))


@dataclass(frozen=True, eq=False)
class Book:
    """The texts of a world at one seed, and the tasks on them.

    Args:
        texts: every text that the corpus or a task holds.
        tasks: as a run has them.
        concepts: what the tasks are about.
    """

    texts: WorldTexts = field(repr=False)
    tasks: Tasks = field(repr=False)
    concepts: Concepts


def concepts_of(world: World, size: BookSize) -> Concepts:
    """Choose each task's features among those that are neither rare nor everywhere.

    Disjoint within the pairs and within the classes; a pair and a class may share some.

    Args:
        world: that the features are of.
        size: how many tasks, and which frequencies are fit for them.

    Returns:
        Pairs of features, and the classes of each multi-class task.

    Raises:
        DataError: the world has too few of them.
    """
    fires = world.sample(_FREQUENCY_TOKENS, world.spec.seed, "frequencies").features > 0
    frequency = fires.float().mean(0).cpu().numpy()
    fit = np.flatnonzero((frequency >= size.least) & (frequency <= size.most))
    paired = _drawn(world, fit, size.concept, 2 * size.pairs, "pairs")
    rest = _drawn(world, fit, size.share, size.multis * size.classes, "classes")
    return Concepts(
        tuple(zip(paired[::2], paired[1::2], strict=True)),
        tuple(tuple(rest[i : i + size.classes]) for i in range(0, len(rest), size.classes)),
    )


def _drawn(world: World, fit: Ints, each: int, sets: int, purpose: str) -> list[Ints]:
    """Disjoint sets of features, ascending within a set."""
    if len(fit) < each * sets:
        raise DataError(
            f"world {world.spec.name} has {len(fit)} features that are neither too rare nor too "
            f"frequent for a task; its {purpose} need {each * sets}. Choose fewer tasks, or wider "
            "limits (least, most)."
        )
    drawn = generator(world.spec.seed, "concepts", world.spec.name, purpose).permutation(fit)
    return [np.sort(drawn[i : i + each]) for i in range(0, each * sets, each)]


def make_book(world: World, size: BookSize, seed: int) -> Book:
    """Draw a world's texts and choose the tasks' among them.

    Args:
        world: that the texts are of.
        size: how much the book holds.
        seed: of the texts.

    Returns:
        Texts, and tasks about them.

    Raises:
        DataError: too few texts of a cell or a class, however many are drawn.
    """
    concepts = concepts_of(world, size)
    pool = _pool(world, size, seed, concepts)
    corpus = texts_of(world, size.corpus, size.length, seed, "corpus")
    chooser = _Chooser(world, pool, size, seed)
    pairs = tuple(chooser.pair(i, *pair) for i, pair in enumerate(concepts.pairs))
    multis = tuple(chooser.multi(i, multi) for i, multi in enumerate(concepts.multis))
    fingerprint = _sha(VERSION, world.fingerprint, asdict(size), seed)
    tasks = Tasks(
        Corpus(corpus.names, _sha(fingerprint, "corpus")),
        pairs,
        multis,
        f"synthetic world {world.spec.name}, seed {seed}",
        fingerprint,
    )
    return Book(_joined(corpus, pool.only(np.array(sorted(chooser.used)))), tasks, concepts)


def _pool(world: World, size: BookSize, seed: int, concepts: Concepts) -> WorldTexts:
    """Draw texts until there are enough of every cell of every task."""
    needed = size.train + size.test
    found: WorldTexts | None = None
    for draw in range(_DRAWS):
        purpose = f"pool {draw}" if draw else "pool"
        more = texts_of(world, size.pool, size.length, seed, purpose)
        found = more if found is None else _joined(found, more)
        pairs = [_pair_cells(found, *pair) for pair in concepts.pairs]
        multis = [_multi_cells(found, multi) for multi in concepts.multis]
        least = min(int(cell.sum()) for cells in pairs + multis for cell in cells)
        if least >= needed:
            return found
    raise DataError(
        f"of {_DRAWS * size.pool} texts of world {world.spec.name}, {least} are in the rarest cell "
        f"of a task; {needed} are needed. Choose more frequent features (least), or fewer texts."
    )


_VALUES = ((True, True), (True, False), (False, True), (False, False))


def _pair_cells(texts: WorldTexts, intended: Ints, spurious: Ints) -> list[Bools]:
    """(text,) which texts are in each cell, in the order of _VALUES."""
    has = np.stack([_counts(texts, each) for each in (intended, spurious)])
    sure, lacks = has >= _SURE, has == 0
    return [
        (sure[0] if first else lacks[0]) & (sure[1] if second else lacks[1])
        for first, second in _VALUES
    ]


def _multi_cells(texts: WorldTexts, classes: Sequence[Ints]) -> list[Bools]:
    """(text,) which texts are of each class: it fires most, on two tokens at least."""
    counts = np.stack([_counts(texts, each) for each in classes])
    second, first = np.sort(counts, axis=0)[-2:]
    clear = (first >= _SURE) & (first > second)
    return [clear & (own == first) for own in counts]


def _counts(texts: WorldTexts, features: Ints) -> Ints:
    """(text,): on how many tokens any of the features fires."""
    counts: Ints = texts.fires[:, :, features].any(2).sum(1)
    return counts


@dataclass(eq=False)
class _Chooser:
    world: World
    pool: WorldTexts
    size: BookSize
    seed: int

    def __post_init__(self) -> None:
        self.used: set[int] = set()

    def pair(self, place: int, intended: Ints, spurious: Ints) -> SpuriousTask:
        """An SCR task whose four cells have the same size."""
        name = f"pair {place}"
        cells = _pair_cells(self.pool, intended, spurious)
        split = [
            SpuriousTexts(
                self._names(places),
                tuple(_VALUES[cell][0] for cell in labels),
                tuple(_VALUES[cell][1] for cell in labels),
            )
            for places, labels in self._split(name, cells)
        ]
        return SpuriousTask(
            name,
            _contrast("intended", intended),
            _contrast("spurious", spurious),
            split[0],
            split[1],
            0,
            self._fingerprint(name),
        )

    def multi(self, place: int, classes: Sequence[Ints]) -> ClassTask:
        """A TPP task: the class that fires most, on two tokens at least."""
        name = f"classes {place}"
        cells = _multi_cells(self.pool, classes)
        split = [
            ClassTexts(self._names(places), tuple(labels.tolist()))
            for places, labels in self._split(name, cells)
        ]
        names = tuple(f"class {c}" for c in range(len(classes)))
        return ClassTask(name, name, names, split[0], split[1], 0, self._fingerprint(name))

    def _split(
        self, name: str, cells: Sequence[Bools]
    ) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Texts of the training and of the test split with their cells, mixed."""
        rng = generator(self.seed, "tasks", self.world.spec.name, name)
        train, test = self.size.train, self.size.test
        chosen = [rng.permutation(np.flatnonzero(cell))[: train + test] for cell in cells]
        table = np.stack(chosen)
        self.used.update(table.ravel().tolist())
        return _mixed(table[:, :train], rng), _mixed(table[:, train:], rng)

    def _names(self, places: Ints) -> tuple[str, ...]:
        return tuple(self.pool.names[place] for place in places)

    def _fingerprint(self, name: str) -> str:
        return _sha(VERSION, self.world.fingerprint, asdict(self.size), self.seed, name)


def _mixed(table: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """(cell, text) places to the places and their cells in mixed order."""
    order = rng.permutation(table.size)
    cells = np.repeat(np.arange(len(table)), table.shape[1])
    return table.ravel()[order], cells[order]


def _contrast(column: str, features: Ints) -> Contrast:
    told = " or ".join(map(str, features.tolist()))
    return Contrast(column, f"feature {told}", "none of them")


def _joined(first: WorldTexts, second: WorldTexts) -> WorldTexts:
    import torch

    return WorldTexts(
        first.names + second.names,
        torch.cat([first.features, second.features]),
        torch.cat([first.x, second.x]),
    )


def _sha(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
