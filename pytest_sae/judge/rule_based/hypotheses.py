"""Rules that words of a passage may follow, each of which says itself in plain English.

`description_parser.parse(hypothesis.describe(), lexicon)` gives the hypothesis back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_sae.judge.rule_based.lexicon import Category
from pytest_sae.judge.rule_based.passage import Passage

UNTELLING = frozenset({"function words", "negation"})


class Hypothesis(ABC):
    """Says of every word of a passage whether it follows the rule."""

    @abstractmethod
    def holds(self, passage: Passage, index: int) -> bool:
        """Return whether the word at this place follows the rule."""

    @abstractmethod
    def describe(self) -> str:
        """Return the rule in words."""


def quoted(words: Iterable[str]) -> str:
    """Return words between quotation marks that are not in them, in order."""
    return ", ".join(f'"{word}"' if "'" in word else f"'{word}'" for word in sorted(words))


@dataclass(frozen=True)
class FixedRule(Hypothesis):
    """A rule that is always said in the same words."""

    SAYS: ClassVar[str]

    def describe(self) -> str:
        return self.SAYS


@dataclass(frozen=True)
class DerivedRule(Hypothesis):
    """A rule about words that follow another rule, said between `HEAD` and `TAIL`.

    Args:
        word: the other rule.
    """

    word: Hypothesis

    HEAD: ClassVar[str] = ""
    TAIL: ClassVar[str] = ""

    def describe(self) -> str:
        return f"{self.HEAD}{self.word.describe()}{self.TAIL}"


@dataclass(frozen=True)
class Words(Hypothesis):
    """One of these words, whatever their capitals.

    Args:
        words: in lower case, at least one.
    """

    words: frozenset[str]

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.lowers[index] in self.words

    def describe(self) -> str:
        return f"the word{'s' * (len(self.words) > 1)} {quoted(self.words)}"


@dataclass(frozen=True)
class InCategory(Hypothesis):
    """A word of a category of the lexicon."""

    category: Category

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.entries[index].get(self.category, 0.0) >= 0.25

    def describe(self) -> str:
        return self.category.says


@dataclass(frozen=True)
class Suffix(Hypothesis):
    """A longer word that ends in these letters, in lower case."""

    ending: str

    def holds(self, passage: Passage, index: int) -> bool:
        word = passage.lowers[index]
        return word.endswith(self.ending) and len(word) > len(self.ending)

    def describe(self) -> str:
        return f"words ending in {quoted([self.ending])}"


@dataclass(frozen=True)
class Prefix(Hypothesis):
    """A longer word that begins with these letters, in lower case."""

    beginning: str

    def holds(self, passage: Passage, index: int) -> bool:
        word = passage.lowers[index]
        return word.startswith(self.beginning) and len(word) > len(self.beginning)

    def describe(self) -> str:
        return f"words starting with {quoted([self.beginning])}"


class Capitalised(FixedRule):
    """A word with a capital letter."""

    SAYS = "words with a capital letter"

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.words[index][0].isupper()


class Numeral(FixedRule):
    """Digits."""

    SAYS = "numbers in digits"

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.words[index].isdecimal()


class Punctuation(FixedRule):
    """Anything that is neither letter nor digit."""

    SAYS = "punctuation marks"

    def holds(self, passage: Passage, index: int) -> bool:
        return not any(map(str.isalnum, passage.words[index]))


class ContentWords(FixedRule):
    """A word that means something by itself."""

    SAYS = "content words"

    def holds(self, passage: Passage, index: int) -> bool:
        entries = passage.lexicon.entries(passage.lowers[index])
        untelling = any(category.family in UNTELLING for category in entries)
        return passage.words[index][0].isalpha() and not untelling


class First(FixedRule):
    """The first word of a sentence."""

    SAYS = "the first word of a sentence"

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.starts(index)


class Last(FixedRule):
    """The last word of a sentence."""

    SAYS = "the last word of a sentence"

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.ends(index)


class AnyWord(FixedRule):
    """Everything."""

    SAYS = "any word"

    def holds(self, passage: Passage, index: int) -> bool:
        return True


class After(DerivedRule):
    """The word right after one that follows another rule."""

    HEAD = "words right after "

    def holds(self, passage: Passage, index: int) -> bool:
        return index > 0 and self.word.holds(passage, index - 1)


class Before(DerivedRule):
    """The word right before one that follows another rule."""

    HEAD = "words right before "

    def holds(self, passage: Passage, index: int) -> bool:
        return index + 1 < len(passage.words) and self.word.holds(passage, index + 1)


class InSentenceWith(DerivedRule):
    """Any word of a sentence in which some word follows another rule."""

    HEAD = "all words of a sentence that contains "

    def holds(self, passage: Passage, index: int) -> bool:
        return any(self.word.holds(passage, each) for each in passage.sentences[index])


class Opening(DerivedRule):
    """A word that follows another rule and begins a sentence."""

    TAIL = " as the first word of a sentence"

    def holds(self, passage: Passage, index: int) -> bool:
        return self.word.holds(passage, index) and passage.starts(index)


class Inside(DerivedRule):
    """A word that follows another rule and doesn't begin a sentence."""

    TAIL = " inside a sentence"

    def holds(self, passage: Passage, index: int) -> bool:
        return self.word.holds(passage, index) and not passage.starts(index)


@dataclass(frozen=True)
class InTexts(Hypothesis):
    """A word that follows another rule, in texts about something."""

    word: Hypothesis
    subject: Category

    def holds(self, passage: Passage, index: int) -> bool:
        return self.subject in passage.subjects and self.word.holds(passage, index)

    def describe(self) -> str:
        return f"{self.word.describe()} in texts about {self.subject.texts}"


@dataclass(frozen=True)
class Either(Hypothesis):
    """A word that follows one of several rules.

    Args:
        rules: two or more, none of them an `Either`.
    """

    rules: frozenset[Hypothesis]

    def holds(self, passage: Passage, index: int) -> bool:
        return any(rule.holds(passage, index) for rule in self.rules)

    def describe(self) -> str:
        return "; or ".join(sorted(rule.describe() for rule in self.rules))
