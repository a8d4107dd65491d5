"""Pairs of sentences that use one word in the same sense or in different ones: `[[senses]]`.

senses_task(name, rows, columns, prompt, most, seed) -> SensesTask
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_sae.data.labelled_texts import LabelledTexts
from pytest_sae.errors import DataError
from pytest_sae.numbers.bootstrap import generator

FEWEST = 20  # pairs of either kind, below which an interval means nothing
#: The published prompt: the word is read where it stands once more, after all of its context.
PROMPT = "{text} The {word} means"
SLOTS = ("text", "word")
#: What files write for "the same sense" and for "different senses".
_SAME = {"1": True, "true": True, "t": True, "same": True,
         "0": False, "false": False, "f": False, "different": False}  # fmt: skip


@dataclass(frozen=True)
class SensesSizes:
    """How much is spent on senses.

    Args:
        pairs: of each kind, at most; None for all of them.
    """

    pairs: int | None = None


@dataclass(frozen=True)
class SensePair:
    """One word in two sentences.

    Args:
        word: the word.
        first: a sentence with it.
        second: another one.
        same: whether both use it in the same sense.
    """

    word: str
    first: str
    second: str
    same: bool


@dataclass(frozen=True)
class SensesTask:
    """Pairs of both kinds.

    Args:
        name: unique among the tasks of its kind.
        pairs: each of them once, as many of either kind where sizes are limited.
        prompt: what the model reads of a pair, with `{text}` and `{word}`.
        fingerprint: sha256 of all of it.
    """

    name: str
    pairs: tuple[SensePair, ...]
    prompt: str
    fingerprint: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Every distinct sentence."""
        return tuple(dict.fromkeys(t for pair in self.pairs for t in (pair.first, pair.second)))

    def read(self, pair: SensePair, text: str) -> str:
        """Return what the model reads up to the word, at the end of which it is read."""
        before = self.prompt[: self.prompt.rindex("{word}")].replace("{word}", pair.word)
        return before.replace("{text}", text) + pair.word


@dataclass(frozen=True)
class SenseColumns:
    """Where a file has what; the names are those of WiC in SuperGLUE.

    Args:
        word: of the word.
        first: of one sentence.
        second: of the other.
        same: 1, true, T or same where the sense is the same; 0, false, F or different where not.
    """

    word: str = "word"
    first: str = "sentence1"
    second: str = "sentence2"
    same: str = "label"


def senses_task(
    name: str,
    rows: LabelledTexts,
    columns: SenseColumns,
    prompt: str,
    sizes: SensesSizes,
    seed: int,
) -> SensesTask:
    """Return the task of a table of rows, whose texts are the first sentences.

    Args:
        name: of the task.
        rows: with the other columns as labels.
        columns: their names.
        prompt: with `{text}` and `{word}`.
        sizes: how many pairs are taken.
        seed: of the choice.

    Raises:
        DataError: a prompt without its slots or with the word before the text, a label that says
            neither, a pair that is said to be both, or fewer than 20 pairs of a kind.
    """
    _check(name, prompt)
    pairs = _pairs(name, rows, columns)
    kept: list[SensePair] = []
    for same in (True, False):
        kind = [pair for pair in pairs if pair.same is same]
        if len(kind) < FEWEST:
            what = "the same sense" if same else "different senses"
            raise DataError(
                f"Task {name}: {rows.source} has {len(kind)} pairs with {what}. Expected {FEWEST} "
                "or more of either kind."
            )
        kept += _chosen(kind, sizes.pairs, name, seed)
    told = [[each.word, each.first, each.second, each.same] for each in kept]
    content = json.dumps(["senses", name, prompt, told])
    return SensesTask(name, tuple(kept), prompt, hashlib.sha256(content.encode()).hexdigest())


def _check(name: str, prompt: str) -> None:
    places = [prompt.rfind(f"{{{slot}}}") for slot in SLOTS]
    if min(places) < 0 or places[0] > places[1]:
        raise DataError(
            f"Task {name} has the prompt {prompt!r}. Expected {{text}} and, after it, {{word}}: "
            "the word is read where it stands last."
        )


def _pairs(name: str, rows: LabelledTexts, columns: SenseColumns) -> list[SensePair]:
    """Every pair once, in an order that no file has a part in."""
    found: dict[tuple[str, str, str], bool] = {}
    words, seconds = rows.labels[columns.word], rows.labels[columns.second]
    said = (_same(name, rows.source, columns.same, each) for each in rows.labels[columns.same])
    for word, first, second, same in zip(words, rows.texts, seconds, said, strict=True):
        one, other = sorted((first, second))
        if found.setdefault((word, one, other), same) is not same:
            raise DataError(
                f"Task {name}: {rows.source} says of {word!r} in {first!r} and {second!r} both "
                "that the sense is the same and that it is not. Correct one of the rows."
            )
    return [SensePair(*key, same) for key, same in sorted(found.items())]


def _same(name: str, source: str, column: str, value: str) -> bool:
    found = _SAME.get(value.strip().lower())
    if found is None:
        raise DataError(
            f"Task {name}: {source} has {value!r} as {column}. Expected 1, true, T or same where "
            "the word has the same sense in both sentences; 0, false, F or different where not."
        )
    return found


def _chosen(
    pairs: Sequence[SensePair], most: int | None, name: str, seed: int
) -> Sequence[SensePair]:
    if most is None or len(pairs) <= most:
        return pairs
    order = generator(seed, "senses", name, str(pairs[0].same)).permutation(len(pairs))
    return [pairs[place] for place in sorted(order[:most])]
