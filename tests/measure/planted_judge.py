"""Judges that are functions of the request, and latents that fire on one word each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonschema
import numpy as np

from pytest_sae.activations.contexts import Context, LatentEvidence
from pytest_sae.judge.base import Answer, Spent
from pytest_sae.judge.request import Request
from pytest_sae.measure.explained_latents import ExplainedLatent

FILLER = [f"x{i}" for i in range(30)]


class PlantedJudge:
    """Answers by a function; None abstains. What it answers must fit the request's schema."""

    name = "planted"
    kind = "rules"

    def __init__(self, answer: Callable[[Request], Mapping[str, Any] | None]) -> None:
        self._answer = answer
        self.asked: list[Request] = []

    @property
    def spent(self) -> Spent:
        return Spent(requests=len(self.asked), input_tokens=100 * len(self.asked))

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += requests
        values = [self._answer(request) for request in requests]
        for request, value in zip(requests, values, strict=True):
            if value is not None:
                jsonschema.Draft202012Validator(dict(request.schema)).validate(value)
        return [Answer(value, "" if value else "does not say") for value in values]


def reader(request: Request) -> Mapping[str, Any]:
    """Read as somebody would who knows that every latent is one word."""
    document = request.document
    return _READS[request.prompt](document)


def constantly(answer: int) -> Callable[[Request], Mapping[str, Any]]:
    """Explain like `reader`, and say the same of every context and every pair."""

    def say(request: Request) -> Mapping[str, Any]:
        document = request.document
        if "pairs" in document:
            return {"picks": dict.fromkeys(document["pairs"], "AB"[answer])}
        if "explanation" in document:
            return {"matches": dict.fromkeys(document["contexts"], answer)}
        return reader(request)

    return say


def word_of(explanation: str) -> str:
    return explanation.split()[-1]


def _explain(document: Any) -> Mapping[str, Any]:
    marked = Counter(re.findall(r"<<(.+?)>>\(\d+\)", " ".join(document["contexts"])))
    return {"explanation": f"the word {marked.most_common(1)[0][0]}"}


def _detect(document: Any) -> Mapping[str, Any]:
    word = word_of(document["explanation"])
    texts = document["contexts"].items()
    return {"matches": {name: int(word in text.split()) for name, text in texts}}


def _fuzz(document: Any) -> Mapping[str, Any]:
    word = word_of(document["explanation"])
    marks = {name: re.findall("<<(.+?)>>", text) for name, text in document["contexts"].items()}
    return {"matches": {name: int(set(found) == {word}) for name, found in marks.items()}}


def _effect(document: Any) -> Mapping[str, Any]:
    raised = Counter(token for each in document["effects"] for token in each["raised"])
    return {"explanation": f"the word {raised.most_common(1)[0][0]}"}


def _pick(document: Any) -> Mapping[str, Any]:
    word = word_of(document["explanation"])
    pairs = document["pairs"].items()
    return {"picks": {name: "A" if word in pair["A"] else "B" for name, pair in pairs}}


_READS: dict[str, Callable[[Any], Mapping[str, Any]]] = {
    "explain/1": _explain,
    "detect/1": _detect,
    "fuzz/1": _fuzz,
    "effect/1": _effect,
    "pick/1": _pick,
}


def evidence(
    latent: int, latents: int = 12, scored: int = 20, silent: int = 10, seed: int = 0
) -> LatentEvidence:
    """A latent that fires on the word `w{latent}`; words of other latents stand anywhere."""
    rng = np.random.default_rng([seed, latent])
    others = [f"w{other}" for other in range(latents) if other != latent]

    def context(fires: bool) -> Context:
        words = [*rng.choice(FILLER, 6), *rng.choice(others, 2)]
        if fires:
            words += [f"w{latent}"] * int(rng.integers(1, 3))
        words = [str(word) for word in rng.permutation(words)]
        level = float(rng.uniform(1, 10))
        return Context(
            int(rng.integers(10**6)),
            tuple(f" {word}" for word in words),
            tuple(level if word == f"w{latent}" else 0.0 for word in words),
        )

    return LatentEvidence(
        latent,
        0.01 * (latent + 1),
        tuple(context(True) for _ in range(10)),
        tuple(context(True) for _ in range(5)),
        tuple(context(True) for _ in range(scored)),
        tuple(context(False) for _ in range(silent)),
        tuple(context(False) for _ in range(silent)),
    )


def subjects(latents: int = 12, **sizes: int) -> list[ExplainedLatent]:
    """One subject for each of some latents, two in each stratum."""
    return [ExplainedLatent(evidence(each, latents, **sizes), each // 2) for each in range(latents)]
