"""One question to a judge, and the name of a question by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_sae.judge.form import Form


@dataclass(frozen=True)
class Message:
    """One turn of the conversation.

    Args:
        role: `system`, `user` or `assistant`.
        content: its text.
    """

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """One question: instructions that all of its kind share, evidence as JSON, form of the answer.

    Args:
        prompt: name and version of the prompt, such as `rate/1`.
        messages: the shared instructions first, so that providers can cache them.
        form: of the answer, an object that allows no other keys.
        max_tokens: most tokens of the answer.
    """

    prompt: str
    messages: tuple[Message, ...]
    form: Form
    max_tokens: int

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema of the answer."""
        return self.form.schema

    @property
    def document(self) -> Any:
        """The evidence, parsed from the first user message."""
        return json.loads(next(each.content for each in self.messages if each.role == "user"))

    def repaired(self, answer: str, problem: str) -> Request:
        """Return the request that shows the judge its answer and asks for a valid one."""
        ask = (
            f"This answer cannot be used: {problem}. Answer the same question again with nothing "
            "but one JSON object of the required form."
        )
        turns = (Message("assistant", answer), Message("user", ask))
        return replace(self, messages=(*self.messages, *turns))

    def canonical(self, model: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that decides the answer, as builtins."""
        return {
            "model": model,
            "parameters": dict(sorted(parameters.items())),
            "prompt": self.prompt,
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "schema": dict(self.schema),
            "max_tokens": self.max_tokens,
        }

    def key(self, model: str, parameters: Mapping[str, Any]) -> str:
        """Return the sha256 of the canonical request."""
        return digest(self.canonical(model, parameters))


def digest(canonical: Mapping[str, Any]) -> str:
    """Return the sha256 of builtins, whatever the order of their keys."""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
