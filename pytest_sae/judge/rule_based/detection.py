"""detect/1 and fuzz/1 by rules: where does what an explanation says hold?

detects(rule, passage) -> bool
fits_marks(rule, passage) -> bool
"""

from __future__ import annotations

from pytest_sae.judge.rule_based.hypotheses import Hypothesis
from pytest_sae.judge.rule_based.passage import Passage


def detects(rule: Hypothesis | None, passage: Passage) -> bool:
    """Return whether any word of a context follows the rule.

    Args:
        rule: what the explanation was read as, None where it says nothing that can be read.
        passage: the context.
    """
    return rule is not None and any(_holds(rule, passage))


def fits_marks(rule: Hypothesis | None, passage: Passage) -> bool:
    """Return whether most marked words follow the rule, and no larger share of the others does.

    Args:
        rule: what the explanation was read as, None where it says nothing that can be read.
        passage: the context, with its marks.
    """
    if rule is None or not any(passage.marks):
        return False
    holds = _holds(rule, passage)
    marked = _share([each for each, mark in zip(holds, passage.marks, strict=True) if mark])
    others = _share([each for each, mark in zip(holds, passage.marks, strict=True) if not mark])
    return marked > 0.5 and marked >= others


def _holds(rule: Hypothesis, passage: Passage) -> list[bool]:
    return [rule.holds(passage, index) for index in range(len(passage.words))]


def _share(holds: list[bool]) -> float:
    return sum(holds) / len(holds) if holds else 0.0
