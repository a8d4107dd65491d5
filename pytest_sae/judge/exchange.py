"""Attempts with their price held back first, repeated with patience: chat and embeddings alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Protocol, TypeVar

from pytest_sae.errors import JudgeError
from pytest_sae.judge.budget import Amount, Purse
from pytest_sae.judge.faults import AttemptError
from pytest_sae.judge.provider import known_price
from pytest_sae.judge.recorded_answer import Usage
from pytest_sae.judge.recordings import Recordings
from pytest_sae.judge.retry import Patience, persist
from pytest_sae.judge.settings import JudgeSettings
from pytest_sae.judge.time_limit import UnansweredError, Waiting, within


class Billed(Protocol):
    """Whatever came back, with what it cost."""

    @property
    def usage(self) -> Usage | None:
        """As the provider counted, None if it did not say."""

    @property
    def cost(self) -> float | None:
        """US dollars, None if unknown."""


T = TypeVar("T", bound=Billed)


class AbandonedError(JudgeError):
    """Not asked any more, because another answer cannot be had."""


class Exchange:
    """What everybody who asks within one run shares: settings, recordings, purse, patience.

    Args:
        settings: of the run.
        patience: how often and how long failed attempts are repeated.
        rng: of the jitter; it changes when something is asked, never what.
        sleep: waits so many seconds, None to wait until `stop` at the latest.
        clock: tells the seconds that questions take.

    Raises:
        JudgeError: the recordings cannot be used.
    """

    def __init__(
        self,
        settings: JudgeSettings,
        patience: Patience | None = None,
        rng: Random | None = None,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.recordings = Recordings(settings.recordings, settings.mode)
        self.purse = Purse(settings.budget, settings.workers)
        self._patience = patience or Patience()
        self._rng = rng or Random()
        self._sleep = sleep or self._wait
        self._stopped = threading.Event()
        self._waiting = Waiting(settings.limits, clock)
        self._answered = False
        self._silent = ""

    def perform(self, model: str, most: Usage, send: Callable[[], T]) -> tuple[T, int]:
        """Return what send returns at last, and how many attempts failed before.

        Args:
            model: whose price counts.
            most: upper bound of one attempt's usage.
            send: one attempt; it raises `AttemptError`.

        Raises:
            JudgeError: refused, unreachable, silent, or out of budget or time. One that has never
                answered is not waited for again.
        """
        if self._silent:
            raise JudgeError(self._silent)
        held = self._amount(model, most)
        try:
            with self._waiting.question() as left:
                return persist(
                    lambda: self._attempt(model, held, send, left),
                    self._patience,
                    self._rng,
                    self._sleep,
                )
        except JudgeError as error:
            self.stop()  # here, before the place of this question falls to another
            if isinstance(error, UnansweredError) and not self._answered:
                self._silent = str(error)
            raise

    def stop(self) -> None:
        """Let nobody wait or begin any more: an answer is missing, so that the rest is moot."""
        self._stopped.set()

    def resume(self) -> None:
        """Allow asking again: whoever asks anew has heard of what stopped it."""
        self._stopped.clear()

    def _attempt(
        self, model: str, held: Amount, send: Callable[[], T], left: Callable[[], float]
    ) -> T:
        self.purse.reserve(held)
        used = held  # what is not known to be free counts in full
        try:
            if self._stopped.is_set():
                used = Amount()
                raise AbandonedError("asking was given up")
            result = within(min(left(), self.settings.timeout), send)
            self._answered = True
            used = self._used(model, held, result)
            return result
        except UnansweredError:
            used = Amount()  # no time was left to ask in
            raise
        except AttemptError as fault:
            used = held if fault.billed else Amount()
            raise
        finally:
            self.purse.settle(held, used)

    def _used(self, model: str, held: Amount, result: Billed) -> Amount:
        if result.usage is None:
            return held
        dollars = (
            result.cost if result.cost is not None else self._amount(model, result.usage).dollars
        )
        return Amount(result.usage.input_tokens + result.usage.output_tokens, dollars)

    def _amount(self, model: str, usage: Usage) -> Amount:
        dollars = known_price(model, usage) if self.purse.in_dollars else 0.0
        return Amount(usage.input_tokens + usage.output_tokens, dollars)

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise AbandonedError("asking was given up")
