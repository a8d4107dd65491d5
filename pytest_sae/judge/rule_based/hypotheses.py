"""Rules that words of a passage may follow, each of which says itself in plain English.

`parsing.parse(hypothesis.describe(), lexicon)` gives the hypothesis back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Capitalised(Hypothesis):
    """A word with a capital letter."""

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.words[index][0].isupper()

    def describe(self) -> str:
        return "words with a capital letter"


@dataclass(frozen=True)
class Numeral(Hypothesis):
    """Digits."""

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.words[index].isdecimal()

    def describe(self) -> str:
        return "numbers in digits"


@dataclass(frozen=True)
class Punctuation(Hypothesis):
    """Anything that is neither letter nor digit."""

    def holds(self, passage: Passage, index: int) -> bool:
        return not any(map(str.isalnum, passage.words[index]))

    def describe(self) -> str:
        return "punctuation marks"


@dataclass(frozen=True)
class ContentWords(Hypothesis):
    """A word that means something by itself."""

    def holds(self, passage: Passage, index: int) -> bool:
        entries = passage.lexicon.entries(passage.lowers[index])
        untelling = any(category.family in UNTELLING for category in entries)
        return passage.words[index][0].isalpha() and not untelling

    def describe(self) -> str:
        return "content words"


@dataclass(frozen=True)
class First(Hypothesis):
    """The first word of a sentence."""

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.starts(index)

    def describe(self) -> str:
        return "the first word of a sentence"


@dataclass(frozen=True)
class Last(Hypothesis):
    """The last word of a sentence."""

    def holds(self, passage: Passage, index: int) -> bool:
        return passage.ends(index)

    def describe(self) -> str:
        return "the last word of a sentence"


@dataclass(frozen=True)
class AnyWord(Hypothesis):
    """Everything."""

    def holds(self, passage: Passage, index: int) -> bool:
        return True

    def describe(self) -> str:
        return "any word"


@dataclass(frozen=True)
class After(Hypothesis):
    """The word right after one that follows another rule."""

    before: Hypothesis

    def holds(self, passage: Passage, index: int) -> bool:
        return index > 0 and self.before.holds(passage, index - 1)

    def describe(self) -> str:
        return f"words right after {self.before.describe()}"


@dataclass(frozen=True)
class Before(Hypothesis):
    """The word right before one that follows another rule."""

    after: Hypothesis

    def holds(self, passage: Passage, index: int) -> bool:
        return index + 1 < len(passage.words) and self.after.holds(passage, index + 1)

    def describe(self) -> str:
        return f"words right before {self.after.describe()}"


@dataclass(frozen=True)
class InSentenceWith(Hypothesis):
    """Any word of a sentence in which some word follows another rule."""

    sign: Hypothesis

    def holds(self, passage: Passage, index: int) -> bool:
        return any(self.sign.holds(passage, each) for each in passage.sentences[index])

    def describe(self) -> str:
        return f"all words of a sentence that contains {self.sign.describe()}"


@dataclass(frozen=True)
class Opening(Hypothesis):
    """A word that follows another rule and begins a sentence."""

    word: Hypothesis

    def holds(self, passage: Passage, index: int) -> bool:
        return self.word.holds(passage, index) and passage.starts(index)

    def describe(self) -> str:
        return f"{self.word.describe()} as the first word of a sentence"


@dataclass(frozen=True)
class Inside(Hypothesis):
    """A word that follows another rule and doesn't begin a sentence."""

    word: Hypothesis

    def holds(self, passage: Passage, index: int) -> bool:
        return self.word.holds(passage, index) and not passage.starts(index)

    def describe(self) -> str:
        return f"{self.word.describe()} inside a sentence"


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
