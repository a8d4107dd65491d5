"""What a model judge is asked with: plain builtins, so that they travel to workers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_sae.errors import OptionError

Mode = Literal["live", "record", "replay"]
MODES = ("live", "record", "replay")
_FORMS = (
    "200000, 200k or 2M (tokens), $1.50 or 1.5usd (dollars; a shell wants $ in single quotes), or "
    "both: 2M,$5"
)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)", re.IGNORECASE)
_SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
_LEAST = 1_000  # tokens; fewer do not hold a few questions with their answers
_NUMBER = r"\d+(?:\.\d+)?"
_TOKENS = re.compile(rf"({_NUMBER})\s*([km]?)", re.IGNORECASE)
_DOLLARS = re.compile(rf"\$\s*({_NUMBER})|({_NUMBER})\s*usd", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """The most that a run may spend on its judge.

    Args:
        tokens: input and output together, None for any number.
        dollars: US dollars by litellm's price list, None for any sum.
    """

    tokens: int | None = None
    dollars: float | None = None

    def share(self, workers: int) -> Budget:
        """Return what each of several processes may spend, so that together they keep to it."""
        return Budget(
            None if self.tokens is None else self.tokens // workers,
            None if self.dollars is None else self.dollars / workers,
        )


@dataclass(frozen=True)
class TimeLimits:
    """How long a judge is waited for, in seconds.

    Args:
        question: for one answer, with all attempts.
        run: for all answers together, in each process.
    """

    question: float = 600.0
    run: float = 14_400.0


@dataclass(frozen=True)
class JudgeSettings:
    """Which model is asked, and how.

    Args:
        model: as litellm spells it, such as `openai/gpt-4o-mini` or `hosted_vllm/name`.
        api_base: URL of a server of one's own, None for the provider's.
        budget: of the whole run, None for no limit.
        concurrency: requests under way at the same time.
        mode: `live` asks, `record` asks what is not recorded and keeps it, `replay` never asks.
        recordings: the file of recorded answers; `record` and `replay` need it.
        workers: processes among which the budget is divided.
        timeout: seconds after which an attempt counts as failed.
        limits: how long it is waited for.

    Raises:
        OptionError: a combination that cannot work.
    """

    model: str
    api_base: str | None = None
    budget: Budget | None = None
    concurrency: int = 8
    mode: Mode = "live"
    recordings: Path | None = None
    workers: int = 1
    timeout: float = 120.0
    limits: TimeLimits = TimeLimits()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise OptionError(f"judge mode {self.mode!r} is unknown: use {', '.join(MODES)}")
        if self.mode != "live" and self.recordings is None:
            raise OptionError(
                f"judge mode {self.mode!r} needs the file of recorded answers: "
                "pass --sae-judge-recordings=FILE"
            )
        if self.concurrency < 1 or self.workers < 1:
            raise OptionError(
                "a judge needs at least one request at a time and one worker, got "
                f"concurrency {self.concurrency} and {self.workers} workers"
            )


def parse_budget(text: str) -> Budget:
    """Return the budget that a text such as `200k`, `$1.50` or `2M,1.5usd` names.

    Raises:
        OptionError: it is not spelled like any of them, or names a unit twice, or nothing at all.
    """
    tokens: list[int] = []
    dollars: list[float] = []
    for part in text.split(","):
        if found := _DOLLARS.fullmatch(part.strip()):
            dollars.append(float(found[1] or found[2]))
        elif found := _TOKENS.fullmatch(part.strip()):
            tokens.append(_tokens(text, float(found[1]) * _SCALES[found[2].lower()]))
        else:
            raise OptionError(f"--sae-judge-budget={text}: expected {_FORMS}.")
    if len(tokens) > 1 or len(dollars) > 1 or 0 in [*tokens, *dollars]:
        raise OptionError(
            f"--sae-judge-budget={text} names a unit twice or a sum of nothing: expected {_FORMS}."
        )
    return Budget(tokens[0] if tokens else None, dollars[0] if dollars else None)


def _tokens(text: str, count: float) -> int:
    if 0 < count < _LEAST:
        raise OptionError(
            f"--sae-judge-budget={text} would be {count:g} tokens, and a question alone takes some "
            f"hundred. For dollars say so: '${text}' or {text}usd. Expected {_FORMS}."
        )
    return round(count)


def parse_time_limits(text: str | None) -> TimeLimits:
    """Return the limits that a text such as `90s`, `10m` or `10m,4h` names: of a question, of all.

    Args:
        text: as typed, None for the default.

    Raises:
        OptionError: it is not spelled like any of them, or is no time at all.
    """
    if text is None:
        return TimeLimits()
    found = [_TIME.fullmatch(part.strip()) for part in text.split(",")]
    times = [float(each[1]) * _SECONDS[each[2].lower()] for each in found if each]
    if not 0 < len(times) == len(found) <= 2 or min(times) <= 0:
        raise OptionError(
            f"--sae-judge-timeout={text}: expected the time for a question, and perhaps for all of "
            "a run, such as 90s, 10m or 10m,4h."
        )
    return TimeLimits(*times)
