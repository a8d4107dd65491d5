"""All words of several passages in a row, and where rules hold among them.

A set of places is an integer with one bit per word, so that rules are combined quickly: the word
after another is a shift, a rule within texts about something a conjunction.

    lexical(places), contextual(places) -> {rule: where it holds}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from pytest_sae.judge.rule_based.hypotheses import (
    After,
    AnyWord,
    Before,
    Capitalised,
    ContentWords,
    First,
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
from pytest_sae.judge.rule_based.passage import Passage

Held = dict[Hypothesis, int]
Features = Callable[["Places"], Held]

LONGEST_WORD = 40  # characters; an explanation has room for a dozen
ENDINGS = range(1, 5)
BEGINNINGS = range(1, 4)


class Places:
    """The words of passages, numbered in their order.

    Args:
        passages: in any order.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """(passage,) all of its places."""
        spans: list[int] = []
        start = 0
        for passage in self.passages:
            spans.append(((1 << len(passage.words)) - 1) << start)
            start += len(passage.words)
        return tuple(spans)

    @property
    def every(self) -> int:
        """All places."""
        return _joined(self.spans)

    @cached_property
    def firsts(self) -> int:
        """The first place of each passage."""
        return _joined(span & -span for span in self.spans)

    @cached_property
    def lasts(self) -> int:
        """The last place of each passage."""
        return _joined(1 << span.bit_length() - 1 for span in self.spans if span)

    @cached_property
    def forms(self) -> Mapping[str, int]:
        """Where each word stands, capitals told apart."""
        found: dict[str, int] = {}
        place = 1
        for passage in self.passages:
            for word in passage.words:
                found[word] = found.get(word, 0) | place
                place <<= 1
        return found

    def holds(self, rule: Hypothesis) -> int:
        """Return where a rule holds, asked word by word."""
        held = [
            rule.holds(passage, index)
            for passage in self.passages
            for index in range(len(passage.words))
        ]
        return sum(1 << place for place, each in enumerate(held) if each)

    def each_form(self) -> Iterator[tuple[Passage, int]]:
        """Return every word by itself, and where it stands."""
        for word, held in self.forms.items():
            yield Passage((word,), (0,), self.passages[0].lexicon), held

    def sentences(self) -> Iterator[tuple[Passage, range, int]]:
        """Return every sentence: its passage, its place there, and its place among all words."""
        start = 0
        for passage in self.passages:
            for sentence in dict.fromkeys(passage.sentences):
                held = ((1 << len(sentence)) - 1) << start + sentence.start
                yield passage, sentence, held
            start += len(passage.words)


def lexical(places: Places) -> Held:
    """Return the rules that words follow by themselves."""
    return _collected(
        (rule, held) for form, held in places.each_form() for rule in _told_by_itself(form)
    )


def contextual(places: Places) -> Held:
    """Return the rules that words follow by themselves or by what stands around them."""
    return {**lexical(places), **_collected(_around(places)), **_collected(_wide(places))}


def _told_by_itself(form: Passage) -> Iterator[Hypothesis]:
    yield from _named(form)
    word = form.lowers[0]
    if word.isprintable():
        yield from (Suffix(word[-size:]) for size in ENDINGS if size < len(word))
        yield from (Prefix(word[:size]) for size in BEGINNINGS if size < len(word))
    yield from filter(
        lambda rule: rule.holds(form, 0),
        (*map(InCategory, form.entries[0]), Capitalised(), Punctuation(), Numeral()),
    )


def _named(form: Passage) -> Iterator[Hypothesis]:
    """Return the rules by which a neighbour is told: the word, and small classes of words."""
    if len(form.lowers[0]) <= LONGEST_WORD and form.lowers[0].isprintable():
        yield Words(frozenset([form.lowers[0]]))
    yield from (InCategory(category) for category in form.entries[0] if not category.texts)


def _around(places: Places) -> Iterator[tuple[Hypothesis, int]]:
    first, last = places.holds(First()), places.holds(Last())
    yield First(), first
    yield Last(), last
    named = _collected((rule, held) for form, held in places.each_form() for rule in _named(form))
    for rule, held in named.items():
        yield After(rule), (held & ~places.lasts) << 1
        yield Before(rule), (held & ~places.firsts) >> 1
        yield Opening(rule), held & first
        yield Inside(rule), held & ~first


def _wide(places: Places) -> Iterator[tuple[Hypothesis, int]]:
    """Return the rules that look at a whole sentence or a whole text."""
    yield AnyWord(), places.every
    content = places.holds(ContentWords())
    for passage, span in zip(places.passages, places.spans, strict=True):
        for subject in passage.subjects:
            yield InTexts(AnyWord(), subject), span
            yield InTexts(ContentWords(), subject), span & content
    for passage, sentence, held in places.sentences():
        for index in sentence:
            yield from ((InSentenceWith(sign), held) for sign in _signs(passage, index))


def _signs(passage: Passage, index: int) -> Iterator[Hypothesis]:
    """Return the rules by which a word may tell of its sentence: never by being a function word."""
    form = Passage(passage.lowers[index : index + 1], (0,), passage.lexicon)
    negations = [category for category in form.entries[0] if category.family == "negation"]
    if negations or ContentWords().holds(form, 0):
        yield from (rule for rule in _named(form) if isinstance(rule, Words))
    yield from map(InCategory, negations)


def _collected(found: Iterator[tuple[Hypothesis, int]]) -> Held:
    collected: Held = {}
    for rule, held in found:
        collected[rule] = collected.get(rule, 0) | held
    return collected


def _joined(sets: Iterator[int] | Sequence[int]) -> int:
    joined = 0
    for each in sets:
        joined |= each
    return joined
