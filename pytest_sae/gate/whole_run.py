"""The verdict of a whole run."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.records.report import Notable
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import RED, VerdictName

_LOST = ("missing", "crashed", "error", "skipped")
_FAILED = ("failed", "xpassed")


def run_verdict(
    rows: Sequence[Row], tests: Sequence[Notable], problems: Sequence[str], gate: bool
) -> VerdictName:
    """Return the verdict of a run: the worst of its rows, never green when anything is amiss.

    Args:
        rows: all of them.
        tests: those without a record, or not simply passed.
        problems: what else is amiss, a sentence each.
        gate: False where the run was not to judge.
    """
    if not gate:
        return "unmeasured" if problems else "ungated"
    red = {row.verdict for row in rows if row.red}
    worst: tuple[VerdictName, ...] = (*RED, "new")
    for name in worst:
        if name in red:
            return name
    if problems or any(test.outcome in _LOST for test in tests):
        return "unmeasured"
    return "fail" if any(test.outcome in _FAILED for test in tests) else "pass"
