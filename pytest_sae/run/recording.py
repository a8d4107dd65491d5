"""The worker's side: the gate that tests call, and the rows that travel on pytest's reports."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest

from pytest_sae.errors import OptionError
from pytest_sae.gate.verdict import Against, Verdict, headline, judge, number
from pytest_sae.options import typed_flags
from pytest_sae.records.row import (
    Row,
    is_declined,
    key_of,
    row_of,
    shown_bound,
    told_baseline,
    told_repeats,
    unmeasured_row,
)
from pytest_sae.reports.controls import told_control
from pytest_sae.run.parametrise import MARKER
from pytest_sae.run.run import Run

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.gate.rules import Rule
    from pytest_sae.records.measurement import Measurement

_ROWS = pytest.StashKey[list[Row]]()
_INFLUENCE = pytest.StashKey[list[tuple[str, str, list[float]]]]()


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
        against = self._run.against(measurement)
        rule, verdict = self._judge(measurement, against)
        row = row_of(measurement, verdict, rule, self._item.nodeid, against)
        _record(self._item, row)
        if measurement.estimate.influence:
            told = (measurement.sae, measurement.key, list(measurement.estimate.influence))
            self._item.stash.setdefault(_INFLUENCE, []).append(told)
        if verdict.red:
            pytest.fail(self._message(measurement, row, rule, verdict), pytrace=False)

    def _judge(
        self, measurement: Measurement, against: Against | None
    ) -> tuple[Rule | None, Verdict]:
        if not self._run.options.gate:
            return None, judge(measurement.estimate, None, "--sae-no-gate")
        thresholds = self._run.thresholds_for(self._item.path)
        estimate = measurement.estimate
        rule = thresholds.rule_for(estimate.metric, estimate.params, measurement.sae)
        return rule, judge(
            estimate, rule, f"no rule in {thresholds.file}", against, measurement.controls
        )

    def _message(
        self, measurement: Measurement, row: Row, rule: Rule | None, verdict: Verdict
    ) -> str:
        lines = [headline(row["sae"], key_of(row), row["value"], verdict.name, verdict.reason)]
        if row["value"] is not None:
            lines.append(f"  measured  {_precision(row)}")
        if row["baseline"] is not None:
            lines.append(f"  baseline  {told_baseline(row)}")
        lines += [f"  control   {told_control(each)}" for each in row["controls"]]
        if rule is not None:
            lines.append(f"  rule      {rule.source(verdict.decided_by)}{_why(rule)}")
        lines.append(f"  meaning   {measurement.spec.title}")
        lines.append(f"  rerun     {_rerun(self._item, self._run)}")
        return "\n".join(lines)


def _precision(row: Row) -> str:
    interval = f"95 % interval {_interval(row)}" if row["ci"] else "no interval"
    error = f", se {number(row['se'])}" if row["se"] is not None else ""
    units = "".join(f", {count} {unit}" for unit, count in row["n"].items())
    seeds = f", {row['seeds']} seed{'s' * (row['seeds'] != 1)}"
    repeats = f", {told_repeats(row)}" if told_repeats(row) else ""
    return f"{interval}{error}{units}{seeds}{repeats}"


def _interval(row: Row) -> str:
    low, high = row["ci"]
    return f"{_end(low)} to {_end(high)}"


def _end(value: float | None) -> str:
    return "?" if value is None else number(value)


def _why(rule: Rule) -> str:
    override = f"override for {rule.override}: " if rule.override else ""
    return f" ({override}{rule.reason})" if rule.reason else ""


def _rerun(item: pytest.Item, run: Run) -> str:
    # Ids start from the root directory, arguments from where pytest is called.
    path = os.path.relpath(item.path, run.config.invocation_params.dir)
    test = "::".join([path, item.nodeid.partition("::")[2]])
    flags = [f"--sae={text}" for text in _typed_saes(item, run)]
    # Not into the same report: it would be left with this one test.
    # Nor a part of the SAEs: they are named one by one.
    flags += [
        flag
        for flag in typed_flags(run.config)
        if not flag.startswith(("--sae-report=", "--sae-shard="))
    ]
    return shlex.join(["pytest", test, *flags])


def _typed_saes(item: pytest.Item, run: Run) -> tuple[str, ...]:
    """Return the --sae values that give this SAE the id that it has here."""
    from pytest_sae.dictionaries.spec import resolve

    spec = spec_of(item)
    if spec is None or not run.options.sae:
        return ()
    try:
        alone = spec.id in {each.id for each in resolve([spec.text])}
    except OptionError:
        alone = True
    return (spec.text,) if alone else run.options.sae


def spec_of(item: pytest.Item) -> SAESpec | None:
    """Return the SAE that a test is about, None for a test without."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("sae_spec") if callspec else None


