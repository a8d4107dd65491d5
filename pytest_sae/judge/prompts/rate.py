"""rate/1: how clearly is a latent about each of several concepts? (SHIFT; METRICS.md `shift`)

request(concepts, contexts, promoted) -> Request
read(answer, concepts) -> Rating | None
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pytest_sae.activations.contexts import Context
from pytest_sae.judge.base import Answer
from pytest_sae.judge.form import Form, closed, integer, sentence
from pytest_sae.judge.marking import numbered
from pytest_sae.judge.prompts.compose import compose
from pytest_sae.judge.request import Request

PROMPT = "rate/1"
HIGHEST = 4
ACCEPTED = 2

_INSTRUCTIONS = (
    "Say how clearly one latent is about each of several named concepts.",
    "You get: `concepts`, each with its name and the values it takes; `contexts`, the texts on "
    "which the latent is most active, its tokens written `<<token>>(level)` with level 1 to 10 "
    "for the strength; `promoted`, the tokens that the latent makes the model predict (may be "
    "empty). What counts is what decides where the latent fires. Usually that is what the marked "
    "tokens mean, not what else stands in the texts: where only the numbers of recipes are "
    "marked, the latent is about numbers and not about cooking. But a latent can also keep in "
    "mind what was said before: where the marked tokens themselves say nothing (full stops, "
    "common verbs) and what leads up to them has, in nearly all contexts, one and the same value "
    "of a concept, the latent is about that concept.",
    "Rate every concept by itself, with an integer:\n"
    "4: in most contexts the marked tokens, or what leads up to them, are clearly about it, and "
    "the promoted tokens do not speak against it\n"
    "3: in about half of them\n"
    "2: in some of them, clearly\n"
    "1: in a few of them, distantly\n"
    "0: in none of them\n"
    "A latent may be about none of the concepts. Words that say no more about one concept than "
    "about another, among texts in which the values of every concept come mixed, are about none.",
    'Answer with one JSON object: {"reason": one sentence on what decides, '
    '"ratings": {concept name: 0 to 4, for every concept}}.',
)


@dataclass(frozen=True)
class Concept:
    """Something that a latent can be about.

    Args:
        name: such as `gender: male or female`.
        values: that it takes, such as `male` and `female`.
    """

    name: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, column: str, *values: str) -> Concept:
        """Return the concept of a column of labels, in the words that every judge is asked in.

        Args:
            column: such as `gender`.
            values: such as `male` and `female`.
        """
        return cls(f"{column}: {' or '.join(values)}", values)


@dataclass(frozen=True)
class Rating:
    """A judge's opinion of one latent.

    Args:
        ratings: 0 (not at all) to 4 for each concept.
        reason: one sentence.
    """

    ratings: Mapping[str, int]
    reason: str

    @property
    def accepted(self) -> str | None:
        """The concept with the one highest rating, if that is 2 or more."""
        best = max(self.ratings.values(), default=0)
        found = [name for name, each in self.ratings.items() if each == best]
        return found[0] if best >= ACCEPTED and len(found) == 1 else None


def request(
    concepts: Sequence[Concept], contexts: Sequence[Context], promoted: Sequence[str]
) -> Request:
    """Return the question about one latent.

    Args:
        concepts: at least one, with different names.
        contexts: the most activating ones, strongest first.
        promoted: tokens that the latent promotes through the unembedding, strongest first.
    """
    peak = max((each.peak for each in contexts), default=0.0)
    document = {
        "concepts": [{"name": each.name, "values": list(each.values)} for each in concepts],
        "contexts": [numbered(each, peak) for each in contexts],
        "promoted": list(promoted),
    }
    form = _form(tuple(each.name for each in concepts))
    return compose(PROMPT, _INSTRUCTIONS, document, form, 200 + 20 * len(concepts))


def read(answer: Answer, concepts: Sequence[Concept]) -> Rating | None:
    """Return the rating, None where the judge abstained.

    Args:
        answer: to `request`.
        concepts: that were asked about.
    """
    if answer.value is None:
        return None
    given = answer.value["ratings"]
    return Rating({each.name: int(given[each.name]) for each in concepts}, answer.value["reason"])


@cache
def _form(concepts: tuple[str, ...]) -> Form:
    ratings = closed(dict.fromkeys(concepts, integer(HIGHEST)))
    return closed({"reason": sentence(600), "ratings": ratings})
