"""effect/1: what does a latent do to what the model says next? (autointerp, intervention)

request(effects) -> Request
read(answer) -> str | None
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.activations.steering import SteeringEffect
from pytest_sae.judge.base import Answer
from pytest_sae.judge.form import closed, sentence
from pytest_sae.judge.prompts.compose import compose
from pytest_sae.judge.request import Request

PROMPT = "effect/1"
FORM = closed({"explanation": sentence(400)})

_INSTRUCTIONS = (
    "Explain what one latent does to a language model's next word.",
    "You get `effects`: for each of several prompts, what changes in the prediction of the next "
    "token when the latent is turned up: `raised`, the tokens that become more likely, "
    "`lowered`, those that become less likely, each with the largest change first.",
    "Say what kind of token the latent makes more likely, whatever the prompt. Be concrete: "
    "quote the tokens if they are few, otherwise name what they have in common and what they "
    "mean. Leave out what single prompts explain. At most 30 words.",
    'Answer with one JSON object: {"explanation": your explanation}.',
)


def request(effects: Sequence[SteeringEffect]) -> Request:
    """Return the question about one latent.

    Args:
        effects: after several prompts.
    """
    listed = [
        {"prompt": each.prompt, "raised": list(each.raised), "lowered": list(each.lowered)}
        for each in effects
    ]
    return compose(PROMPT, _INSTRUCTIONS, {"effects": listed}, FORM, 150)


def read(answer: Answer) -> str | None:
    """Return the explanation, None where the judge abstained."""
    return None if answer.value is None else str(answer.value["explanation"]).strip()
