"""The words that verdicts are told in, and which of them fail a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_sae.numbers.plain import number

VerdictName = Literal[
    "pass",
    "fail",
    "regressed",
    "undecided",
    "unmeasured",
    "incomparable",
    "new",
    "improved",
    "ungated",
]
#: Of a whole run: `incomplete` where something that must be judged was not, `partial` where the
#: user chose a part of it.
RunVerdict = Literal["pass", "fail", "incomplete", "partial", "ungated"]
# Worst first; these fail the run, and `new` where a baseline is required to know every value.
RED: tuple[VerdictName, ...] = ("fail", "regressed", "undecided", "incomparable", "unmeasured")
GREEN: tuple[VerdictName, ...] = ("pass", "improved", "ungated")
# How a metric is called that does not tell an SAE from its controls.
UNDISCRIMINATING = "not discriminating here"


@dataclass(frozen=True)
class Verdict:
    """What the gate says about one measurement.

    Args:
        name: one of `VerdictName`.
        reason: the comparison that decided, or why none could be made.
        decided_by: the key of the rule that decided, empty where none did.
        required: whether `new` fails the test.
    """

    name: VerdictName
    reason: str
    decided_by: str = ""
    required: bool = False

    @property
    def red(self) -> bool:
        """Whether it fails the test."""
        return is_red(self.name, "", self.required)


def is_red(verdict: VerdictName, outcome: str, required: bool = False) -> bool:
    """Whether a recorded verdict fails the run.

    An xfail declares a known failure, so it excuses `fail`, and a bound that is too near to tell;
    nothing excuses a metric that was not measured.

    Args:
        verdict: of the gate.
        outcome: of the test.
        required: whether a value that is not in the baseline fails.
    """
    if verdict == "new":
        return required
    return verdict in RED and not (verdict in ("fail", "undecided") and outcome == "xfailed")


def headline(sae: str, key: str, value: float | None, verdict: str, reason: str) -> str:
    """Return the complete first line: metric, value, bound or reason, SAE.

    Args:
        sae: id of the SAE.
        key: metric and setting as one word.
        value: shown where it is not gated: else the reason names it; None if there is none.
        verdict: its name; `unmeasured` and `ungated` are said in words.
        reason: of the verdict.
    """
    if verdict == "unmeasured":
        return f"{key} unmeasured: {reason} [{sae}]"
    if verdict == "ungated":
        shown = "" if value is None else f" {number(value)}"
        return f"{key}{shown} not gated: {reason} [{sae}]"
    return f"{key} {reason} [{sae}]"


def bounds(low: float | None, high: float | None) -> str:
    """Return the bounds for people: `min 0.7`, `max 5`, `20..120`.

    Args:
        low: the smallest value that is allowed, None where there is no such bound.
        high: the largest one, likewise.
    """
    if low is not None and high is not None:
        return f"{low:g}..{high:g}"
    if low is not None:
        return f"min {low:g}"
    return f"max {high:g}" if high is not None else "no bound"


def difference(value: float, baseline: float) -> str:
    """Return how a value differs from a baseline, with its sign.

    Args:
        value: of now.
        baseline: of before.
    """
    moved = value - baseline
    return f"{'-' if moved < 0 else '+'}{number(abs(moved))}"
