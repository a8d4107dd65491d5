"""How long a judge is waited for: at most so long for a question, and for all of a run's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TypeVar

from pytest_sae.errors import JudgeError
from pytest_sae.judge.faults import AttemptError
from pytest_sae.judge.settings import TimeLimits

T = TypeVar("T")


class UnansweredError(JudgeError):
    """The judge gave no answer in time, or in as many attempts as are made."""


class Waiting:
    """The time that questions have taken; many threads may share it.

    Args:
        limits: of a question and of the run.
        clock: tells the seconds.
    """

    def __init__(self, limits: TimeLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._asking = 0
        self._since = 0.0
        self._before = 0.0

    @contextmanager
    def question(self) -> Iterator[Callable[[], float]]:
        """Count the time until the end; give what tells the seconds that are left of it.

        Questions that are under way together take the run's time once.
        """
        began = self._clock()
        with self._lock:
            self._since = self._since if self._asking else began
            self._asking += 1
        try:
            yield lambda: self._left(began)
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    self._before += self._clock() - self._since

    def _left(self, began: float) -> float:
        now = self._clock()
        of_run = self._limits.run - self._before - (now - self._since)
        of_question = self._limits.question - (now - began)
        if of_run <= 0:
            raise UnansweredError(
                f"judging took {told(self._limits.run)} in this process, the most that it may take "
                "(--sae-judge-timeout=QUESTION,RUN): raise it, or ask for less"
            )
        if of_question <= 0:
            raise UnansweredError(
                f"the judge gave no answer in {told(self._limits.question)} "
                "(--sae-judge-timeout=QUESTION,RUN): raise it, or look at its server"
            )
        return min(of_run, of_question)


def within(seconds: float, attempt: Callable[[], T]) -> T:
    """Return what an attempt returns, unless it takes longer.

    A timeout of the connection begins anew with every byte that arrives, so that a server that
    sends one now and then would hold it for ever. The attempt runs in a thread that nobody waits
    for in the end.

    Args:
        seconds: that it may take.
        attempt: what is done.

    Raises:
        AttemptError: it takes longer.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(attempt())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="judge attempt").start()
    if not wait([future], seconds).done:
        raise AttemptError(f"no answer within {seconds:g} s", passes=True, billed=True)
    return future.result()


def told(seconds: float) -> str:
    """Return a time for people: `90 s`, `10 min`, `4 h`."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
