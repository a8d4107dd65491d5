"""What every report says first: the verdict in one line, the failures, the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_sae.records.report import Report
from pytest_sae.records.rerun import rerun
from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_baseline
from pytest_sae.reports.declined import fold, names

_NAMED = 4  # SAEs of one remark


def verdict_line(report: Report) -> str:
    """Return the verdict of the run with its counts, in one line."""
    saes = len({row.sae for row in report.measurements})
    cut = "" if report.complete or report.verdict in ("incomplete", "partial") else ", incomplete"
    part = f": {_part(report)}" if report.verdict == "partial" else ""
    told = f"{counts(report)}; {saes} SAE{'s' * (saes != 1)}"
    return f"SAE gate: {report.verdict}{part}{cut} ({told})"


def _part(report: Report) -> str:
    """How much of what there is to judge was judged."""
    rules = [item for item in report.plan.items if item.kind == "rule"]
    left = sum(item.kind == "rule" for item in report.plan.left(report.measurements))
    chosen = " ".join(report.plan.narrowed)
    return f"{len(rules) - left} of {len(rules)} gated values judged ({chosen}), pass so far"


def judge_lines(report: Report) -> list[str]:
    """Return who judged latents, one line for each judge; a stand-in is called one."""
    return [_judge_line(name, each) for name, each in _judges(report).items()]


def _judges(report: Report) -> dict[str, Mapping[str, Any]]:
    told = report.environment.get("judges", {})
    found = told.items() if isinstance(told, Mapping) else ()
    return {str(name): each for name, each in found if isinstance(each, Mapping)}


def _judge_line(name: str, judge: Mapping[str, Any]) -> str:
    if judge.get("kind") == "rules":
        return (
            f"judged by {name}: word lists of the bundled texts stand in for a language model, so "
            "that figures of shift and autointerp say nothing about other models"
        )
    how = {"replay": ", answers replayed from recordings", "record": ", answers recorded"}
    return f"judged by {name}{how.get(str(judge.get('mode')), '')}"


def remark_lines(report: Report) -> list[str]:
    """Return what was noticed in configurations, one line for each remark and whom it is about."""
    told = report.environment.get("remarks", {})
    saes: dict[str, list[str]] = {}
    for sae, remarks in told.items() if isinstance(told, Mapping) else ():
        for remark in remarks if isinstance(remarks, list) else ():
            saes.setdefault(str(remark), []).append(str(sae))
    about = [f"note on {_few(names)}: {remark}" for remark, names in saes.items()]
    return [*(f"note: {remark}" for remark in report.remarks), *about]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def update_lines(report: Report) -> list[str]:
    """Return what the run did to its baseline, one line for each value that changed."""
    update = report.update
    if update is None:
        return []
    if not update.files:
        return [f"baseline {update.baseline} unchanged", *update.changes]
    return [f"baseline updated: {', '.join(update.files)}", *update.changes]


def with_baseline(
    lines: Sequence[tuple[str, ...]], rows: Sequence[Row], column: int
) -> list[tuple[str, ...]]:
    """Return the lines of a table, header first, with the rows' baselines before a column.

    Args:
        lines: the header, then one for each row.
        rows: in the order of the lines.
        column: index of the column before which they stand.

    Raises:
        ValueError: the lines are not one more than the rows.
    """
    told = ["baseline", *map(shown_baseline, rows)]
    pairs = zip(lines, told, strict=True)
    return [(*cells[:column], text, *cells[column:]) for cells, text in pairs]


def counts(report: Report) -> str:
    """Return how many rows have which verdict: `2 fail, 31 pass, 4 ungated`."""
    counted = Counter(row.verdict for row in report.measurements)
    return ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "nothing measured"


def red_rows(report: Report) -> list[Row]:
    """Return the rows that fail the run, in the order of the report."""
    return [row for row in report.measurements if row.red]


def source_of(row: Row) -> str:
    """Return file:line of the rule of a row, empty where it has none."""
    return row.rule.source if row.rule else ""


def failures(report: Report) -> list[str]:
    """Return a line for everything that makes the run red: problems, rows, then tests."""
    rows = [_failure(row) for row in red_rows(report)]
    shown = {row.nodeid for row in report.measurements if row.red}
    tests = [
        f"{test.nodeid} {test.outcome}: {test.reason or 'see the test run'}"
        for test in report.tests
        if test.nodeid not in shown and test.outcome not in ("passed", "xfailed")
    ]
    return [*report.problems, *rows, *tests]


def failed_lines(report: Report) -> list[str]:
    """Return `failures`, with rows of an SAE that were not measured for one reason in one line."""
    red = red_rows(report)
    shown, groups = fold(red, lambda row: row.verdict == "unmeasured")
    place, end = len(report.problems), len(report.problems) + len(red)
    told = failures(report)
    folded = [f"{names(group)} unmeasured: {_because(group[0])}" for group in groups]
    return [*told[:place], *map(_failure, shown), *folded, *told[end:]]


def _because(row: Row) -> str:
    return f"{row.reason} [{row.sae}]"


def rerun_of(report: Report, row: Row) -> str:
    """Return the command that measures a row again, from the run's root directory.

    Args:
        report: of the run.
        row: one of its measurements.
    """
    saes = {each.id: each.text for each in report.saes} if report.options.get("sae") else {}
    return rerun(row.nodeid, row.sae, saes, report.argv)


def _failure(row: Row) -> str:
    source = source_of(row)
    return f"{row.headline}{f'  {source}' if source else ''}"
