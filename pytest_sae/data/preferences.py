"""Pairs of replies, which of the two people preferred, and what a preference model says."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pytest_sae.data.labelled_texts import LabelledTexts, read_rows
from pytest_sae.errors import DataError

FEWEST = 20  # pairs of a split, below which an AUC and its interval mean nothing


@dataclass(frozen=True)
class Replies:
    """One split.

    Args:
        first: a reply of each pair.
        second: the other one.
        preferred: whether the first was preferred.
        score: what the preference model gives the first, less what it gives the second.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    preferred: tuple[bool, ...]
    score: tuple[float, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Every distinct reply."""
        return tuple(dict.fromkeys((*self.first, *self.second)))


@dataclass(frozen=True)
class Preferences:
    """Both splits; no pair stands in both.

    Args:
        train: pairs that a probe is fitted on.
        test: pairs that it is read on.
        fingerprint: sha256 of the content.
    """

    train: Replies
    test: Replies
    fingerprint: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Every distinct reply of both splits."""
        return tuple(dict.fromkeys((*self.train.texts, *self.test.texts)))


@dataclass(frozen=True)
class PreferenceColumns:
    """Where a file has what.

    Args:
        first: of the first reply.
        second: of the second.
        preferred: `first` or `second`, the name of the column of the preferred one.
        score: a number, the preference model's for the first less that for the second.
    """

    first: str
    second: str
    preferred: str
    score: str


def read_preferences(train: Path, test: Path, columns: PreferenceColumns) -> Preferences:
    """Return the pairs of two files; train pairs that stand in test are left out.

    Args:
        train: JSON lines or CSV.
        test: another such file.
        columns: their columns.

    Raises:
        DataError: as `read_rows`; a preference that names no column, a score that is no number, or
            fewer than 20 pairs in a split.
    """
    tested = _replies(test, columns, ())
    known = _replies(train, columns, set(zip(tested.first, tested.second, strict=True)))
    for path, split in ((train, known), (test, tested)):
        if len(split.first) < FEWEST:
            raise DataError(
                f"{path} has {len(split.first)} pairs of its own. Expected {FEWEST} or more."
            )
    parts = [[each.first, each.second, each.preferred, each.score] for each in (known, tested)]
    content = hashlib.sha256(json.dumps(["preferences", *parts]).encode()).hexdigest()
    return Preferences(known, tested, content)


def _replies(
    path: Path, columns: PreferenceColumns, left_out: Collection[tuple[str, str]]
) -> Replies:
    rows = read_rows(path, columns.first, (columns.second, columns.preferred, columns.score))
    pairs = list(zip(rows.texts, rows.labels[columns.second], strict=True))
    first_of = {pair: place for place, pair in reversed(list(enumerate(pairs)))}
    kept = sorted(place for pair, place in first_of.items() if pair not in left_out)
    preferred, score = _preferred(rows, columns), _scores(rows, columns)
    return Replies(
        tuple(pairs[place][0] for place in kept),
        tuple(pairs[place][1] for place in kept),
        tuple(preferred[place] for place in kept),
        tuple(score[place] for place in kept),
    )


def _preferred(rows: LabelledTexts, columns: PreferenceColumns) -> list[bool]:
    names = (columns.first, columns.second)
    found = rows.labels[columns.preferred]
    wrong = next((value for value in found if value not in names), None)
    if wrong is not None:
        raise DataError(
            f"{rows.source}: {columns.preferred} is {wrong!r}. Expected {names[0]} or {names[1]}, "
            "the column of the reply that was preferred."
        )
    return [value == columns.first for value in found]


def _scores(rows: LabelledTexts, columns: PreferenceColumns) -> list[float]:
    return [_number(value, rows.source, columns.score) for value in rows.labels[columns.score]]


def _number(value: str, source: str, column: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{source}: {column} is {value!r}. Expected a finite number.")
    return number
