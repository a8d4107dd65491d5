"""One report of many: the union of shards, judged by the same gate, red if one is absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

from pytest_sae.errors import ReportError
from pytest_sae.gate.judged import rejudged
from pytest_sae.gate.whole_run import left_out, run_verdict, unusable
from pytest_sae.records.plan import Plan
from pytest_sae.records.provenance import united
from pytest_sae.records.report import SAE, SCHEMA_VERSION, Report
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import GREEN

T = TypeVar("T", bound=Hashable)

# What may differ between the shards of one run: where they ran, and which of them they are.
_OWN = (
    "shard",
    "report",
    "cache",
    "cache_limit",
    "memory",
    "resume",
    "progress",
    "ci",
    "device",
    "partial",
    "accept_regressions",
    "judge_timeout",
)
# Of pytest: all passed, some failed. Any other means that a run did not come to its end.
_ENDED = (0, 1)


def merge(reports: Sequence[Report], lost: Sequence[str] = ()) -> Report:
    """Return the report that one run over all SAEs would have written.

    Args:
        reports: of shards, or of runs over different SAEs.
        lost: what is known of those that are absent, a sentence each.

    Returns:
        Complete only if every shard is there, once, complete, and made with the same options; what
        is amiss stands in its problems.

    Raises:
        ReportError: nothing to merge.
    """
    if not reports:
        raise ReportError("there is no report to merge. Expected report.json files of shards.")
    first = reports[0]
    rows = [rejudged(row) for each in reports for row in each.measurements]
    rows.sort(key=lambda row: row.order)
    tests = sorted((test for each in reports for test in each.tests), key=lambda t: t.nodeid)
    saes = _saes(reports)
    order = {sae.id: place for place, sae in enumerate(saes)}
    gate = bool(first.options.get("gate", True))
    asked = Plan(_once(item for each in reports for item in each.plan.items))
    items = asked.about(order if gate else ()).items
    plan = Plan(tuple(sorted(items, key=lambda item: order.get(item.sae, len(order)))))
    problems = (
        *lost,
        *_absent(reports),
        *_differing(reports),
        *_made_otherwise(reports),
        *_own_problems(reports),
        *_strange(rows, reports),
        *left_out(plan, rows),
        *unusable(rows),
    )
    verdict = run_verdict(rows, tests, problems, gate, plan)
    described = united(_described(reports))
    return Report(
        schema_version=SCHEMA_VERSION,
        complete=not problems and all(each.complete for each in reports),
        verdict=verdict,
        problems=problems,
        exit_status=0 if verdict in GREEN else 1,
        started=min(each.started for each in reports),
        duration=round(sum(each.duration for each in reports), 3),
        argv=first.argv,
        versions=_versions(reports),
        options={**first.options, "shard": None} if "shard" in first.options else {},
        thresholds=_once(file for each in reports for file in each.thresholds),
        saes=saes,
        shard=None,
        update=None,
        measurements=tuple(rows),
        tests=tuple(tests),
        environment=described.environment,
        models=described.models,
        data=described.data,
        work=described.work,
        audit=next((each.audit for each in reports if each.audit), None),
        plan=plan,
        remarks=_once(told for each in reports for told in _remarks(each, len(reports))),
    )


def _remarks(report: Report, of: int) -> Iterable[str]:
    return (f"{_name(report)}: {each}" if of > 1 else each for each in report.remarks)


def _absent(reports: Sequence[Report]) -> list[str]:
    """Return which shards and SAEs are missing, or there more than once."""
    problems = []
    shards = [each.shard for each in reports if each.shard]
    counts = sorted({shard.count for shard in shards})
    if len(counts) > 1 or (counts and len(shards) < len(reports)):
        problems.append("not all reports are shards of one run")
    there = Counter(shard.which for shard in shards)
    problems += [
        f"shard {each.which}/{each.count} is none: expected K/N with K from 1 to N"
        for each in shards
        if not 1 <= each.which <= each.count
    ]
    for which in range(1, (counts[-1] if counts else 0) + 1):
        if which not in there:
            problems.append(f"shard {which}/{counts[-1]} is absent")
    times = Counter(sae.id for each in reports for sae in each.saes)
    wanted = dict.fromkeys(sae for shard in shards for sae in shard.saes)
    problems += [f"no report is about {sae}" for sae in wanted if sae not in times]
    problems += [f"{n} reports are about {sae}" for sae, n in sorted(times.items()) if n > 1]
    return problems


def _differing(reports: Sequence[Report]) -> list[str]:
    """Return the options that the reports were not made with alike."""
    named = sorted({name for each in reports for name in each.options} - set(_OWN))
    sharded = all(each.shard for each in reports)
    return [
        f"the reports were made with different {name}: {', '.join(values)}"
        for name in named
        if sharded or name not in ("sae", "asked")
        if len(values := _values(reports, name)) > 1
    ]


def _values(reports: Sequence[Report], name: str) -> list[str]:
    return sorted({str(each.options.get(name)) for each in reports})


def _made_otherwise(reports: Sequence[Report]) -> list[str]:
    """Return what the shards of one run were not made with alike, beside their options."""
    told = {
        "bounds": [(each.file, each.sha256) for report in reports for each in report.thresholds],
        "the package": [("version", each.versions.get("pytest-sae", "")) for each in reports],
        "models": [(name, str(mark)) for each in reports for name, mark in each.models.items()],
    }
    if all(each.shard for each in reports):
        rows = [row for each in reports for row in each.measurements]
        told["texts"] = [
            (kind, row.fingerprints[kind])
            for row in rows
            for kind in ("data", "suite")
            if kind in row.fingerprints
        ]
    return [
        f"the reports were made with different {what}: {name} is {' and '.join(sorted(marks))}"
        for what, pairs in told.items()
        for name, marks in _marks(pairs).items()
        if len(marks) > 1
    ]


def _marks(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, mark in pairs:
        found.setdefault(name, set()).add(mark[:12])
    return found


def _strange(rows: Sequence[Row], reports: Sequence[Report]) -> list[str]:
    """Return rows that contradict each other, or are about an SAE that no report names."""
    named = {sae.id for each in reports for sae in each.saes}
    unknown = sorted({row.sae for row in rows} - named)
    values: dict[tuple[str, str], set[float | None]] = {}
    for row in rows:
        values.setdefault((row.sae, row.key), set()).add(row.value)
    return [
        *(f"there are rows of {sae}, which no report was about" for sae in unknown),
        *(
            f"{key} of {sae} was measured more than once, and differently"
            for (sae, key), each in values.items()
            if len(each) > 1
        ),
    ]


def _own_problems(reports: Sequence[Report]) -> list[str]:
    return [f"{_name(each)}: {problem}" for each in reports for problem in _amiss(each)]


def _amiss(report: Report) -> Iterable[str]:
    """Give what one report says against itself, beyond its rows."""
    yield from report.problems
    if report.plan.narrowed and report.plan.left(report.measurements):
        yield f"only a part of it was run ({' '.join(report.plan.narrowed)})"
    elif not report.complete and not report.problems:
        yield "incomplete"
    if report.exit_status not in _ENDED:
        yield f"its exit status was {report.exit_status}"
    elif report.verdict not in (*GREEN, "partial") and not _explained(report):
        yield f"it says {report.verdict}, and nothing in it says why"


def _explained(report: Report) -> bool:
    rows, tests = report.measurements, report.tests
    return bool(report.problems or tests or any(row.red for row in rows))


def _name(report: Report) -> str:
    if report.shard:
        return f"shard {report.shard.which}/{report.shard.count}"
    return " and ".join(sae.id for sae in report.saes)


def _versions(reports: Sequence[Report]) -> dict[str, str]:
    names = dict.fromkeys(name for each in reports for name in each.versions)
    return {
        name: " / ".join(sorted({each.versions.get(name, "none") for each in reports}))
        for name in names
    }


def _saes(reports: Sequence[Report]) -> tuple[SAE, ...]:
    order = [sae for each in reports if each.shard for sae in each.shard.saes]
    saes = _once(sae for each in reports for sae in each.saes)
    # One that the shards do not name is after those they do.
    return tuple(
        sorted(saes, key=lambda sae: order.index(sae.id) if sae.id in order else len(order))
    )


def _once(records: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(records))


def _described(reports: Sequence[Report]) -> dict[str, dict[str, Any]]:
    """Return what every worker of every shard said about itself."""
    told = {}
    for number, report in enumerate(reports, 1):
        common = {**report.environment, "models": report.models, "data": report.data}
        for worker, work in (report.work or {"main": {}}).items():
            told[f"{number}/{worker}"] = {**common, "work": work}
    return told
