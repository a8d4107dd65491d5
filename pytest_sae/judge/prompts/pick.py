"""pick/1: which of two changes is the one that an explanation describes? (autointerp, intervention)

request(explanation, pairs) -> Request
read(answer, count) -> list["A" | "B"] | None
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from pytest_sae.judge.base import Answer
from pytest_sae.judge.form import Form, choice, closed
from pytest_sae.judge.prompts.compose import compose, ids
from pytest_sae.judge.request import Request

PROMPT = "pick/1"

_INSTRUCTIONS = (
    "Recognise a latent's effect from an explanation of it.",
    "You get: `explanation`, what kind of token becomes more likely when the latent is turned "
    "up; `pairs` by id, each with two lists `A` and `B` of tokens that became more likely, one "
    "of them when this latent was turned up, the other when another one was.",
    "For every pair pick the list that the explanation describes; if neither fits, the one that "
    "fits less badly.",
    'Answer with one JSON object: {"picks": {id: "A" or "B", for every id}}.',
)


def request(explanation: str, pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Request:
    """Return the question about several pairs.

    Args:
        explanation: of the latent's effect.
        pairs: the lists A and B of each, in an order that does not tell.
    """
    names = ids(len(pairs))
    listed = {
        name: {"A": list(first), "B": list(second)}
        for name, (first, second) in zip(names, pairs, strict=True)
    }
    document = {"explanation": explanation, "pairs": listed}
    return compose(PROMPT, _INSTRUCTIONS, document, _form(len(names)), 40 + 10 * len(names))


def read(answer: Answer, count: int) -> list[Literal["A", "B"]] | None:
    """Return the picks, None where the judge abstained.

    Args:
        answer: to `request`.
        count: how many pairs were asked about.

    Returns:
        (pair,) in their order, or None.
    """
    if answer.value is None:
        return None
    picks = answer.value["picks"]
    return ["A" if picks[each] == "A" else "B" for each in ids(count)]


@cache
def _form(count: int) -> Form:
    return closed({"picks": closed(dict.fromkeys(ids(count), choice("A", "B")))})
