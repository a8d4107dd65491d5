"""What travels on pytest's reports: the rows of a test, complete, from its worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_sae.records.builtin import writable
from pytest_sae.run.nodeids import MARKER
from pytest_sae.run.run import Run

if TYPE_CHECKING:
    # Records are imported where there are any: every run of pytest looks for them on its reports.
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.records.row import Outcome, Row

_ROWS = pytest.StashKey["list[Row]"]()
_INFLUENCE = pytest.StashKey[list[tuple[str, str, list[float]]]]()


def sae_of(item: pytest.Item) -> SAESpec | None:
    """Return the SAE that a test is about, None for a test without."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("sae_spec") if callspec else None


def record(item: pytest.Item, row: Row, influence: Sequence[float] = ()) -> None:
    """Keep a row of a test until it ends.

    Args:
        item: the test.
        row: what it judged.
        influence: what each unit adds to the error of its value, empty where that is not known.
    """
    item.stash.setdefault(_ROWS, []).append(row)
    item.user_properties += junit_properties(row)
    if influence:
        item.stash.setdefault(_INFLUENCE, []).append((row.sae, row.key, list(influence)))


def junit_properties(row: Row) -> list[tuple[str, object]]:
    """Return a row as properties of the test: text alone, floats written with repr."""
    from pytest_sae.records.told import shown_bound

    return [
        ("sae.id", row.sae),
        ("sae.metric", row.key),
        ("sae.value", repr(row.value)),
        ("sae.ci", repr(row.ci and list(row.ci))),
        ("sae.verdict", row.verdict),
        ("sae.bound", shown_bound(row)),
        *([("sae.baseline", repr(row.baseline.value))] if row.baseline else []),
    ]


def attach_rows(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Put the rows of an SAE test on its report, complete: what it did not measure is a row too.

    Args:
        item: the test.
        call: what its phase (setup, call or teardown) raised, if anything.
        report: of the phase; rows go on that of the call, or of a setup that did not pass.
    """
    spec = sae_of(item)
    if spec is None or item.config.getoption("setuponly", False):
        return
    # A report travels as its __dict__, where only exact builtins are let through.
    vars(report)["sae"] = str(spec.id)
    _make_writable(report)
    if report.when == "teardown" or (report.when == "setup" and report.passed):
        return
    _decline(item, report)
    outcome = outcome_of(report)
    missing = _missing(item, spec, outcome, _reason(report, call))
    if missing is not None:
        record(item, missing)
        report.user_properties = list(item.user_properties)
    rows = [_final(row, outcome, report, call) for row in item.stash.get(_ROWS, [])]
    vars(report)["sae_rows"] = sendable(rows)
    vars(report)["sae_thresholds"] = _thresholds_used(item)
    # Apart from the rows, which people read.
    vars(report)["sae_influence"] = item.stash.get(_INFLUENCE, [])
    described = Run.of(item.config).newly_described()
    if described:
        vars(report)["sae_described"] = described
    item.stash[_ROWS], item.stash[_INFLUENCE] = [], []


def _make_writable(report: pytest.TestReport) -> None:
    """Escape halves of characters in what went wrong, and was printed: execnet takes none."""
    told = "" if report.longrepr is None else str(report.longrepr)
    if told != writable(told):
        report.longrepr = writable(told)
    report.sections = [(name, writable(text)) for name, text in report.sections]


def sendable(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as builtins, for another process or the journal."""
    if not rows:
        return []
    from pytest_sae.records.schema import builtins

    return [builtins(row) for row in rows]


def received(report: pytest.TestReport) -> list[Row]:
    """Return the rows that travelled on a report, checked again, with the worker they are from."""
    told = getattr(report, "sae_rows", [])
    if not told:
        return []
    from pytest_sae.records.row import Row
    from pytest_sae.records.schema import checked

    node = getattr(report, "node", None)
    worker = str(node.gateway.id) if node is not None else "main"
    return [replace(checked(Row, each), worker=worker) for each in told]


def _decline(item: pytest.Item, report: pytest.TestReport) -> None:
    """Show a test as skipped if nothing that it is about exists here: it did not pass."""
    rows = item.stash.get(_ROWS, [])
    if report.when == "call" and report.passed and rows and all(row.declined for row in rows):
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {rows[0].reason}")


def _thresholds_used(item: pytest.Item) -> dict[str, str]:
    run = Run.of(item.config)
    used = run.thresholds_for(item.path) if run.options.gate else None
    return {used.file: used.sha256} if used else {}


def _missing(item: pytest.Item, spec: SAESpec, outcome: Outcome, why: str) -> Row | None:
    key = item.callspec.params.get("metric") if item.get_closest_marker(MARKER) else None  # type: ignore[attr-defined]
    rows = item.stash.get(_ROWS, [])
    if key is None or any(row.key == key and row.sae == spec.id for row in rows):
        return None
    judged = ", ".join(row.key for row in rows)
    if not why:
        why = f"the test judged {judged} instead" if judged else "the test never called gate"
    from pytest_sae.records.row import unmeasured_row

    return unmeasured_row(spec.id, key, why, item.nodeid, outcome)


def _final(
    row: Row, outcome: Outcome, report: pytest.TestReport, call: pytest.CallInfo[None]
) -> Row:
    if outcome == "skipped" and row.verdict != "unmeasured" and not row.declined:
        # Skipped after judging: a skip is never green.
        row = replace(row, verdict="unmeasured", reason=_reason(report, call))
    return replace(row, outcome=outcome)


def outcome_of(report: pytest.TestReport) -> Outcome:
    """Return passed, failed, error, skipped, xfailed or xpassed."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when != "call":
        return "error"
    return cast("Outcome", str(report.outcome))


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """Return why a test did not come to its gate, empty if nothing stopped it."""
    if hasattr(report, "wasxfail") and call.excinfo is None:
        return f"xfail: {report.wasxfail}"
    if call.excinfo is None:
        return ""
    text = writable(str(call.excinfo.value).strip() or call.excinfo.typename)
    kind = "skipped: " if report.skipped and not hasattr(report, "wasxfail") else ""
    if isinstance(call.excinfo.value, pytest.fail.Exception | pytest.skip.Exception):
        return kind + text.splitlines()[0]
    return f"{kind}{call.excinfo.typename}: {text.splitlines()[0]}"
