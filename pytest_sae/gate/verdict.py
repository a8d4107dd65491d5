"""The verdict: one pure, total function of a measurement, its rule and its baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_sae.families.registry import known, spec_of
from pytest_sae.gate.bounded import apart, bounded_by
from pytest_sae.gate.controls import doubt
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.plain import as_number, number
from pytest_sae.records.verdicts import UNDISCRIMINATING, Verdict, difference

if TYPE_CHECKING:
    from pytest_sae.gate.rules import Rule
    from pytest_sae.numbers.estimate import Estimate
    from pytest_sae.numbers.metric_spec import Direction
    from pytest_sae.records.row import Against


#: What is said of a figure that no SAE could have here, by status.
UNMEASURABLE = {"no_data": "no data", "unable": "the model cannot do this task"}


def judge(
    estimate: Estimate,
    rule: Rule | None,
    unruled: str = "no rule",
    against: Against | None = None,
    controls: Sequence[Control] = (),
    direction: Direction | None = None,
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
        direction: which way of the metric is better; a baseline has no say without it.

    Returns:
        Never green without a finite value inside the bounds, known precisely enough.

    Raises:
        ValueError: a baseline without a direction.
    """
    if against is not None and direction is None:
        raise ValueError("there is a baseline, and no direction. Expected that of the metric.")
    if estimate.status == "not_applicable" and estimate.value is None:
        return Verdict("ungated", f"not applicable: {estimate.reason or 'by declaration'}")
    if rule is not None and not _decides(rule, against):
        rule = replace(rule, gate=False)
    if estimate.status in UNMEASURABLE and estimate.value is None:
        return _without_data(estimate, rule, against)
    value = as_number(estimate.value)
    if estimate.status != "ok" or value is None:
        return _without_value(estimate, rule, unruled)
    defect = _defect(estimate, value)
    if defect:
        return Verdict("unmeasured", defect)
    if rule is None:
        return Verdict("ungated", unruled)
    if not rule.gate:
        return Verdict("ungated", rule.reason)
    judged = _gated(estimate, value, rule, against, controls, direction or "none")
    if rule.beside_baseline:
        # It says what has changed, and not what an SAE is worth: controls have no part in that.
        return judged
    return _believed(judged, doubt(value, as_number(estimate.se), controls))


def _decides(rule: Rule, against: Against | None) -> bool:
    known = against is not None and as_number(against.value) is not None
    return rule.gate and (known or not rule.beside_baseline)


def _without_value(estimate: Estimate, rule: Rule | None, unruled: str) -> Verdict:
    """What nothing asks for is shown, whatever its state; what gates has to have a value."""
    why = _why_unmeasured(estimate)
    if rule is None:
        return Verdict("ungated", f"{unruled}; {why}")
    return Verdict("unmeasured", why) if rule.gate else Verdict("ungated", f"undefined: {why}")


def _defect(estimate: Estimate, value: float) -> str:
    """Return what a value or its error cannot be, empty if both can: a defect of the metric."""
    se = estimate.se
    if se is not None and (as_number(se) is None or se < 0):
        return f"a defect of the metric: its standard error is {_shown(se)}"
    if estimate.metric not in known():
        return ""
    spec = spec_of(estimate.metric)
    # Sums of floats may end a little beyond.
    slack = 1e-6 * max(1.0, abs(value))
    low, high = spec.low, spec.high
    if (low is not None and value < low - slack) or (high is not None and value > high + slack):
        ends = f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"
        return f"a defect of the metric: {number(value)} is outside its range, {ends}"
    return ""


def _without_data(estimate: Estimate, rule: Rule | None, against: Against | None) -> Verdict:
    """What nobody could measure is shown, and red where a rule or a baseline insists on it."""
    told = f"{UNMEASURABLE[estimate.status]}: {estimate.reason}"
    if rule is None or not rule.gate:
        return Verdict("ungated", told)
    before = None if against is None else as_number(against.value)
    if against is not None and before is not None:
        return Verdict(
            "unmeasured", f"{told} ({against.source} has {number(before)})", "regression"
        )
    if rule.optional or (rule.optional is None and estimate.status == "unable"):
        return Verdict("ungated", told)
    return Verdict(
        "unmeasured",
        f"{told} ({rule.name} gates; optional = true would let it be absent)",
        "optional",
    )


def _believed(verdict: Verdict, doubtful: str) -> Verdict:
    """What passed by a metric that does not discriminate has not passed."""
    if not doubtful or verdict.red or verdict.name == "ungated":
        return verdict
    return Verdict("fail", f"{UNDISCRIMINATING}: {doubtful}", "controls")


def _gated(
    estimate: Estimate,
    value: float,
    rule: Rule,
    against: Against | None,
    controls: Sequence[Control],
    direction: Direction,
) -> Verdict:
    bounded = bounded_by(estimate, value, rule, controls, direction)
    if bounded.red:
        return bounded
    if against is not None:
        return _compared(value, as_number(estimate.se), rule, against, direction, bounded)
    # A rule about regressions alone has judged nothing yet.
    return bounded if rule.bounded else Verdict("ungated", "no baseline to compare with")


def _compared(
    value: float,
    se: float | None,
    rule: Rule,
    against: Against,
    direction: Direction,
    bounded: Verdict,
) -> Verdict:
    shown = number(value)
    if against.differs:
        told = f"{shown} is not comparable with {against.source}: {'; '.join(against.differs)}"
        return Verdict("incomparable", told, "regression")
    baseline = as_number(against.value)
    if baseline is None:
        told = f"{shown} is new: not in {against.source}"
        return Verdict("new", told, "regression", against.required)
    worse, allowed = against.worse(value, direction), rule.allowed(direction)
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
    shown = apart(value, baseline) if value != baseline else (number(value), number(baseline))
    return f"{shown[0]} {how} {shown[1]} ({difference(value, baseline)})"


def _why_unmeasured(estimate: Estimate) -> str:
    if estimate.status in ("not_applicable", *UNMEASURABLE):
        declared = estimate.status.replace("_", " ")
        return f"declared {declared}, but has the value {_shown(estimate.value)}"
    if estimate.status == "ok":
        return "no value" if estimate.value is None else f"value is {_shown(estimate.value)}"
    return str(estimate.reason) or str(estimate.status)


def _shown(value: object) -> str:
    if isinstance(value, float) or as_number(value) is not None:
        return repr(float(value))  # type: ignore[arg-type]
    return f"{type(value).__name__}, no number that can be compared"
