"""A context as the rules read it: words, their levels, and what the text is about.

read(text, lexicon) -> Passage
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pytest_sae.judge.marking import unmark
from pytest_sae.judge.rule_based.lexicon import Category, Lexicon

STOPS = frozenset(".!?")
# Words that a text must have of a category, in whole words, to be about it.
ENOUGH = 1.5


@dataclass(frozen=True, eq=False)
class Passage:
    """Words in order.

    Args:
        words: as they stand in the text, punctuation marks being words too.
        levels: (word,) 0 where it isn't marked, otherwise 1 to 10.
        lexicon: what is known about words.
    """

    words: tuple[str, ...]
    levels: tuple[int, ...]
    lexicon: Lexicon

    @cached_property
    def lowers(self) -> tuple[str, ...]:
        """The words in lower case."""
        return tuple(word.lower() for word in self.words)

    @cached_property
    def entries(self) -> tuple[Mapping[Category, float], ...]:
        """(word,) its categories."""
        return tuple(map(self.lexicon.entries, self.words))

    @cached_property
    def marks(self) -> tuple[bool, ...]:
        """(word,) whether it is marked."""
        return tuple(level > 0 for level in self.levels)

    @cached_property
    def subjects(self) -> frozenset[Category]:
        """The categories that the text is about."""
        return self._subjects(lambda index: True)

    @cached_property
    def subjects_around(self) -> frozenset[Category]:
        """The categories that the words without a mark are about."""
        return self._subjects(lambda index: not self.marks[index])

    @cached_property
    def sentences(self) -> tuple[range, ...]:
        """(word,) the places of its sentence, the final stop included."""
        found: list[range] = []
        first = 0
        for index, word in enumerate(self.words, 1):
            if word in STOPS or index == len(self.words):
                found += [range(first, index)] * (index - first)
                first = index
        return tuple(found)

    def starts(self, index: int) -> bool:
        """Whether a word begins a sentence; the first of a window does if its capital says so."""
        word = self.words[index]
        if index:
            return self.words[index - 1] in STOPS and word not in STOPS
        named = any(word in category.words for category in self.entries[0])
        return word[0].isupper() and not named

    def ends(self, index: int) -> bool:
        """Whether a word is the last of a sentence."""
        after = self.words[index + 1 : index + 2]
        return bool(after) and after[0] in STOPS and self.words[index] not in STOPS

    def _subjects(self, counts: Callable[[int], bool]) -> frozenset[Category]:
        """Sum shares over different words: one word that comes back tells no more than once."""
        told = {self.lowers[i]: each for i, each in enumerate(self.entries) if each and counts(i)}
        sums: dict[Category, float] = {}
        for entries in told.values():
            for category, share in entries.items():
                if category.texts:
                    sums[category] = sums.get(category, 0.0) + share
        return _leaders(sums)


def _leaders(sums: Mapping[Category, float]) -> frozenset[Category]:
    best: dict[str, float] = {}
    for category, each in sums.items():
        best[category.family] = max(each, best.get(category.family, 0.0))
    return frozenset(
        category
        for category, each in sums.items()
        if each >= ENOUGH and each >= best[category.family] - 1e-9
    )


def read(text: str, lexicon: Lexicon) -> Passage:
    """Return a written context's words.

    Args:
        text: as `marking` writes it.
        lexicon: what is known about words.
    """
    words, levels = unmark(text)
    return Passage(tuple(words), tuple(levels), lexicon)
