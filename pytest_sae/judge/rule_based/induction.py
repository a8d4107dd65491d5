"""From marked words to the rule that tells them best from the others.

A rule is scored by the harmonic mean of precision (share of the words it holds for that are marked)
and recall (share of the marks' levels that it holds for), less a price for what makes it long or
unlikely.

best(passages, features, promoted) -> Hypothesis | None
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_sae.judge.rule_based.hypotheses import (
    After,
    AnyWord,
    Before,
    Capitalised,
    ContentWords,
    DerivedRule,
    Either,
    Hypothesis,
    InCategory,
    InSentenceWith,
    Inside,
    InTexts,
    Opening,
    Prefix,
    Suffix,
    Words,
)
from pytest_sae.judge.rule_based.lexicon import Category
from pytest_sae.judge.rule_based.passage import Passage
from pytest_sae.judge.rule_based.places import Features, Places

MOST_WORDS = 12
WORTH = 0.015  # what a word more has to bring
UNION_WORTH = 0.06
FAMILIAR = 0.03  # for a rule that all promoted tokens follow
MISSED = 0.08  # for a category of whose words far fewer are marked than chance would have it
SHARED = 0.9  # share of the contexts whose subject is taken for part of the rule

# A rule of this kind has to separate better than its rivals by this much.
PRICES: dict[type[Hypothesis], float] = {
    AnyWord: 0.1,
    Suffix: 0.06,
    Prefix: 0.06,
    Capitalised: 0.02,
    ContentWords: 0.08,
    After: 0.02,
    Before: 0.03,
    InSentenceWith: 0.05,
    InTexts: -0.04,
    Opening: 0.02,
    Inside: 0.03,
}
# Subjects that so many texts have that they say little.
VAGUE = {"kind": 0.06, "gender": 0.04, "field": 0.02}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is marked, and how well rules separate it from the rest.

    Args:
        places: all words of the contexts.
        promoted: words by themselves, weak evidence.
    """

    places: Places
    promoted: Sequence[Passage]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """(place,) words in lower case."""
        return tuple(word for passage in self.places.passages for word in passage.lowers)

    @cached_property
    def by_level(self) -> tuple[int, ...]:
        """(level,) the places that are marked with at least this level, from 1 to 10."""
        levels = [level for passage in self.places.passages for level in passage.levels]
        return tuple(
            sum(1 << place for place, level in enumerate(levels) if level >= least)
            for least in range(1, 11)
        )

    @property
    def marked(self) -> int:
        """The places with any mark."""
        return self.by_level[0]

    def weight(self, places: int) -> int:
        """Return the sum of the levels of some places."""
        return sum((places & marked).bit_count() for marked in self.by_level)

    @cached_property
    def total(self) -> int:
        """The sum of all levels."""
        return self.weight(self.marked)

    def separation(self, places: int) -> float:
        """Return the harmonic mean of precision and recall of a rule that holds there."""
        hits = (places & self.marked).bit_count()
        if not hits:
            return 0.0
        precision, recall = hits / places.bit_count(), self.weight(places) / self.total
        return 2 * precision * recall / (precision + recall)

    def score(self, rule: Hypothesis, places: int) -> float:
        """Return how good an explanation a rule is; rounded, so that equals are equal."""
        extra = FAMILIAR * self.familiar(rule) - MISSED * self.missed(rule, places)
        return round(self.separation(places) - _price(rule) + extra, 9)

    def missed(self, rule: Hypothesis, places: int) -> float:
        """Return the share of a category's words that so many marks should have shown but didn't.

        n marks on N equally likely words show N (1 - (1 - 1/N)^n) different ones.
        """
        if isinstance(rule, Inside | Opening):
            return self.missed(rule.word, places)
        if not isinstance(rule, InCategory):
            return 0.0
        size, marks = len(rule.category.words), (places & self.marked).bit_count()
        expected = size * (1 - (1 - 1 / size) ** marks)
        return max(0.0, 1 - self.variety(places) / expected)

    def familiar(self, rule: Hypothesis) -> float:
        """Return the share of the promoted tokens that follow a rule."""
        hits = sum(
            any(rule.holds(each, index) for index in range(len(each.words)))
            for each in self.promoted
        )
        return hits / len(self.promoted) if self.promoted else 0.0

    def variety(self, places: int) -> int:
        """Return how many different words are marked in some places."""
        places &= self.marked
        return len({word for index, word in enumerate(self.words) if places >> index & 1})


Scored = tuple[float, Hypothesis, int]
# Kinds of rules that list words, and how each is made of them.
LISTS: dict[type[Hypothesis], Callable[[Words], Hypothesis]] = {
    Words: lambda words: words,
    After: After,
    Before: Before,
    InSentenceWith: InSentenceWith,
}


