"""The verdict: one pure, total function of a measurement, its rule and its baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_sae.gate.controls import doubt
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.plain import as_number, number

if TYPE_CHECKING:
    from pytest_sae.gate.rules import Rule
    from pytest_sae.numbers.estimate import Estimate

__all__ = [
    "GREEN",
    "RED",
    "UNDISCRIMINATING",
    "Against",
    "Verdict",
    "VerdictName",
    "as_number",
    "bounds",
    "difference",
    "headline",
    "is_red",
    "judge",
    "number",
]

VerdictName = Literal[
    "pass", "fail", "regressed", "unmeasured", "incomparable", "new", "improved", "ungated"
]
# Worst first; these fail the run, and `new` where a baseline is required to know every value.
RED: tuple[VerdictName, ...] = ("fail", "regressed", "incomparable", "unmeasured")
GREEN: tuple[VerdictName, ...] = ("pass", "improved", "ungated")
# How a metric is called that does not tell an SAE from its controls.
UNDISCRIMINATING = "not discriminating here"


@dataclass(frozen=True)
class Against:
    """What a baseline says about one measurement.

    Args:
        source: the baseline, as shown to people.
        direction: which way of the metric is better: `higher`, `lower` or `none`.
        value: its value, None where it has none.
        se: standard error of that, None where it has none.
        differs: what both were not made with alike, a sentence each; empty if comparable.
        required: whether a value that the baseline does not have fails the run (in CI).
        paired: standard error of the difference, text by text, where both say what each text adds
            to their errors; None where they have to be taken for independent.
    """

    source: str
    direction: str
    value: float | None = None
    se: float | None = None
    differs: Sequence[str] = ()
    required: bool = False
    paired: float | None = None

    def noise(self, se: float | None) -> float:
        """Return the standard error of the difference to a value with this standard error."""
        # An infinite one would let every regression pass, and NaN would compare as no difference.
        paired = as_number(self.paired)
        return self.unpaired(se) if paired is None else paired

    def unpaired(self, se: float | None) -> float:
        """Return what it would be if both were measured on other texts."""
        return math.hypot(as_number(se) or 0.0, as_number(self.se) or 0.0)

    def worse(self, value: float) -> float:
        """Return by how much a value is worse; either way, where no way is better."""
        difference = (self.value or 0.0) - value
        if self.direction == "none":
            return abs(difference)
        return difference if self.direction == "higher" else -difference


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


def is_red(verdict: str, outcome: str, required: bool = False) -> bool:
    """Whether a recorded verdict fails the run.

    An xfail declares a known failure, so it excuses `fail`; nothing excuses a metric that was not
    measured.

    Args:
        verdict: one of `VerdictName`.
        outcome: of the test.
        required: whether a value that is not in the baseline fails.
    """
    if verdict == "new":
        return required
    return verdict in RED and not (verdict == "fail" and outcome == "xfailed")


def judge(
    estimate: Estimate,
    rule: Rule | None,
    unruled: str = "no rule",
    against: Against | None = None,
    controls: Sequence[Control] = (),
) -> Verdict:
    """Judge one estimate; total: whatever the value is, there is a verdict.

    Bounds come first, then whether the value can be compared with the baseline, then whether it is
    worse by more than both the tolerance and the noise; last, and only for what would pass,
    whether the metric tells the SAE from its controls. So a better value never turns a verdict
    from green to red, as long as its direction is known.

    Args:
        estimate: the number, or why there is none.
        rule: its bounds, None where the thresholds are silent.
        unruled: what to say when there is no rule.
        against: what the baseline says, None where there is no baseline.
        controls: the same metric of what is worse by make; none were measured by default.

    Returns:
        Never green without a finite value inside the bounds, known precisely enough.
    """
    if estimate.status == "not_applicable" and estimate.value is None:
        return Verdict("ungated", f"not applicable: {estimate.reason or 'by declaration'}")
    if estimate.status == "no_data" and estimate.value is None:
        return _without_data(estimate, rule, against)
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
    se = as_number(estimate.se)
    return _believed(_gated(value, se, rule, against), doubt(value, se, controls))


def _without_data(estimate: Estimate, rule: Rule | None, against: Against | None) -> Verdict:
    """What the run has no data for is shown, and red where a rule or a baseline insists on it."""
    if rule is None or not rule.gate:
        return Verdict("ungated", f"no data: {estimate.reason}")
    before = None if against is None else as_number(against.value)
    if against is not None and before is not None:
        told = f"no data: {estimate.reason} ({against.source} has {number(before)})"
        return Verdict("unmeasured", told, "regression")
    if rule.optional:
        return Verdict("ungated", f"no data: {estimate.reason}")
    told = f"no data: {estimate.reason} ({rule.name} gates; optional = true would let it be absent)"
    return Verdict("unmeasured", told, "optional")


def _believed(verdict: Verdict, doubtful: str) -> Verdict:
    """What passed by a metric that does not discriminate has not passed."""
    if not doubtful or verdict.red or verdict.name == "ungated":
        return verdict
    return Verdict("fail", f"{UNDISCRIMINATING}: {doubtful}", "controls")


def _gated(value: float, se: float | None, rule: Rule, against: Against | None) -> Verdict:
    bounded = _bounded(value, se, rule)
    if bounded.red:
        return bounded
    if against is not None:
        return _compared(value, se, rule, against, bounded)
    # A rule about regressions alone has judged nothing yet.
    return bounded if rule.bounded else Verdict("ungated", "no baseline to compare with")


def _compared(
    value: float, se: float | None, rule: Rule, against: Against, bounded: Verdict
) -> Verdict:
    shown = number(value)
    if against.differs:
        told = f"{shown} is not comparable with {against.source}: {'; '.join(against.differs)}"
        return Verdict("incomparable", told, "regression")
    baseline = as_number(against.value)
    if baseline is None:
        told = f"{shown} is new: not in {against.source}"
        return Verdict("new", told, "regression", against.required)
    worse, allowed = against.worse(value), rule.allowed(against.direction)
    limit = allowed.limit(baseline, against.noise(se)) if allowed else math.inf
    if worse > limit:
        told = f"{_moved(value, 'regressed from', baseline)}, allowed {number(limit)}"
        return Verdict("regressed", told, "regression")
    if -worse > limit:
        return Verdict("improved", _moved(value, "improved from", baseline), "regression")
    if rule.bounded:
        return bounded
    return Verdict("pass", _moved(value, "after", baseline), "regression")


def _moved(value: float, how: str, baseline: float) -> str:
    shown = _apart(value, baseline) if value != baseline else (number(value), number(baseline))
    return f"{shown[0]} {how} {shown[1]} ({difference(value, baseline)})"


def difference(value: float, baseline: float) -> str:
    """Return how a value differs from a baseline, with its sign."""
    moved = value - baseline
    return f"{'-' if moved < 0 else '+'}{number(abs(moved))}"


def _bounded(value: float, se: float | None, rule: Rule) -> Verdict:
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
    if estimate.status in ("not_applicable", "no_data"):
        return f"declared {estimate.status.replace('_', ' ')}, but has the value {estimate.value!r}"
    if estimate.status == "ok":
        return "no value" if estimate.value is None else f"value is {_shown(estimate.value)}"
    return str(estimate.reason) or str(estimate.status)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return repr(float(value))
    return f"{type(value).__name__}, no number that can be compared"


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
