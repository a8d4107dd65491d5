"""When an attempt is made again, and how long is waited before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from pytest_sae.errors import JudgeError
from pytest_sae.judge.faults import AttemptError
from pytest_sae.judge.time_limit import UnansweredError

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often, and how far apart.

    Args:
        attempts: the first one included.
        base: seconds; before attempt k + 1 at most base 2^(k - 1) are waited.
        longest: seconds that are never exceeded, also where the provider asks for more.
    """

    attempts: int = 5
    base: float = 1.0
    longest: float = 60.0

    def wait(self, failed: int, retry_after: float | None, rng: Random) -> float:
        """Return the seconds to wait after so many failed attempts.

        Exponential backoff with full jitter, U(0, min(longest, base 2^(failed - 1))), so that
        requests refused together do not come back together; never less than was asked for.
        Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        jittered = rng.uniform(0, min(self.longest, self.base * 2.0 ** (failed - 1)))
        return max(jittered, min(self.longest, retry_after or 0.0))


def persist(
    attempt: Callable[[], T],
    patience: Patience,
    rng: Random,
    sleep: Callable[[float], None],
) -> tuple[T, int]:
    """Return what attempt returns at last, and how many times it failed before.

    Args:
        attempt: raises `AttemptError` if it fails.
        patience: how often and how far apart.
        rng: of the waiting times.
        sleep: waits so many seconds.

    Raises:
        JudgeError: it failed for a reason that does not pass, or too often.
    """
    failed = 0
    while True:
        try:
            return attempt(), failed
        except AttemptError as fault:
            failed += 1
            if not fault.passes:
                raise JudgeError(
                    f"the judge cannot be asked: {fault.short}: {fault.advice}"
                ) from None
            if failed >= patience.attempts:
                raise UnansweredError(
                    f"the judge gave no answer in {failed} attempts, at last: {fault.short}. "
                    "Run again later; with --sae-judge-mode=record nothing answered is asked twice"
                ) from None
            sleep(patience.wait(failed, fault.retry_after, rng))
