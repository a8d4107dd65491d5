"""The gate applied again to what reports hold: by `merge`, by `compare`, by whoever doubts one."""

from __future__ import annotations

from dataclasses import replace

from pytest_sae.gate.rules import Regression, Rule
from pytest_sae.gate.verdict import Against, Verdict, judge
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.row import (
    Row,
    against_of,
    baseline_row,
    control_row,
    controls_of,
    is_declined,
    rule_row,
)


def rejudged(row: Row) -> Row:
    """Return a row with the verdict that its value, its rule and its baseline give.

    A verdict that a report only claims does not survive: what has no value, or was skipped after
    judging, is never green.
    """
    against = against_of(row) if row["baseline"] else None
    verdict = _verdict(row, rule_of(row), against, row["reason"])
    return {**row, **_held(row), "verdict": verdict.name, "reason": verdict.reason}


def rejudged_against(row: Row, against: Against | None, rule: Rule | None, unruled: str) -> Row:
    """Return a row judged by another rule and against another baseline.

    Args:
        row: of a report.
        against: what a baseline says about it.
        rule: to judge it by.
        unruled: what to say where there is none.
    """
    verdict = _verdict(row, rule, against, unruled)
    return {
        **row,
        **_held(row),
        "verdict": verdict.name,
        "reason": verdict.reason,
        "rule": rule_row(rule, row["direction"], verdict.decided_by),
        "baseline": baseline_row(against),
    }


def _verdict(row: Row, rule: Rule | None, against: Against | None, unruled: str) -> Verdict:
    if row["verdict"] == "unmeasured" and row["outcome"] == "skipped":
        return Verdict("unmeasured", row["reason"])
    if row["status"] == "no_data":
        missing = row["reason"].removeprefix("no data: ").partition(" (")[0]
        return judge(replace(estimate_of(row), reason=missing), rule, unruled, against)
    if is_declined(row):
        return Verdict("ungated", row["reason"])
    if row["value"] is None:
        shown = row["verdict"] == "ungated" and rule is not None and not rule.gate
        reason = row["reason"] if row["verdict"] in ("ungated", "unmeasured") else "no value"
        return Verdict("ungated" if shown else "unmeasured", reason)
    return judge(estimate_of(row), rule, unruled, against, controls_of(row))


def _held(row: Row) -> Row:
    """Return the controls with what the gate says of them, whatever the report claims."""
    controls = controls_of(row)
    return {"controls": [control_row(each, row["value"], row["se"]) for each in controls]}


def estimate_of(row: Row) -> Estimate:
    """Return what was measured, as the gate takes it."""
    return Estimate(row["metric"], row["value"], row["params"], row["se"], status=row["status"])


def rule_of(row: Row) -> Rule | None:
    """Return the rule that a row was judged by; of its lines only that which decided."""
    rule = row["rule"]
    if rule is None:
        return None
    told = {name: value for name, value in rule.items() if name not in ("regression", "line")}
    regression = Regression(**rule["regression"]) if rule["regression"] else None
    return Rule(**told, regression=regression, lines={"": rule["line"]})
