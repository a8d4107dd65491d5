"""Spending that stops before the limit: every attempt is reserved at its upper bound first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_sae.errors import JudgeError
from pytest_sae.judge.request import Request
from pytest_sae.judge.settings import Budget

_HIDDEN = 512  # tokens that chat templates and a provider's own instructions add to a request
_PER_MESSAGE = 16


@dataclass(frozen=True)
class Amount:
    """Tokens (input and output) and US dollars."""

    tokens: int = 0
    dollars: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.dollars + other.dollars)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.dollars - other.dollars)


def most_input(request: Request) -> int:
    """Return an upper bound of the input tokens of a request, however it is sent.

    One token per UTF-8 byte: a tokenizer over bytes (or one that falls back to them) never makes
    more tokens than bytes, and which tokenizer a name such as `openai/judge` stands for is not
    known, so that counting with another one could come out too low. The schema is part of it,
    since providers put it into the prompt. English takes a quarter of this bound: what is
    reserved too much comes back when the attempt is settled.
    """
    texts = [each.content for each in request.messages]
    return most_tokens([*texts, json.dumps(dict(request.schema))]) + _HIDDEN


def most_tokens(texts: Iterable[str]) -> int:
    """Return an upper bound of the tokens of texts, each with its own marks around."""
    return sum(len(text.encode(errors="replace")) + _PER_MESSAGE for text in texts)


class Purse:
    """What is spent and what is held for attempts under way; many threads may share it.

    Args:
        budget: the limit; None for no limit.
        workers: processes that share the budget, of which this is one.
    """

    def __init__(self, budget: Budget | None, workers: int = 1) -> None:
        self._limit = (budget or Budget()).share(workers)
        self._workers = workers
        self._spent = Amount()
        self._held = Amount()
        self._changed = threading.Condition()

    @property
    def spent(self) -> Amount:
        """What attempts have cost, at their upper bound where the provider did not say."""
        return self._spent

    @property
    def in_dollars(self) -> bool:
        """Whether prices have to be known."""
        return self._limit.dollars is not None

    def reserve(self, amount: Amount) -> None:
        """Hold the upper bound of an attempt, waiting for others where that makes room.

        Raises:
            JudgeError: it would not fit even if the attempts under way cost nothing.
        """
        with self._changed:
            while not self._fits(self._spent + self._held + amount):
                if not self._fits(self._spent + amount):
                    raise JudgeError(self._exhausted(amount))
                self._changed.wait()
            self._held += amount

    def settle(self, reserved: Amount, used: Amount) -> None:
        """Give back what was reserved and spend what was used."""
        with self._changed:
            self._held -= reserved
            self._spent += used
            self._changed.notify_all()

    def _fits(self, total: Amount) -> bool:
        tokens, dollars = self._limit.tokens, self._limit.dollars
        return (tokens is None or total.tokens <= tokens) and (
            dollars is None or total.dollars <= dollars
        )

    def _exhausted(self, amount: Amount) -> str:
        limit, share = self._limit, f" for each of {self._workers} workers"
        parts = []
        if limit.tokens is not None:
            parts.append(
                f"{limit.tokens} tokens{share if self._workers > 1 else ''}: "
                f"{self._spent.tokens} tokens spent, the next request needs up to {amount.tokens}"
            )
        if limit.dollars is not None:
            parts.append(
                f"${limit.dollars:.4f}{share if self._workers > 1 else ''}: "
                f"${self._spent.dollars:.4f} spent, the next request needs up to "
                f"${amount.dollars:.4f}"
            )
        return f"judge budget of {' and '.join(parts)}. Raise --sae-judge-budget or ask for less"
