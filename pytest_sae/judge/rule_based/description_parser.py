"""From a description in plain English to the rule that it states.

Understands what `Hypothesis.describe` writes, and other ways to say the same: quoted words, parts
of words, places in the sentence, neighbours, categories of the lexicon by their aliases, subjects
of the text. What it doesn't understand is None.

parse(text, lexicon) -> Hypothesis | None
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_sae.judge.rule_based.hypotheses import (
    After,
    AnyWord,
    Before,
    Capitalised,
    ContentWords,
    DerivedRule,
    Either,
    First,
    FixedRule,
    Hypothesis,
    InCategory,
    InSentenceWith,
    Inside,
    InTexts,
    Last,
    Numeral,
    Opening,
    Prefix,
    Punctuation,
    Suffix,
    Words,
)
from pytest_sae.judge.rule_based.lexicon import Category, Lexicon

# No description is longer; what is cut off a longer one can't make reading slow.
LONGEST = 1000
MARKS = {
    "comma": ",",
    "colon": ":",
    "semicolon": ";",
    "period": ".",
    "full stop": ".",
    "question mark": "?",
    "exclamation mark": "!",
    "apostrophe": "'",
    "hyphen": "-",
    "dash": "-",
}
SIMPLE = {kind.SAYS: kind() for kind in FixedRule.__subclasses__()}
DERIVED = (Opening, Inside, After, Before, InSentenceWith)
_QUOTE = re.compile(
    r"(?<![^\W_])(?:'([^'\s]+|')'|\"([^\"]+?)\"|`([^`]+)`)(?![^\W_])"
    r"|\u2018([^\u2018\u2019]+)\u2019|\u201c([^\u201c\u201d]+)\u201d|\u00ab\s*([^\u00bb]+?)\s*\u00bb"
)
_SLOT = re.compile(r"\x00(\d+)\x00")
_EXAMPLES = re.compile(r",?\s*\(?\b(?:such as|for example|for instance|e\.g\.|like|including)\b.*")
_FIRST = re.compile(
    r"\b(?:first|opening|initial) words? (?:of|in)\b|\bsentence[- ]initial"
    r"|\b(?:start|starts|beginning|begin|begins|opening) (?:of )?(?:a|the|each|every|new)? ?"
    r"sentences?"
)
_LAST = re.compile(
    r"\b(?:last|final) words? (?:of|in)\b|\b(?:end|ends) (?:of )?(?:a|the|each)? ?sent"
)
_ANY = re.compile(r"\b(?:any|every|all|each) (?:words?|tokens?)\b|\beverything\b|\banything\b")
_AFTER = re.compile(
    r"\b(?:after|following|follows?|preceded by|previous (?:word|token) (?:is|was|being))\b"
)
_BEFORE = re.compile(
    r"\b(?:before|preceding|precedes?|followed by|next (?:word|token) (?:is|was|being))\b"
)
_ENDING = re.compile(r"\b(?:end(?:s|ing)? (?:in|with|on)|suffix|ending)\b")
_BEGINNING = re.compile(r"\b(?:(?:start|begin)(?:s|ning|ing)? with|prefix|first letter)\b")
_LETTERS = re.compile(r"(?:in|with|suffix|prefix)(?: the)?(?: letters?)? -?([^\W_]+)-?$")
_SENTENCE = re.compile(r"\bsentences? (?:that|which|with|containing|where)\b(?: contains?\b)?")
_TEXTS = re.compile(
    r"\b(?:texts?|passages?|documents?|articles?|contexts?|reports|paragraphs?|reviews?|news|"
    r"stories|discussions?|sentences?)\b(?: (?:is|are|that are|which are))? ?"
    r"(?:about|on|concerning|regarding|discussing|related to|of)\b"
)
_TEXT_KINDS = re.compile(r"\b(?:texts?|passages?|documents?|articles?|contexts?)\b")
_FILLING = re.compile(
    r"(?:the|an?|words?|tokens?|names?|and|or|of|pronouns?|as|well|also|both|either|[,.&/\s])*"
)


def parse(text: str, lexicon: Lexicon) -> Hypothesis | None:
    """Return the rule that a description states, None if it can't be understood.

    Args:
        text: by this judge, or by anybody.
        lexicon: the categories that it may name.
    """
    quotes: list[str] = []

    def keep(found: re.Match[str]) -> str:
        quotes.append(next(filter(None, found.groups())).strip().lower())
        return f"\x00{len(quotes) - 1}\x00"

    bare = _QUOTE.sub(keep, text[:LONGEST].replace("\x00", " "))
    return _Reader(tuple(quotes), lexicon).either(bare.strip().rstrip("."))


class _Reader:
    """Reads a text in which `\\x00n\\x00` stands for the n-th quoted word."""

    def __init__(self, quotes: Sequence[str], lexicon: Lexicon) -> None:
        self.quotes = quotes
        self.lexicon = lexicon
        self.says = {each.says.lower(): each for each in lexicon.categories}
        self.texts = {each.texts.lower(): each for each in lexicon.categories if each.texts}

    def either(self, text: str) -> Hypothesis | None:
        whole = self.exact(text)
        if whole:
            return whole
        parts = self.joined(re.split(r";(?: or)?\s|,? or (?!more\b)", text))
        rules = [self.exact(part) or self.rule(part) for part in parts]
        found = [rule for rule in rules if rule is not None]
        if len(found) < len(parts):
            whole = self.rule(text)
            return whole if whole or not found else union(found)
        return union(found)

    def joined(self, parts: Sequence[str]) -> list[str]:
        """Put parts that are nothing but quoted words behind the part that says what they are."""
        joined: list[str] = []
        for part in parts:
            alone = _FILLING.fullmatch(_SLOT.sub(" ", part).lower())
            if joined and alone and _SLOT.search(part):
                joined[-1] += f", {part}"
            elif part.strip():
                joined.append(part.strip())
        return joined

    # What `describe` writes.

    def exact(self, text: str) -> Hypothesis | None:
        text = text.strip()
        if "; or " in text:
            rules = [self.exact(part) for part in text.split("; or ")]
            found = [rule for rule in rules if rule is not None]
            return Either(frozenset(found)) if len(set(found)) == len(rules) > 1 else None
        return (
            self.simple(text)
            or self.scoped(text)
            or next(filter(None, (self.derived(text, kind) for kind in DERIVED)), None)
        )

    def simple(self, text: str) -> Hypothesis | None:
        text = text.lower()
        if text in SIMPLE:
            return SIMPLE[text]
        if text in self.says:
            return InCategory(self.says[text])
        listed = re.fullmatch(r"the words? ((?:\x00\d+\x00(?:, )?)+)", text)
        if listed:
            return Words(frozenset(self.named(listed[1])))
        part = re.fullmatch(r"words (ending in|starting with) (\x00\d+\x00)", text)
        if part:
            letters = self.named(part[2])[0]
            return Suffix(letters) if part[1] == "ending in" else Prefix(letters)
        return None

    def scoped(self, text: str) -> Hypothesis | None:
        head, _, subject = text.rpartition(" in texts about ")
        category = self.texts.get(subject.lower())
        word = self.exact(head) if head and category else None
        return InTexts(word, category) if word and category else None

    def derived(self, text: str, kind: type[DerivedRule]) -> Hypothesis | None:
        if not (text.startswith(kind.HEAD) and text.endswith(kind.TAIL)):
            return None
        inner = self.exact(text.removeprefix(kind.HEAD).removesuffix(kind.TAIL))
        return kind(inner) if inner else None

    # What others write.

    def rule(self, text: str) -> Hypothesis | None:
        """Read one rule, the outermost feature first."""
        plain = _EXAMPLES.sub("", text.lower()).strip() or text.lower()
        return (
            self.sentence(plain)
            or self.neighbour(plain)
            or self.placed(plain)
            or self.word(plain, text.lower())
        )

    def sentence(self, text: str) -> Hypothesis | None:
        found = _SENTENCE.search(text)
        sign = self.word(text[found.end() :], "") if found else None
        return InSentenceWith(sign) if sign else None

    def neighbour(self, text: str) -> Hypothesis | None:
        for pattern, make in ((_AFTER, After), (_BEFORE, Before)):
            found = pattern.search(text)
            other = self.word(text[found.end() :], "") if found else None
            if other:
                return make(other)
        return None

    def placed(self, text: str) -> Hypothesis | None:
        words = self.named(text)
        if re.search(r"\b(?:inside|within|in the middle of) (?:a |the )?sentence", text) and words:
            return Inside(Words(frozenset(words)))
        if _FIRST.search(text):
            return Opening(Words(frozenset(words))) if words else First()
        return Last() if _LAST.search(text) and not words else None

    def word(self, text: str, full: str) -> Hypothesis | None:
        """Read a kind of word; `full` still has the examples."""
        part = self.parts(text)
        if part:
            return part
        subject = self.subject(text)
        marks = [MARKS[name] for name in MARKS if re.search(rf"\b{name}s?\b", text)]
        words = self.named(text) or marks
        if words:
            named = Words(frozenset(words))
            return InTexts(named, subject) if subject else named
        if subject:
            return InTexts(AnyWord(), subject)
        return self.kind(text) or (Words(frozenset(self.named(full))) if self.named(full) else None)

    def kind(self, text: str) -> Hypothesis | None:
        category = self.category(text)
        if category:
            whole = category.texts and _TEXT_KINDS.search(text)
            return InTexts(AnyWord(), category) if whole else InCategory(category)
        if "punctuation" in text:
            return Punctuation()
        if "capital" in text or "uppercase" in text:
            return Capitalised()
        if "digit" in text:
            return Numeral()
        if "content word" in text:
            return ContentWords()
        return AnyWord() if _ANY.search(text) else None

    def parts(self, text: str) -> Hypothesis | None:
        for pattern, make in ((_ENDING, Suffix), (_BEGINNING, Prefix)):
            found = pattern.search(text)
            if found:
                plain = _LETTERS.search(text)
                letters = self.named(text[found.start() :]) or ([plain[1]] if plain else [])
                if letters:
                    return union([make(each.strip("-")) for each in letters if each.strip("-")])
        return None

    def subject(self, text: str) -> Category | None:
        found = _TEXTS.search(text)
        return self.category(_SLOT.sub(" ", text[found.end() :]), True) if found else None

    def category(self, text: str, of_texts: bool = False) -> Category | None:
        """Return the category with the longest alias in the text; the more special one of two.

        What stands before a colon says more than the examples behind it.
        """
        head, _, rest = text.partition(":")
        return self.best(head, of_texts) or self.best(rest, of_texts)

    def best(self, text: str, of_texts: bool) -> Category | None:
        said = set(re.findall(r"[^\W_]+", text))
        best: tuple[int, Category | None] = (0, None)
        for category in self.lexicon.categories:
            if category.texts or not of_texts:
                length = max((len(each) for each in category.aliases if each <= said), default=0)
                if length > best[0]:
                    best = (length, category)
        return best[1]

    def named(self, text: str) -> list[str]:
        """Return the quoted words of a part of the text."""
        return [self.quotes[int(each)] for each in _SLOT.findall(text)]


def union(rules: Sequence[Hypothesis]) -> Hypothesis | None:
    """Return the rule that any of these holds; lists of words become one list."""
    words = frozenset[str]().union(*(rule.words for rule in rules if isinstance(rule, Words)))
    flat = frozenset(
        each
        for rule in rules
        if not isinstance(rule, Words)
        for each in (rule.rules if isinstance(rule, Either) else (rule,))
    )
    every = flat | {Words(words)} if words else flat
    if not every:
        return None
    return next(iter(every)) if len(every) == 1 else Either(every)
