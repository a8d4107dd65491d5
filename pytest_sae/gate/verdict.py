"""The verdict: one pure, total function from a measurement and a rule to pass or fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest_sae.gate.bounds import Rule
    from pytest_sae.stats import Estimate

VerdictName = Literal[
    "pass", "fail", "regressed", "unmeasured", "incomparable", "new", "improved", "ungated"
]
# Worst first; these fail the run.
RED: tuple[VerdictName, ...] = ("fail", "regressed", "incomparable", "unmeasured")


@dataclass(frozen=True)
class Verdict:
    """What the gate says about one measurement.

    Args:
        name: one of `VerdictName`.
        reason: the comparison that decided, or why none could be made.
        decided_by: the key of the rule that decided, empty where none did.
    """

    name: VerdictName
    reason: str
    decided_by: str = ""

    @property
    def red(self) -> bool:
        """Whether it fails the test."""
        return self.name in RED


def is_red(verdict: str, outcome: str) -> bool:
    """Whether a recorded verdict fails the run.

    An xfail declares a known failure, so it excuses `fail`; nothing excuses a metric that was not
    measured.
    """
    return verdict in RED and not (verdict == "fail" and outcome == "xfailed")


def judge(estimate: Estimate, rule: Rule | None, unruled: str = "no rule") -> Verdict:
    """Judge one estimate; total: whatever the value is, there is a verdict.

    Args:
        estimate: the number, or why there is none.
        rule: its bounds, None where the thresholds are silent.
        unruled: what to say when there is no rule.

    Returns:
        Never green without a finite value inside the bounds, known precisely enough.
    """
    if estimate.status == "not_applicable" and estimate.value is None:
        return Verdict("ungated", f"not applicable: {estimate.reason or 'by declaration'}")
    value = as_number(estimate.value)
    if estimate.status == "undefined" and estimate.reason and rule is not None and not rule.gate:
        # Somebody has declared that this metric decides nothing: it is shown, and not red.
        return Verdict("ungated", f"undefined: {estimate.reason}")
    if estimate.status != "ok" or value is None:
        return Verdict("unmeasured", _why_unmeasured(estimate))
    if rule is None:
        return Verdict("ungated", unruled)
    if not rule.gate:
        return Verdict("ungated", rule.reason)
    return _compare(value, as_number(estimate.se), rule)


def _compare(value: float, se: float | None, rule: Rule) -> Verdict:
    # Written as `not (value >= min)`: a comparison with NaN is false, and must not pass.
    if rule.min is not None and not value >= rule.min:
        return Verdict("fail", "{} < min {}".format(*_apart(value, rule.min)), "min")
    if rule.max is not None and not value <= rule.max:
        return Verdict("fail", "{} > max {}".format(*_apart(value, rule.max)), "max")
    if rule.max_se is not None and not (se is not None and 0 <= se <= rule.max_se):
        return Verdict("unmeasured", _imprecise(se, rule.max_se), "max_se")
    return Verdict("pass", _within(value, rule.min, rule.max))


def _imprecise(se: float | None, most: float) -> str:
    if se is None or se < 0:
        return f"not precise enough: no standard error, max_se {number(most)}"
    return "not precise enough: standard error {} > max_se {}".format(*_apart(se, most))


def _within(value: float, low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{number(value)} in {bounds(low, high)}"
    if low is None and high is None:
        return f"{number(value)} precise enough"
    return f"{number(value)} {'>=' if high is None else '<='} {bounds(low, high)}"


def _why_unmeasured(estimate: Estimate) -> str:
    if estimate.status == "not_applicable":
        return f"declared not applicable, but has the value {estimate.value!r}"
    if estimate.status == "ok":
        return "no value" if estimate.value is None else f"value is {_shown(estimate.value)}"
    return str(estimate.reason) or str(estimate.status)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return repr(float(value))
    return f"{type(value).__name__}, no number that can be compared"


def as_number(value: object) -> float | None:
    """Return a finite float, None for everything that is none (NaN, inf, bool, text, None)."""
    if value is True or value is False or not isinstance(value, Real):
        return None
    try:
        result = float(value)
    except (OverflowError, ValueError, TypeError):
        return None
    return result if math.isfinite(result) else None


def number(value: float) -> str:
    """Return a number for people: four decimals, or four digits where those say nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def bounds(low: float | None, high: float | None) -> str:
    """Return the bounds for people: `min 0.7`, `max 5`, `20..120`."""
    if low is not None and high is not None:
        return f"{low:g}..{high:g}"
    if low is not None:
        return f"min {low:g}"
    return f"max {high:g}" if high is not None else "no bound"


def headline(sae: str, key: str, value: float | None, verdict: str, reason: str) -> str:
    """Return the complete first line: metric, value, bound or reason, SAE."""
    if verdict == "unmeasured":
        return f"{key} unmeasured: {reason} [{sae}]"
    if verdict == "ungated":
        shown = "" if value is None else f" {number(value)}"
        return f"{key}{shown} not gated: {reason} [{sae}]"
    return f"{key} {reason} [{sae}]"


def _apart(value: float, bound: float) -> tuple[str, str]:
    # A miss by less than the shown digits would read `0.7000 < min 0.7000`.
    shown = number(value), number(bound)
    return shown if shown[0] != shown[1] else (repr(value), repr(bound))
