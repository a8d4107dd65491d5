"""The gate that tests call: `gate(core["l0"])` judges a measurement, and fails the test."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_sae.errors import EstimateError
from pytest_sae.families.registry import known, spec_of
from pytest_sae.numbers.plain import number
from pytest_sae.records.builtin import writable
from pytest_sae.run.attaching import record, sae_of
from pytest_sae.run.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_sae.records.measurement import Measurement
    from pytest_sae.records.row import Row
    from pytest_sae.records.rule import AppliedRule


class Gate:
    """Judges measurements: `gate(core["l0"])` records one and fails the test where it must."""

    def __init__(self, item: pytest.Item, run: Run) -> None:
        self._item = item
        self._run = run

    def __call__(self, measurement: Measurement) -> None:
        """Record a measurement with its verdict; fail unless it is inside its bounds.

        Args:
            measurement: what a family fixture returned for a key.
        """
        # Not when a test imports this class, which it does to be collected.
        from pytest_sae.records.measured_row import influence_of, measured_row, refused_row

        nodeid, influence = writable(self._item.nodeid), []
        try:
            measured, influence = measured_row(measurement, nodeid), influence_of(measurement)
            row = self._judged(measured, measurement.estimate.value, influence)
        except EstimateError as error:
            row = refused_row(measurement, str(error), nodeid)
        record(self._item, row, influence)
        if row.red:
            pytest.fail(writable(self._message(row)), pytrace=False)

    def _judged(self, row: Row, value: object, influence: Sequence[float]) -> Row:
        """Return a row with its verdict, which tells what the value was if it is no number."""
        from pytest_sae.gate.judged import estimate_of, judged
        from pytest_sae.gate.verdict import judge

        # Typed as a float; what somebody measured may be anything.
        estimate = replace(estimate_of(row), value=value, reason=row.reason)  # type: ignore[arg-type]
        against = self._run.against(row, influence)
        if not self._run.options.gate:
            return judged(row, judge(estimate, None, "--sae-no-gate"), None, against)
        thresholds = self._run.thresholds_for(self._item.path)
        rule = thresholds.rule_for(row.metric, row.params, row.sae)
        unruled = f"no rule in {thresholds.file}"
        verdict = judge(estimate, rule, unruled, against, row.controls, row.direction)
        return judged(row, verdict, rule, against)

    def _message(self, row: Row) -> str:
        from pytest_sae.records.told import told_baseline, told_control

        lines = [row.headline]
        if row.value is not None:
            lines.append(f"  measured  {_precision(row)}")
        if row.baseline is not None:
            lines.append(f"  baseline  {told_baseline(row)}")
        lines += [f"  control   {told_control(each)}" for each in row.controls]
        if row.rule is not None:
            lines.append(f"  rule      {row.rule.source}{_why(row.rule)}")
        if row.metric in known():
            lines.append(f"  meaning   {spec_of(row.metric).title}")
        lines.append(f"  rerun     {_rerun(self._item, self._run)}")
        return "\n".join(lines)


def _precision(row: Row) -> str:
    from pytest_sae.records.told import told_counts, told_repeats

    interval = f"95 % interval {' to '.join(map(_end, row.ci))}" if row.ci else "no interval"
    error = f", se {number(row.se)}" if row.se is not None else ""
    units = f", {told_counts(row.n)}" if row.n else ""
    seeds = f", {row.seeds} seed{'s' * (row.seeds != 1)}"
    repeats = f", {told_repeats(row)}" if told_repeats(row) else ""
    return f"{interval}{error}{units}{seeds}{repeats}"


def _end(value: float | None) -> str:
    return "?" if value is None else number(value)


def _why(rule: AppliedRule) -> str:
    override = f"override for {rule.override}: " if rule.override else ""
    return f" ({override}{rule.reason})" if rule.reason else ""


def _rerun(item: pytest.Item, run: Run) -> str:
    from pytest_sae.records.rerun import rerun

    # Ids start from the root directory, arguments from where pytest is called.
    path = os.path.relpath(item.path, run.config.invocation_params.dir)
    test = "::".join([path, item.nodeid.partition("::")[2]])
    spec = sae_of(item)
    saes = {each.id: each.text for each in run.specs} if run.options.sae else {}
    return rerun(test, spec.id if spec else "", saes, run.argv)
