"""effect/1 and pick/1 by rules: what the tokens have in common that a latent makes more likely.

explain_effects(effects, lexicon) -> Hypothesis | None
pick(rule, explanation, first, second, lexicon) -> "A" | "B"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pytest_sae.judge.marking import unmark
from pytest_sae.judge.rule_based.hypotheses import Either, Hypothesis, InCategory, InTexts
from pytest_sae.judge.rule_based.induction import best
from pytest_sae.judge.rule_based.lexicon import Lexicon
from pytest_sae.judge.rule_based.passage import Passage, read
from pytest_sae.judge.rule_based.places import lexical

RAISED = 10  # the level at which a raised token counts as marked


def explain_effects(effects: Sequence[Mapping[str, Any]], lexicon: Lexicon) -> Hypothesis | None:
    """Return the rule that tells raised tokens best from lowered ones.

    Args:
        effects: with `raised` and `lowered` tokens.
        lexicon: what is known about words.
    """
    tokens = [
        _token(str(token), level, lexicon)
        for effect in effects
        for name, level in (("raised", RAISED), ("lowered", 0))
        for token in effect[name]
    ]
    return best(tokens, lexical)


def pick(
    rule: Hypothesis | None,
    explanation: str,
    first: Sequence[str],
    second: Sequence[str],
    lexicon: Lexicon,
) -> Literal["A", "B"]:
    """Return the list whose tokens fit the explanation better, `A` if both fit as well.

    Args:
        rule: what the explanation states, None if it can't be understood.
        explanation: whose own words decide where the rule doesn't.
        first: the tokens of A.
        second: the tokens of B.
        lexicon: what is known about words.
    """
    said = frozenset(word.lower() for word in unmark(explanation)[0])
    left, right = (_fit(rule, said, tokens, lexicon) for tokens in (first, second))
    return "B" if right > left else "A"


def _fit(
    rule: Hypothesis | None, said: frozenset[str], tokens: Sequence[str], lexicon: Lexicon
) -> tuple[float, float]:
    words = [read(str(token), lexicon) for token in tokens]
    if not words:
        return 0.0, 0.0
    follows = sum(_follows(rule, word) for word in words) if rule else 0.0
    mentioned = sum(any(lower in said for lower in word.lowers) for word in words)
    return round(follows / len(words), 9), mentioned / len(words)


def _follows(rule: Hypothesis, word: Passage) -> float:
    """Return how well a token by itself fits; one that is about a subject fits texts about it."""
    if isinstance(rule, Either):
        return max(_follows(each, word) for each in rule.rules)
    if isinstance(rule, InTexts):
        about = max((each.get(rule.subject, 0.0) for each in word.entries), default=0.0)
        return about + 0.5 * _follows(rule.word, word)
    if isinstance(rule, InCategory):
        return max((each.get(rule.category, 0.0) for each in word.entries), default=0.0)
    return float(any(rule.holds(word, index) for index in range(len(word.words))))


def _token(token: str, level: int, lexicon: Lexicon) -> Passage:
    words = read(token, lexicon).words
    return Passage(words, (level,) * len(words), lexicon)
