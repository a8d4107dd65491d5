"""Where one SAE of a run stands: its verdict, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_sae.families.registry import place_of
from pytest_sae.records.plan import Item, Plan
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.run_verdict import run_verdict, unusable
from pytest_sae.records.verdicts import RunVerdict


@dataclass(frozen=True)
class Standing:
    """What a run says of one SAE.

    Args:
        sae: its id.
        verdict: of it alone, by the same rule as that of the run.
        judged: how many of its values were held to something.
        red: its rows that fail the run, in the order of reports.
        left: what was to be judged of it and was not.
        problems: what else is amiss with it, a sentence each.
        changed: how many values are worse, and how many better, than those of a baseline.
    """

    sae: str
    verdict: RunVerdict
    judged: int
    red: tuple[Row, ...]
    left: tuple[Item, ...]
    problems: tuple[str, ...]
    changed: tuple[int, int]

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with its reason."""
        return f"{self.verdict}: {self.why}" if self.why else self.verdict

    @property
    def why(self) -> str:
        """The reason of the verdict, empty where there is none to tell."""
        if self.red:
            first = self.red[0]
            more = f"; {_of(len(self.red), self.judged)}" if self.judged > 1 else ""
            return f"{first.key} {first.reason}{more}"
        if self.problems:
            return self.problems[0]
        if self.left:
            left = [item.name for item in self.left if item.name]
            such = f", such as {left[0]}" if left else ""
            return f"{len(self.left)} more to be judged{such}"
        if self.verdict == "ungated":
            return "nothing was held to a bound"
        return f"{_all(self.judged)} within bounds" if self.verdict == "pass" else ""


def _of(red: int, judged: int) -> str:
    return f"{red} of {judged} gated values {'is' if red == 1 else 'are'} red"


def _all(judged: int) -> str:
    return "the only gated value is" if judged == 1 else f"all {judged} gated values are"


def standings(report: Report) -> list[Standing]:
    """Return where each SAE of a report stands, in the order of the report."""
    named = [each.id for each in report.saes]
    saes = dict.fromkeys([*named, *(row.sae for row in report.measurements)])
    rows = _by_sae(report.measurements)
    return [_standing(sae, rows.get(sae, []), report) for sae in saes]


def _by_sae(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.sae, []).append(row)
    return found


def _standing(sae: str, rows: Sequence[Row], report: Report) -> Standing:
    gate = report.verdict != "ungated"
    tests = [test for test in report.tests if test.sae == sae]
    items = tuple(item for item in report.plan.items if item.sae == sae)
    plan = Plan(items, report.plan.narrowed)
    judged = sum(row.verdict != "ungated" for row in rows)
    problems = [] if rows else [f"nothing was measured of {sae}"]
    verdict = run_verdict(rows, tests, problems, gate, plan)
    if verdict == "pass" and not judged:
        verdict = "ungated"
    return Standing(
        sae,
        verdict,
        judged,
        tuple(sorted((row for row in rows if row.red), key=lambda row: place_of(row.metric))),
        tuple(plan.left(rows)),
        (*problems, *unusable(rows)),
        _changed(rows),
    )


def _changed(rows: Iterable[Row]) -> tuple[int, int]:
    verdicts = [row.verdict for row in rows]
    return verdicts.count("regressed"), verdicts.count("improved")
