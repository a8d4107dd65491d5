"""detect/1 and fuzz/1: does an explanation tell where a latent is active? (autointerp)

Both scorers of Paulo et al. 2024 (arXiv 2410.13928): in which contexts, and on which tokens.

    detection(explanation, contexts) -> Request
    fuzzing(explanation, contexts, marks) -> Request
    read(answer, count) -> list[bool] | None
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pytest_sae.activations.contexts import Context
from pytest_sae.judge.base import Answer
from pytest_sae.judge.form import Form, closed, integer
from pytest_sae.judge.marking import marked, plain
from pytest_sae.judge.prompts.compose import compose, ids
from pytest_sae.judge.request import Request

DETECT = "detect/1"
FUZZ = "fuzz/1"

_ANSWER = (
    'Answer with one JSON object: {"matches": {id: 1 or 0, for every id}}. Judge every context by '
    "itself: all, some or none of them may match."
)
_DETECTION = (
    "Say in which contexts a latent is active, from an explanation of it.",
    "You get: `explanation`, when the latent is active; `contexts`, texts by id. A context "
    "matches (1) if at least one token in it is what the explanation describes, otherwise it "
    "does not (0).",
    _ANSWER,
)
_FUZZING = (
    "Say whether the right tokens are marked, from an explanation of a latent.",
    "You get: `explanation`, on which tokens the latent is active; `contexts`, texts by id, some "
    "of their tokens written `<<token>>`. A context matches (1) if the marked tokens are those "
    "that the explanation describes. It does not (0) if they are other tokens.",
    _ANSWER,
)


def detection(explanation: str, contexts: Sequence[Context]) -> Request:
    """Return the question which of the contexts activate the latent.

    Args:
        explanation: of the latent.
        contexts: activating or not, in an order that does not tell.
    """
    return _request(DETECT, _DETECTION, explanation, [plain(each) for each in contexts])


def fuzzing(
    explanation: str, contexts: Sequence[Context], marks: Sequence[Sequence[bool]]
) -> Request:
    """Return the question in which of the contexts the right tokens are marked.

    Args:
        explanation: of the latent.
        contexts: in an order that does not tell.
        marks: (context, token) which tokens are shown as marked.
    """
    written = [marked(each, which) for each, which in zip(contexts, marks, strict=True)]
    return _request(FUZZ, _FUZZING, explanation, written)


def read(answer: Answer, count: int) -> list[bool] | None:
    """Return which of the contexts match, None where the judge abstained.

    Args:
        answer: to `detection` or `fuzzing`.
        count: how many contexts were asked about.

    Returns:
        (context,) in their order, or None.
    """
    if answer.value is None:
        return None
    return [bool(answer.value["matches"][each]) for each in ids(count)]


def _request(
    prompt: str, instructions: Sequence[str], explanation: str, written: Sequence[str]
) -> Request:
    names = ids(len(written))
    document = {"explanation": explanation, "contexts": dict(zip(names, written, strict=True))}
    return compose(prompt, instructions, document, _form(len(names)), 40 + 10 * len(names))


@cache
def _form(count: int) -> Form:
    return closed({"matches": closed(dict.fromkeys(ids(count), integer(1)))})
