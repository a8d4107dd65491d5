"""explain/1: what do the tokens on which a latent is active have in common? (autointerp)

request(contexts, promoted) -> Request
read(answer) -> str | None
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.activations.contexts import Context
from pytest_sae.judge.base import Answer
from pytest_sae.judge.form import closed, sentence
from pytest_sae.judge.marking import numbered
from pytest_sae.judge.prompts.compose import compose
from pytest_sae.judge.request import Request

PROMPT = "explain/1"
FORM = closed({"explanation": sentence(400)})

_INSTRUCTIONS = (
    "Explain when one latent is active, so that somebody who reads only your explanation can "
    "tell in new texts which tokens it is active on.",
    "You get: `contexts`, texts on which the latent is active, its tokens written "
    "`<<token>>(level)` with level 1 to 10 for the strength; `promoted`, the tokens that the "
    "latent makes the model predict (may be empty).",
    "Say what the marked tokens have in common and the others do not have: the words or parts "
    "of words themselves, their place (such as the first word of a sentence, or the word after "
    "a comma), what they mean, or the subject of the whole text. Be concrete: quote the words if "
    "they are few, name the narrowest rule that covers all marks. Do not mention latents, marks "
    "or levels. At most 30 words.",
    'Answer with one JSON object: {"explanation": your explanation}.',
)


def request(contexts: Sequence[Context], promoted: Sequence[str]) -> Request:
    """Return the question about one latent.

    Args:
        contexts: activating ones.
        promoted: tokens that the latent promotes through the unembedding, strongest first.
    """
    peak = max((each.peak for each in contexts), default=0.0)
    document = {"contexts": [numbered(each, peak) for each in contexts], "promoted": list(promoted)}
    return compose(PROMPT, _INSTRUCTIONS, document, FORM, 150)


def read(answer: Answer) -> str | None:
    """Return the explanation, None where the judge abstained."""
    return None if answer.value is None else str(answer.value["explanation"]).strip()
