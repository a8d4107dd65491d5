"""The words that the rules know, read from the bundled world's `lexicon.json`.

load(path) -> Lexicon
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_sae.errors import JudgeError

NO_ENTRIES: Mapping[Category, float] = MappingProxyType({})


@dataclass(frozen=True)
class Category:
    """Words that are about one thing.

    Args:
        family: what it is a value of, such as `profession`.
        name: such as `nurse`.
        says: a name for its words, such as `words about the work of nurses`.
        texts: what a text with many of its words is about; empty where that says nothing.
        aliases: how else it may be called, each a set of words that must all be there.
        words: share of the uses of each word, within the family, that is this category's: (0, 1].
    """

    family: str
    name: str
    says: str = field(compare=False)
    texts: str = field(compare=False)
    aliases: tuple[frozenset[str], ...] = field(compare=False)
    words: Mapping[str, float] = field(compare=False)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """All categories, the more special ones first."""

    categories: tuple[Category, ...]

    @cached_property
    def _index(self) -> dict[str, dict[Category, float]]:
        index: dict[str, dict[Category, float]] = {}
        for category in self.categories:
            for word, share in category.words.items():
                index.setdefault(word, {})[category] = share
        return index

    @cached_property
    def _families(self) -> dict[str, tuple[Category, ...]]:
        names = dict.fromkeys(each.family for each in self.categories)
        return {
            name: tuple(each for each in self.categories if each.family == name) for name in names
        }

    def entries(self, word: str) -> Mapping[Category, float]:
        """Return the categories of a word and its share in each.

        A word with a capital that has entries of its own, such as the surname Stone, isn't looked
        up as the common noun.
        """
        return self._index.get(word) or self._index.get(word.lower()) or NO_ENTRIES

    def family(self, name: str) -> tuple[Category, ...]:
        """Return the categories of a family, none if there is no such family."""
        return self._families.get(name, ())


def load(path: Path) -> Lexicon:
    """Return the lexicon of a bundled world.

    Args:
        path: the world's directory, or its `lexicon.json`.

    Raises:
        JudgeError: the file isn't there or isn't a lexicon.
    """
    file = path / "lexicon.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Lexicon(tuple(map(_category, found["categories"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise JudgeError(
            f"The rule-based judge cannot read its lexicon {file}: {error!r}. Expected the "
            "categories of the bundled world's words: install the package again, or run "
            "`python -m fixtures.build --only lexicon` in the source tree."
        ) from error


def _category(row: Mapping[str, Any]) -> Category:
    return Category(
        str(row["family"]),
        str(row["name"]),
        str(row["says"]),
        str(row["texts"]),
        tuple(frozenset(alias.lower().split()) for alias in row["aliases"]),
        {str(word): float(share) for word, share in row["words"].items()},
    )
