"""Two runs compared after the fact: each value of the second judged against the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pytest_sae.gate.baseline import Baseline, judging
from pytest_sae.gate.judged import rejudged_against, rule_of
from pytest_sae.gate.planned import planned
from pytest_sae.gate.rules import Rule, Thresholds
from pytest_sae.gate.whole_run import left_out, run_verdict
from pytest_sae.records.plan import Plan
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import GREEN

Key = tuple[str, str]


def compare(
    before: Baseline,
    report: Report,
    thresholds: Thresholds | None = None,
    required: bool = False,
    influence: Mapping[Key, Sequence[float]] = MappingProxyType({}),
) -> Report:
    """Return a report as it would have been with another run as its baseline.

    Args:
        before: the values of the first run.
        report: the second run.
        thresholds: bounds to judge by, None for those that the report was judged by.
        required: whether a value that the first run does not have is red.
        influence: what each text adds to the errors of the second run's values.

    Returns:
        What the first run measured on an SAE of the second, and the second did not, is a problem.
        Where each run is about a single SAE, these are compared whatever they are called.
    """
    before = judging(before, _saes(report))
    rows = [
        _row(row, before, thresholds, required, influence.get((row.sae, row.key), ()))
        for row in report.measurements
    ]
    plan = _plan(report, thresholds)
    problems = (
        *report.problems,
        *_lost(before, report),
        *_missing(before, rows),
        *_unjudged(rows),
        *(each for each in _left(plan, rows) if not _said(each, report.problems)),
    )
    verdict = run_verdict(rows, report.tests, problems, gate=True, plan=plan)
    return replace(
        report,
        measurements=tuple(rows),
        problems=problems,
        verdict=verdict,
        exit_status=0 if verdict in GREEN else 1,
        complete=report.complete and not problems,
    )


def _plan(report: Report, thresholds: Thresholds | None) -> Plan:
    """What has to be judged: by its own rules only where it is judged by them again."""
    saes = [sae.id for sae in report.saes]
    if thresholds is None:
        return report.plan.about(saes)
    return planned(saes, [thresholds], narrowed=report.plan.narrowed)


def _left(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """What of it was not judged; of a part, that is the user's choice."""
    return [] if plan.narrowed else left_out(plan, rows)


def _said(told: str, problems: Sequence[str]) -> bool:
    """Whether the report says it itself, perhaps with the reason behind it."""
    return any(problem.startswith(told) for problem in problems)


def _saes(report: Report) -> set[str]:
    """The SAEs that a run is about, those of its other shards too."""
    others = report.shard.saes if report.shard else ()
    return {*others, *(sae.id for sae in report.saes), *(row.sae for row in report.measurements)}


def _row(
    row: Row,
    before: Baseline,
    thresholds: Thresholds | None,
    required: bool,
    influence: Sequence[float],
) -> Row:
    against = before.against((row.sae, row.key), row.fingerprints, required, influence)
    unruled = f"no rule in {thresholds.file}" if thresholds else row.reason
    return rejudged_against(row, against, _rule(row, thresholds), unruled)


def _rule(row: Row, thresholds: Thresholds | None) -> Rule | None:
    if thresholds is None:
        return rule_of(row)
    return thresholds.rule_for(row.metric, row.params, row.sae)


def _lost(before: Baseline, report: Report) -> list[str]:
    """Return the SAEs of the first run that the second is not about, where they share any."""
    there = {row.sae for row in report.measurements}
    gone = dict.fromkeys(entry.sae for entry in before.entries if entry.sae not in there)
    shared = any(entry.sae in there for entry in before.entries)
    return [f"{sae} is in {before.source} and not in the report" for sae in gone if shared]


def _missing(before: Baseline, rows: Iterable[Row]) -> list[str]:
    rows = list(rows)
    there = {(row.sae, row.key) for row in rows if not row.declined}
    saes = {row.sae for row in rows}
    common = [entry for entry in before.entries if entry.sae in saes]
    if not common:
        return [f"no SAE of the report is in {before.source}"]
    return [
        f"{entry.key[1]} of {entry.sae} is in {before.source} and was not measured"
        for entry in common
        if entry.key not in there and not entry.published
    ]


def _unjudged(rows: Iterable[Row]) -> list[str]:
    if any(row.verdict != "ungated" for row in rows):
        return []
    return ["nothing was judged: the report has no rule that gates. Name some with --thresholds"]