def _record(item: pytest.Item, row: Row) -> None:
    item.stash.setdefault(_ROWS, []).append(row)
    item.user_properties += junit_properties(row)


def junit_properties(row: Row) -> list[tuple[str, object]]:
    """Return a row as properties of the test: text alone, floats written with repr."""
    return [
        ("sae.id", row["sae"]),
        ("sae.metric", key_of(row)),
        ("sae.value", repr(row["value"])),
        ("sae.ci", repr(row["ci"])),
        ("sae.verdict", row["verdict"]),
        ("sae.bound", shown_bound(row)),
        *([("sae.baseline", repr(row["baseline"]["value"]))] if row["baseline"] else []),
    ]


def attach_rows(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Put the rows of an SAE test on its report, complete: what it did not measure is a row too."""
    spec = spec_of(item)
    if spec is None or item.config.getoption("setuponly", False):
        return
    # A report travels as its __dict__, where only exact builtins are let through.
    vars(report)["sae"] = str(spec.id)
    if report.when == "teardown" or (report.when == "setup" and report.passed):
        return
    _decline(item, report)
    outcome = outcome_of(report)
    missing = _missing(item, spec, outcome, _reason(report, call))
    if missing is not None:
        _record(item, missing)
        report.user_properties = list(item.user_properties)
    rows = item.stash.get(_ROWS, [])
    vars(report)["sae_rows"] = [_final(row, outcome, report, call) for row in rows]
    vars(report)["sae_thresholds"] = _thresholds_used(item)
    # Apart from the rows, which people read.
    vars(report)["sae_influence"] = item.stash.get(_INFLUENCE, [])
    item.stash[_ROWS], item.stash[_INFLUENCE] = [], []


def _decline(item: pytest.Item, report: pytest.TestReport) -> None:
    """Show a test as skipped if nothing that it is about exists here: it did not pass."""
    rows = item.stash.get(_ROWS, [])
    if report.when == "call" and report.passed and rows and all(map(is_declined, rows)):
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {rows[0]['reason']}")


def _thresholds_used(item: pytest.Item) -> dict[str, str]:
    run = Run.of(item.config)
    used = run.thresholds_for(item.path) if run.options.gate else None
    return {used.file: used.sha256} if used else {}


def _missing(item: pytest.Item, spec: SAESpec, outcome: str, why: str) -> Row | None:
    key = item.callspec.params.get("metric") if item.get_closest_marker(MARKER) else None  # type: ignore[attr-defined]
    rows = item.stash.get(_ROWS, [])
    if key is None or any(key_of(row) == key and row["sae"] == spec.id for row in rows):
        return None
    judged = ", ".join(key_of(row) for row in rows)
    if not why:
        why = f"the test judged {judged} instead" if judged else "the test never called gate"
    return unmeasured_row(spec.id, key, why, item.nodeid, outcome)


def _final(row: Row, outcome: str, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Row:
    if outcome == "skipped" and row["verdict"] != "unmeasured" and not is_declined(row):
        # Skipped after judging: a skip is never green.
        row = {**row, "verdict": "unmeasured", "reason": _reason(report, call)}
    return {**row, "outcome": outcome}


def outcome_of(report: pytest.TestReport) -> str:
    """Return passed, failed, error, skipped, xfailed or xpassed."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when != "call":
        return "error"
    return str(report.outcome)


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """Return why a test did not come to its gate, empty if nothing stopped it."""
    if hasattr(report, "wasxfail") and call.excinfo is None:
        return f"xfail: {report.wasxfail}"
    if call.excinfo is None:
        return ""
    text = str(call.excinfo.value).strip() or call.excinfo.typename
    kind = "skipped: " if report.skipped and not hasattr(report, "wasxfail") else ""
    if isinstance(call.excinfo.value, pytest.fail.Exception | pytest.skip.Exception):
        return kind + text.splitlines()[0]
    return f"{kind}{call.excinfo.typename}: {text.splitlines()[0]}"
