"""rate/1 by rules: how many of the strongest marked words belong to the values of a concept.

What leads up to the marks counts too, where it always says the same (`preceding_words`).

rate(concepts, passages, promoted, lexicon) -> {"reason": ..., "ratings": ...}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_sae.judge.rule_based.hypotheses import quoted
from pytest_sae.judge.rule_based.lexicon import Category, Lexicon
from pytest_sae.judge.rule_based.passage import Passage
from pytest_sae.judge.rule_based.places import LONGEST_WORD
from pytest_sae.judge.rule_based.preceding_words import holds

STRONG = 0.5  # of the strongest mark of a context
PROMOTED = 0.2  # what promoted tokens count beside the contexts
# The least share for 1, 2, 3 and 4: distantly, some, about half, most.
SHARES = (0.05, 0.2, 0.4, 0.65)
# A word that no category has this share of is not clearly about any.
CLEAR = 0.5

# For a value that is only said before the marks: a marked word that says it speaks louder.
HELD = 3
AGAINST = 0.75  # what a word for another value counts

Concept = tuple[Category, ...]
Weighted = tuple[Mapping[Category, float], int]


def rate(
    concepts: Sequence[Mapping[str, Any]],
    passages: Sequence[Passage],
    promoted: Sequence[Passage],
    lexicon: Lexicon,
) -> dict[str, Any]:
    """Return the answer to rate/1.

    Args:
        concepts: with `name` and `values`.
        passages: the contexts.
        promoted: the promoted tokens, each by itself.
        lexicon: what is known about words.
    """
    ratings = {
        str(each["name"]): _rating(_meanings(each, lexicon), passages, promoted)
        for each in concepts
    }
    return {"reason": _reason(passages), "ratings": ratings}


def _rating(
    meanings: Sequence[Concept], passages: Sequence[Passage], promoted: Sequence[Passage]
) -> int:
    said = _level(_share(meanings, passages, promoted))
    return max(said, HELD) if holds(passages, meanings, _belongs) else said


def _meanings(concept: Mapping[str, Any], lexicon: Lexicon) -> list[Concept]:
    """Return the categories of each value, of the concept's own family if it has one."""
    said = re.findall(r"[^\W_]+", str(concept["name"]).lower())
    family: Sequence[Category] = [each for word in said for each in lexicon.family(word)]
    found = [
        _named(str(value), family) or _named(str(value), lexicon.categories)
        for value in concept["values"]
    ]
    return [each for each in found if each]


def _named(value: str, categories: Sequence[Category]) -> Concept:
    """Return the categories that a value names, such as both of `nurse or surgeon`."""
    parts = [part.strip().lower() for part in re.split(r"\bor\b|\band\b|[,/]", value)]
    return tuple(each for part in parts if part for each in _called(part, categories)[:1])


def _called(name: str, categories: Sequence[Category]) -> list[Category]:
    exact = [each for each in categories if each.name.lower() == name]
    words = frozenset(re.findall(r"[^\W_]+", name))
    return exact or [each for each in categories if words in each.aliases]


def _share(
    meanings: Sequence[Concept], passages: Sequence[Passage], promoted: Sequence[Passage]
) -> float:
    """Return how far marked and promoted words speak for one value: 0 to 1.

    Words for another value speak against: a latent of all names, male and female, is about names.
    """
    marked = [_strongest(each) for each in passages if any(each.marks)]
    tokens = [[(entries, 1) for entries in each.entries] for each in promoted]
    shares = [
        _weighed(
            _mean([_support(words, value, meanings) for words in marked]),
            [_support(words, value, meanings) for words in tokens],
        )
        for value in meanings
    ]
    return max((0.0, *shares))


def _weighed(contexts: float, tokens: Sequence[float]) -> float:
    return (1 - PROMOTED) * contexts + PROMOTED * _mean(tokens) if tokens else contexts


def _strongest(passage: Passage) -> list[Weighted]:
    """Return the entries and levels of a context's strongest marked words."""
    least = STRONG * max(passage.levels)
    pairs = zip(passage.entries, passage.levels, strict=True)
    return [(entries, level) for entries, level in pairs if level and level >= least]


def _support(words: Sequence[Weighted], value: Concept, meanings: Sequence[Concept]) -> float:
    """Return the mean of what words say for a value, less what others of them say against it."""
    total = sum(level for _, level in words)
    said = sum(level * _speaks(entries, value, meanings) for entries, level in words)
    return said / total if total else 0.0


def _speaks(
    entries: Mapping[Category, float], value: Concept, meanings: Sequence[Concept]
) -> float:
    own = _belongs(entries, value)
    most = max(_belongs(entries, each) for each in meanings)
    return own if own >= most else -AGAINST * most


def _belongs(entries: Mapping[Category, float], value: Concept) -> float:
    """Return how far a word belongs to a value: its share there over its largest in the family.

    A word that many categories of the family share is in none of them clearly.
    """
    families = {category.family for category in value}
    share = sum(entries.get(category, 0.0) for category in value)
    largest = max((s for category, s in entries.items() if category.family in families), default=0)
    return min(1.0, share / max(CLEAR, largest))


def _mean(values: Sequence[float]) -> float:
    return sum(sorted(values)) / len(values) if values else 0.0


def _level(share: float) -> int:
    return sum(share + 1e-9 >= least for least in SHARES)


def _reason(passages: Sequence[Passage]) -> str:
    weights: dict[str, int] = {}
    for passage in passages:
        for word, level in zip(passage.lowers, passage.levels, strict=True):
            if level and len(word) <= LONGEST_WORD:
                weights[word] = weights.get(word, 0) + level
    most = sorted(weights, key=lambda word: (-weights[word], word))[:8]
    return f"The strongest marked words are {quoted(most)}." if most else "Nothing is marked."
