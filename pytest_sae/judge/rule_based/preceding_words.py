"""What leads up to the marks, for latents that fire on words which say nothing themselves.

A model keeps in mind whom a text is about; a latent of that fires on full stops and common verbs.
No marked word tells, but what was said before always has the same value.

    holds(passages, meanings) -> bool
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from pytest_sae.judge.rule_based.lexicon import Category
from pytest_sae.judge.rule_based.passage import Passage

Concept = tuple[Category, ...]
Belongs = Callable[[Mapping[Category, float], Concept], float]

SHARE = 0.9  # of the contexts that have to speak for one value
FEWEST = 5  # contexts: fewer agree by chance
ENOUGH = 1.0  # whole words for a value, before its context speaks for it


def holds(passages: Sequence[Passage], meanings: Sequence[Concept], belongs: Belongs) -> bool:
    """Whether what leads up to the strongest mark speaks for one value in nearly all contexts.

    Args:
        passages: the contexts; those without a mark are left out.
        meanings: the categories of each value of the concept.
        belongs: (entries of a word, value) to how far the word belongs to it, 0 to 1.
    """
    marked = [each for each in passages if any(each.marks)]
    votes = Counter(_vote(each, meanings, belongs) for each in marked)
    most = max((votes[value] for value in range(len(meanings))), default=0)
    return len(marked) >= FEWEST and most >= SHARE * len(marked)


def _vote(passage: Passage, meanings: Sequence[Concept], belongs: Belongs) -> int | None:
    """Return the value that a context speaks for, None if it is none or several."""
    mark = passage.levels.index(max(passage.levels))
    said = passage.entries[: mark + 1]
    weights = [sum(belongs(entries, value) for entries in said) for value in meanings]
    best = max(weights, default=0.0)
    return weights.index(best) if best >= ENOUGH and weights.count(best) == 1 else None
