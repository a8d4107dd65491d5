"""The verdict of a run, or of a part of it such as one SAE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_sae.numbers.estimate import LEFT_OUT
from pytest_sae.records.plan import NOTHING, Plan
from pytest_sae.records.report import Notable
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import RunVerdict

_LOST = ("missing", "crashed", "error", "skipped")
_FAILED = ("failed", "xpassed")
_UNTOLD = ("unmeasured", "undecided")


def run_verdict(
    rows: Sequence[Row],
    tests: Sequence[Notable],
    problems: Sequence[str],
    gate: bool,
    plan: Plan = NOTHING,
) -> RunVerdict:
    """Return the verdict of a run: pass only if everything of its plan was judged, and well.

    Args:
        rows: all of them.
        tests: those without a record, or not simply passed.
        problems: what else is amiss, a sentence each.
        gate: False where the run was not to judge.
        plan: what it had to judge.

    Returns:
        `fail` where something was judged and is bad; `incomplete` where something that had to be
        judged was not, or could not be decided; `partial` where the user left it out.
    """
    if not gate:
        return "incomplete" if problems else "ungated"
    unmeasured = {row.nodeid for row in rows if row.red and row.verdict in _UNTOLD}
    if any(row.red and row.verdict not in _UNTOLD for row in rows):
        return "fail"
    if any(each.outcome in _FAILED and each.nodeid not in unmeasured for each in tests):
        return "fail"
    left = plan.left(rows)
    problems = [*problems, *unusable(rows)]
    if unmeasured or problems or any(test.outcome in _LOST for test in tests):
        return "incomplete"
    if left:
        return "partial" if plan.narrowed else "incomplete"
    return "pass"


def unusable(rows: Iterable[Row]) -> list[str]:
    """Return the tasks that judged values were measured without, for they could not be used.

    Args:
        rows: of any SAEs.
    """
    of: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        judged = row.value is not None and row.verdict != "ungated"
        gone = row.details.get(LEFT_OUT) if judged else None
        for task, reason in gone.items() if isinstance(gone, dict) else ():
            of.setdefault((task, str(reason)), {})[row.metric.partition(".")[0]] = None
    return [
        f"{', '.join(metrics)} {'were' if len(metrics) > 1 else 'was'} measured without {task}, "
        f"which was left out: {reason}"
        for (task, reason), metrics in of.items()
    ]