def best(
    passages: Sequence[Passage], features: Features, promoted: Sequence[Passage] = ()
) -> Hypothesis | None:
    """Return the rule that tells marked words best from the others; None if nothing is marked.

    Args:
        passages: with marks; their order changes nothing.
        features: the kind of rules that are considered.
        promoted: tokens that the latent promotes, weak evidence.
    """
    places = Places(passages)
    evidence = Evidence(places, promoted)
    rules = {rule: held for rule, held in features(places).items() if held & evidence.marked}
    singles = _ranked(evidence, _borne_out(evidence, rules))
    if not singles:
        return None
    lists = [_grown(evidence, singles, kind) for kind in LISTS]
    ranked = _ranked(evidence, {rule: held for _, rule, held in (*singles[:12], *lists) if held})
    return _narrowed(passages, _united(evidence, ranked)[1])


def _price(rule: Hypothesis) -> float:
    if isinstance(rule, Either):
        return UNION_WORTH * (len(rule.rules) - 1) + sum(map(_price, rule.rules))
    return PRICES.get(type(rule), 0.0) + _detail(rule)


def _detail(rule: Hypothesis) -> float:
    """Return the price of a long list, of few letters, or of a vague subject."""
    if isinstance(rule, Suffix | Prefix):
        return -0.002 * len(rule.describe())
    if isinstance(rule, InTexts):
        return VAGUE.get(rule.subject.family, 0.0) + _price(rule.word)
    if isinstance(rule, Inside | Opening):
        return _detail(rule.word)
    return WORTH * max(0, len(_words_in(rule)) - 1)


def _words_in(rule: Hypothesis) -> frozenset[str]:
    return next(filter(None, (_listed(rule, kind) for kind in LISTS)), frozenset())


def _borne_out(evidence: Evidence, rules: Mapping[Hypothesis, int]) -> dict[Hypothesis, int]:
    """Leave out parts of words that only one or two words have."""
    return {
        rule: held
        for rule, held in rules.items()
        if not isinstance(rule, Suffix | Prefix)
        or (evidence.separation(held) > 0.2 and evidence.variety(held) >= 3)
    }


def _ranked(evidence: Evidence, rules: Mapping[Hypothesis, int]) -> list[Scored]:
    """Return the most promising rules, best first, in an order that depends on them alone."""
    rough = sorted(
        ((evidence.separation(bits) - _price(rule), rule, bits) for rule, bits in rules.items()),
        key=lambda each: -each[0],
    )
    least = rough[min(len(rough), 60) - 1][0] - FAMILIAR if rough else 0.0
    scored = [(evidence.score(rule, bits), rule, bits) for r, rule, bits in rough if r >= least]
    return sorted(scored, key=lambda each: (-each[0], each[1].describe()))


def _listed(rule: Hypothesis, kind: type[Hypothesis]) -> frozenset[str]:
    """Return the words that a rule of a kind lists; none if it is of another."""
    named = rule.word if isinstance(rule, DerivedRule) else rule
    return named.words if type(rule) is kind and isinstance(named, Words) else frozenset()


def _grown(evidence: Evidence, singles: Sequence[Scored], kind: type[Hypothesis]) -> Scored:
    """Return the best list of words of a kind, the most helpful word first."""
    best: Scored = (float("-inf"), AnyWord(), 0)
    words: frozenset[str] = frozenset()
    for _, rule, bits in singles:
        found = _listed(rule, kind)
        if found and len(words) < MOST_WORDS:
            longer, union = LISTS[kind](Words(words | found)), best[2] | bits
            score = evidence.score(longer, union)
            if score > best[0]:
                best, words = (score, longer, union), words | found
    return best


def _united(evidence: Evidence, ranked: Sequence[Scored]) -> Scored:
    """Return the best rule, or two that are better together by what a union has to bring."""
    winner = ranked[0]
    few = [each for each in ranked[:10] if not isinstance(each[1], AnyWord)]
    for place, (_, one, left) in enumerate(few):
        for _, other, right in few[place + 1 :]:
            if left | right not in (left, right):
                rule = Either(frozenset([one, other]))
                score = evidence.score(rule, left | right)
                if (-score, rule.describe()) < (-winner[0], winner[1].describe()):
                    winner = (score, rule, left | right)
    return winner


def _narrowed(passages: Sequence[Passage], rule: Hypothesis) -> Hypothesis:
    """Add the subject that the texts share, to a rule that does not speak of any subject itself."""
    if isinstance(rule, Either | InTexts | InCategory | InSentenceWith) or _speaks(passages, rule):
        return rule
    marked = [each for each in passages if any(each.marks)]
    for subject in _shared(marked):
        return InTexts(rule, subject)
    return rule


def _speaks(passages: Sequence[Passage], rule: Hypothesis) -> bool:
    """Return whether most words that follow the rule have a subject of their own."""
    told = [
        any(category.texts and category.family != "kind" for category in passage.entries[index])
        for passage in passages
        for index in range(len(passage.words))
        if passage.marks[index] and rule.holds(passage, index)
    ]
    return sum(told) > len(told) / 2


def _shared(passages: Sequence[Passage]) -> Iterable[Category]:
    """Return the subjects of nearly all texts, the more special ones first."""
    if len(passages) < 5:
        return []
    counts: dict[Category, int] = {}
    for passage in passages:
        for subject in passage.subjects_around:
            counts[subject] = counts.get(subject, 0) + 1
    order = passages[0].lexicon.categories
    return [each for each in order if counts.get(each, 0) >= SHARED * len(passages)]
