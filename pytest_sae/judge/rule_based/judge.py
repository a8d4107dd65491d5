"""RuleBasedJudge: each prompt's document to an answer, by the rules of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pytest_sae.errors import JudgeError
from pytest_sae.judge.base import Answer, Spent
from pytest_sae.judge.request import Request
from pytest_sae.judge.rule_based.description_parser import parse
from pytest_sae.judge.rule_based.detection import detects, fits_marks
from pytest_sae.judge.rule_based.effects import explain_effects, pick
from pytest_sae.judge.rule_based.hypotheses import Hypothesis
from pytest_sae.judge.rule_based.induction import best
from pytest_sae.judge.rule_based.lexicon import Lexicon
from pytest_sae.judge.rule_based.passage import Passage, read
from pytest_sae.judge.rule_based.places import contextual
from pytest_sae.judge.rule_based.rating import rate

Document = Mapping[str, Any]
Value = dict[str, Any]
LONGEST = 400  # characters of an explanation
UNEXPLAINED = "nothing that the words have in common"


class RuleBasedJudge:
    """Answers by rules and a lexicon, without a model: at once, free, the same every time.

    Args:
        lexicon: the bundled world's words, from `lexicon.load`.
    """

    name = "rules (bundled world only)"
    kind: Literal["rules"] = "rules"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._spent = Spent()

    @property
    def spent(self) -> Spent:
        """How many requests were answered; rules cost nothing."""
        return self._spent

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the answers in the order of the requests.

        Raises:
            JudgeError: a prompt that there are no rules for.
        """
        answers = [Answer(_answers(each.prompt)(each.document, self._lexicon)) for each in requests]
        self._spent = replace(self._spent, requests=self._spent.requests + len(answers))
        return answers


def _answers(prompt: str) -> Callable[[Document, Lexicon], Value]:
    if prompt not in PROMPTS:
        raise JudgeError(
            f"The rule-based judge has no rules for the prompt {prompt!r}; it knows "
            f"{', '.join(PROMPTS)}. Use a model as judge."
        )
    return PROMPTS[prompt]


def _rate(document: Document, lexicon: Lexicon) -> Value:
    passages, promoted = _evidence(document, lexicon)
    return rate(document["concepts"], passages, promoted, lexicon)


def _explain(document: Document, lexicon: Lexicon) -> Value:
    passages, promoted = _evidence(document, lexicon)
    return {"explanation": _described(best(passages, contextual, promoted))}


def _detect(document: Document, lexicon: Lexicon) -> Value:
    return _matches(document, lexicon, detects)


def _fuzz(document: Document, lexicon: Lexicon) -> Value:
    return _matches(document, lexicon, fits_marks)


def _effect(document: Document, lexicon: Lexicon) -> Value:
    return {"explanation": _described(explain_effects(document["effects"], lexicon))}


def _pick(document: Document, lexicon: Lexicon) -> Value:
    explanation = document["explanation"]
    rule = parse(explanation, lexicon)
    picks = {
        name: pick(rule, explanation, pair["A"], pair["B"], lexicon)
        for name, pair in document["pairs"].items()
    }
    return {"picks": picks}


def _matches(
    document: Document, lexicon: Lexicon, fits: Callable[[Hypothesis | None, Passage], bool]
) -> Value:
    rule = parse(document["explanation"], lexicon)
    contexts = document["contexts"].items()
    return {"matches": {name: int(fits(rule, read(text, lexicon))) for name, text in contexts}}


def _evidence(document: Document, lexicon: Lexicon) -> tuple[list[Passage], list[Passage]]:
    contexts, promoted = document["contexts"], document["promoted"]
    return [read(text, lexicon) for text in contexts], [read(text, lexicon) for text in promoted]


def _described(rule: Hypothesis | None) -> str:
    return rule.describe()[:LONGEST] if rule else UNEXPLAINED


PROMPTS: Mapping[str, Callable[[Document, Lexicon], Value]] = {
    "rate/1": _rate,
    "explain/1": _explain,
    "detect/1": _detect,
    "fuzz/1": _fuzz,
    "effect/1": _effect,
    "pick/1": _pick,
}
