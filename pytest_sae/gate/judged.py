"""Rows as the gate has judged them: of a measurement, and again by `merge` and `compare`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_sae.gate.controls import holds
from pytest_sae.gate.rules import Rule
from pytest_sae.gate.verdict import UNMEASURABLE, judge
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_sae.records.row import Against, JudgedControl, Row


def judged(
    row: Row, verdict: Verdict, rule: Rule | None = None, against: Against | None = None
) -> Row:
    """Return a row with what the gate says of it, and of its controls.

    Args:
        row: of what was measured.
        verdict: of the gate.
        rule: that it was judged by.
        against: what it was compared with.
    """
    lost = row.value is None and row.status == "ok"
    return replace(
        row,
        status="undefined" if lost else row.status,
        verdict=verdict.name,
        reason=verdict.reason,
        rule=rule.applied(row.direction, verdict.decided_by) if rule else None,
        baseline=against,
        controls=tuple(_held(each, row) for each in row.controls),
    )


def _held(control: JudgedControl, row: Row) -> JudgedControl:
    lost = control.value is None and control.status == "ok"
    return replace(
        control,
        holds=holds(row.value, row.se, control),
        status="undefined" if lost else control.status,
    )


def rejudged(row: Row) -> Row:
    """Return a row with the verdict that its value, its rule and its baseline give.

    A verdict that a report only claims does not survive: what has no value, or was skipped after
    judging, is never green.
    """
    again = rejudged_against(row, row.baseline, rule_of(row), row.reason)
    return replace(again, rule=row.rule)


def rejudged_against(row: Row, against: Against | None, rule: Rule | None, unruled: str) -> Row:
    """Return a row judged by another rule and against another baseline.

    Args:
        row: of a report.
        against: what a baseline says about it.
        rule: to judge it by.
        unruled: what to say where there is none.
    """
    return judged(row, _verdict(row, rule, against, unruled), rule, against)


def _verdict(row: Row, rule: Rule | None, against: Against | None, unruled: str) -> Verdict:
    if row.verdict == "unmeasured" and row.outcome == "skipped":
        return Verdict("unmeasured", row.reason)
    if row.status in UNMEASURABLE:
        missing = row.reason.removeprefix(f"{UNMEASURABLE[row.status]}: ")
        # What is red says last, in brackets, who insists on it.
        missing = missing.rpartition(" (")[0] if row.red else missing
        estimate = replace(estimate_of(row), reason=missing)
        return judge(estimate, rule, unruled, against, direction=row.direction)
    if row.declined:
        return Verdict("ungated", row.reason)
    if row.value is None:
        shown = row.verdict == "ungated" and (rule is None or not rule.gate)
        reason = row.reason if row.verdict in ("ungated", "unmeasured") else "no value"
        return Verdict("ungated" if shown else "unmeasured", reason)
    return judge(estimate_of(row), rule, unruled, against, row.controls, row.direction)


def estimate_of(row: Row) -> Estimate:
    """Return what was measured, as the gate takes it."""
    return Estimate(row.metric, row.value, row.params, row.se, _ends(row), row.n, status=row.status)


def _ends(row: Row) -> tuple[float, float] | None:
    low, high = row.ci or (None, None)
    return None if low is None or high is None else (low, high)


def rule_of(row: Row) -> Rule | None:
    """Return the rule that a row was judged by; of its lines only that which decided."""
    return None if row.rule is None else Rule(**vars(row.rule))
