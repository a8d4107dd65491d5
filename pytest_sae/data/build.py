"""From labelled rows to tasks: balanced, without repeats, chosen by hash and not by position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pytest_sae.data.attributes import AttributeTask
from pytest_sae.data.entities import EntityTask
from pytest_sae.data.labelled_texts import LabelledTexts
from pytest_sae.data.preferences import Preferences
from pytest_sae.data.senses import SensesTask
from pytest_sae.data.tasks import (
    ClassTask,
    ClassTexts,
    Contrast,
    Corpus,
    SharedTask,
    Sizes,
    Spelling,
    SpuriousTask,
    SpuriousTexts,
    Tasks,
)
from pytest_sae.data.unlearning import UnlearningTask
from pytest_sae.errors import DataError, suggest

FEWEST = 10  # texts in a cell or class, below which a probe and its interval mean nothing

Cell = TypeVar("Cell", bound=Hashable)


@dataclass(frozen=True)
class _Split:
    """Where the rows of one split of one task come from, and how messages call them."""

    task: str
    split: str
    rows: LabelledTexts
    seed: int


def spurious_task(
    name: str,
    splits: tuple[LabelledTexts, LabelledTexts],
    intended: Contrast,
    spurious: Contrast,
    sizes: Sizes,
    seed: int,
) -> SpuriousTask:
    """Return an SCR task of train and test rows: the same number of texts in all four cells.

    Args:
        name: of the task.
        splits: train and test rows.
        intended: the concept that probes are to read, and its two values.
        spurious: the concept that goes with it, and its two values.
        sizes: how many texts of a cell are taken.
        seed: of the choice.

    Raises:
        DataError: a value that does not occur, or fewer than 10 texts in a cell.
    """
    for rows in splits:
        for contrast in (intended, spurious):
            _require(name, rows, contrast.column, (contrast.positive, contrast.negative))
    names = {
        (one, other): f"{intended.column}={_side(intended, one)}, "
        f"{spurious.column}={_side(spurious, other)}"
        for one in (True, False)
        for other in (True, False)
    }
    most = (sizes.train_per_cell, sizes.test_per_cell)
    cells = [_spurious_cells(rows, intended, spurious) for rows in splits]
    (train, test), dropped, repeated = _splits(name, splits, cells, names, most, seed)
    parts = [
        SpuriousTexts(
            tuple(text for text, _ in part),
            tuple(cell[0] for _, cell in part),
            tuple(cell[1] for _, cell in part),
        )
        for part in (train, test)
    ]
    concepts = [
        [each.column, each.positive, each.negative, *each.words] for each in (intended, spurious)
    ]
    content = _sha256("scr", name, concepts, train, test)
    return SpuriousTask(name, intended, spurious, parts[0], parts[1], dropped, content, repeated)


def class_task(
    name: str,
    splits: tuple[LabelledTexts, LabelledTexts],
    column: str,
    classes: Sequence[str],
    sizes: Sizes,
    seed: int,
) -> ClassTask:
    """Return a TPP task of train and test rows: the same number of texts in every class.

    Args:
        name: of the task.
        splits: train and test rows.
        column: of the labels.
        classes: values of that column, in the order of their numbers.
        sizes: how many texts of a class are taken.
        seed: of the choice.

    Raises:
        DataError: a class that does not occur, or fewer than 10 texts in one.
    """
    for rows in splits:
        _require(name, rows, column, classes)
    index = {value: number for number, value in enumerate(classes)}
    names = {number: f"{column}={value}" for value, number in index.items()}
    cells = [[index.get(value) for value in rows.labels[column]] for rows in splits]
    most = (sizes.train_per_class, sizes.test_per_class)
    (train, test), dropped, repeated = _splits(name, splits, cells, names, most, seed)
    parts = [
        ClassTexts(tuple(text for text, _ in part), tuple(cell for _, cell in part))
        for part in (train, test)
    ]
    content = _sha256("tpp", name, column, list(classes), train, test)
    return ClassTask(name, column, tuple(classes), parts[0], parts[1], dropped, content, repeated)


def shared_task(
    name: str,
    datasets: Mapping[str, tuple[LabelledTexts, LabelledTexts]],
    column: str,
    classes: Sequence[str],
    sizes: Sizes,
    seed: int,
) -> SharedTask:
    """Return a transfer task: one task of classes for each data set.

    Args:
        name: of the task.
        datasets: train and test rows by name. Train texts that stand in any other's test rows are
            dropped too.
        column: the label column, the same in all of them.
        classes: its values.
        sizes: as for TPP tasks.
        seed: of the choice.

    Raises:
        DataError: as `class_task`.
    """
    parts = []
    for dataset, (train, test) in datasets.items():
        elsewhere = {
            text for other, rows in datasets.items() if other != dataset for text in rows[1].texts
        }
        kept, dropped = _without(train, elsewhere - set(test.texts))
        part = class_task(f"{name}.{dataset}", (kept, test), column, classes, sizes, seed)
        parts.append(replace(part, dropped=part.dropped + dropped))
    return SharedTask(name, tuple(parts))


def _without(rows: LabelledTexts, texts: set[str]) -> tuple[LabelledTexts, int]:
    """Rows without some texts, and how many of those were there."""
    places = [place for place, text in enumerate(rows.texts) if text not in texts]
    labels = {
        column: tuple(values[place] for place in places) for column, values in rows.labels.items()
    }
    kept = LabelledTexts(rows.source, tuple(rows.texts[place] for place in places), labels)
    return kept, len(texts & set(rows.texts))


def corpus(rows: LabelledTexts, sizes: Sizes, seed: int) -> Corpus:
    """Return the distinct texts of the rows, or as many of them as sizes ask for.

    Args:
        rows: texts, repeated or not.
        sizes: how many are taken.
        seed: of the choice.

    Raises:
        DataError: fewer than 10 texts.
    """
    distinct = list(dict.fromkeys(rows.texts))
    if len(distinct) < FEWEST:
        raise DataError(
            f"The corpus {rows.source} has {len(distinct)} texts. Expected at least {FEWEST}: "
            "add texts."
        )
    texts = tuple(_ranked(distinct, "corpus", seed)[: sizes.corpus_texts])
    return Corpus(texts, _sha256("corpus", texts))


def collect(
    corpus: Corpus | None,
    scr: Sequence[SpuriousTask],
    tpp: Sequence[ClassTask],
    source: str,
    *,
    ravel: Sequence[EntityTask] = (),
    principled: Sequence[AttributeTask] = (),
    unlearning: Sequence[UnlearningTask] = (),
    preferences: Preferences | None = None,
    spelling: Spelling | None = None,
    transfer: Sequence[SharedTask] = (),
    senses: Sequence[SensesTask] = (),
) -> Tasks:
    """Return all parts under one fingerprint.

    Args:
        corpus: held-out texts, None for none.
        scr: the [[scr]] tables.
        tpp: the [[tpp]] tables.
        source: where all of it is from, for messages.
        ravel: the [[ravel]] tables.
        principled: the [[principled]] tables.
        unlearning: the [[unlearning]] tables.
        preferences: the [preferences] table, None for none.
        spelling: the [spelling] table, None for words of the model's vocabulary.
        transfer: the [[transfer]] tables.
        senses: the [[senses]] tables.
    """
    kinds = (scr, tpp, ravel, principled, unlearning)
    content = _sha256(
        [corpus.fingerprint if corpus else None],
        *([task.fingerprint for task in kind] for kind in kinds),
        [preferences.fingerprint if preferences else None],
        [spelling.words, spelling.examples] if spelling else None,
        *([part.fingerprint for part in task.parts] for task in transfer),
        *([task.fingerprint] for task in senses),
    )
    return Tasks(
        corpus,
        tuple(scr),
        tuple(tpp),
        source,
        content,
        tuple(ravel),
        tuple(principled),
        tuple(unlearning),
        preferences,
        spelling or Spelling(),
        tuple(transfer),
        tuple(senses),
    )


def _require(task: str, rows: LabelledTexts, column: str, values: Sequence[str]) -> None:
    there = set(rows.labels[column])
    missing = [value for value in values if value not in there]
    if missing:
        listed = sorted(there)
        shown = ", ".join(listed[:40]) + (", ..." if len(listed) > 40 else "")
        raise DataError(
            f"Task {task}: {rows.source} has no {column} {missing[0]!r}. Expected one of "
            f"{shown}.{suggest(missing[0], listed)}"
        )


def _side(contrast: Contrast, positive: bool) -> str:
    return contrast.positive if positive else contrast.negative


def _spurious_cells(
    rows: LabelledTexts, intended: Contrast, spurious: Contrast
) -> list[tuple[bool, bool] | None]:
    first = {intended.positive: True, intended.negative: False}
    second = {spurious.positive: True, spurious.negative: False}
    pairs = zip(rows.labels[intended.column], rows.labels[spurious.column], strict=True)
    return [
        (first[one], second[other]) if one in first and other in second else None
        for one, other in pairs
    ]


def _splits(
    task: str,
    splits: tuple[LabelledTexts, LabelledTexts],
    cells: Sequence[Sequence[Cell | None]],
    names: Mapping[Cell, str],
    most: tuple[int | None, int | None],
    seed: int,
) -> tuple[list[list[tuple[str, Cell]]], int, int]:
    """Both splits balanced; how many train texts stood in test; how many stood there twice."""
    distinct = [_distinct(rows.texts, cell) for rows, cell in zip(splits, cells, strict=True)]
    rows_in = [sum(cell is not None for cell in split) for split in cells]
    repeated = sum(rows_in) - sum(map(len, distinct))
    everything = set(splits[1].texts)
    train = {text: cell for text, cell in distinct[0].items() if text not in everything}
    dropped = len(distinct[0]) - len(train)
    origins = [
        _Split(task, split, rows, seed)
        for split, rows in zip(("train", "test"), splits, strict=True)
    ]
    return (
        [
            _balanced(origin, chosen, names, limit)
            for origin, chosen, limit in zip(origins, (train, distinct[1]), most, strict=True)
        ],
        dropped,
        repeated,
    )


def _distinct(texts: Sequence[str], cells: Sequence[Cell | None]) -> dict[str, Cell]:
    """Each text once with its cell; texts that stand in several cells say nothing and go."""
    found: dict[str, Cell] = {}
    ambiguous: set[str] = set()
    for text, cell in zip(texts, cells, strict=True):
        if cell is not None and found.setdefault(text, cell) != cell:
            ambiguous.add(text)
    return {text: cell for text, cell in found.items() if text not in ambiguous}


def _balanced(
    origin: _Split, cell_of: Mapping[str, Cell], names: Mapping[Cell, str], most: int | None
) -> list[tuple[str, Cell]]:
    members: dict[Cell, list[str]] = {cell: [] for cell in names}
    for text, cell in cell_of.items():
        members[cell].append(text)
    for cell, texts in members.items():
        if len(texts) < FEWEST:
            raise DataError(
                f"Task {origin.task}: the {origin.split} split ({origin.rows.source}) has "
                f"{len(texts)} usable texts with {names[cell]}. Expected at least {FEWEST} "
                "that stand there once and in no other split: add texts, or take another task."
            )
    size = min(map(len, members.values()))
    size = size if most is None else min(size, most)
    key = f"{origin.task} {origin.split}"
    chosen = {
        text for texts in members.values() for text in _ranked(texts, key, origin.seed)[:size]
    }
    return [(text, cell_of[text]) for text in _ranked(list(chosen), key, origin.seed)]


def _ranked(texts: Sequence[str], key: str, seed: int) -> list[str]:
    """The texts in an order drawn from (seed, key), whatever their order in the file.

    A hash and not a generator: fewer texts are always a part of more, and one text added to the
    file does not exchange all others.
    """
    salt = f"{seed} {key} ".encode()
    return sorted(texts, key=lambda text: (hashlib.sha256(salt + text.encode()).digest(), text))


def _sha256(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
