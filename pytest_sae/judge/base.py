"""The Judge protocol: answers questions about latents; a model, or the bundled world's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pytest_sae.judge.request import Request


@dataclass(frozen=True)
class Answer:
    """What a judge said to one request.

    Args:
        value: the answer, valid by the request's schema; None where the judge abstained.
        problem: why there is no value, empty otherwise.
    """

    value: Mapping[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Spent:
    """What asking has cost so far.

    Args:
        requests: answered requests, repairs included.
        repaired: requests that were asked a second time for a valid answer.
        abstained: requests without a valid answer in the end.
        retries: attempts that failed for a reason that passes (429, a timeout, a 5xx).
        replayed: answers that came from recordings.
        input_tokens: as the provider counted them.
        output_tokens: as the provider counted them.
        cost: US dollars, None where the model's price is unknown.
    """

    requests: int = 0
    repaired: int = 0
    abstained: int = 0
    retries: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0


class Judge(Protocol):
    """Answers requests; which of them are asked together or in which order changes no answer."""

    @property
    def name(self) -> str:
        """As reports show it."""

    @property
    def kind(self) -> Literal["rules", "model"]:
        """`rules` for the stand-in of the bundled world, `model` for a language model."""

    @property
    def spent(self) -> Spent:
        """What was asked so far."""

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the answers in the order of the requests.

        Raises:
            JudgeError: no answer can be had: refused, unreachable, out of budget, not recorded.
        """
