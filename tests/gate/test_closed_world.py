"""A state machine builds runs at random: none is green while anything is left that must be judged.

What must be judged is written down here a second time, as a set of (SAE, metric), and looked up in
rows by a plain loop: the plan has no say in it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from pytest_sae.gate.baseline import Baseline, Entry
from pytest_sae.gate.compare import compare
from pytest_sae.gate.merge import merge
from pytest_sae.gate.planned import planned
from pytest_sae.gate.rules import Regression, Rule, Thresholds
from pytest_sae.gate.verdict import judge
from pytest_sae.gate.whole_run import left_out, run_verdict
from pytest_sae.numbers.estimate import Estimate, no_data, not_applicable, undefined
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import SAE, Notable, Report, Shard
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import GREEN
from tests.records.rows import row_of
from tests.reports.examples import report

SAES = ("a", "b", "c", "d")
METRICS = ("explained_variance", "cosine", "ce_recovered")
SHARDS = 2
Key = tuple[str, str]
#: What is declared not to be there. A value of a baseline was there, and has to be measured.
DECLARED = ("not_applicable", "no_data")

#: What goes wrong goes wrong for good: if it did at once, nothing green would ever be looked at.
RARELY = st.integers(0, 5).map(lambda drawn: drawn == 5)

values = st.sampled_from([-0.5, 0.2, 0.49, 0.5, 0.51, 0.7, 1.0])
estimates = st.sampled_from(METRICS).flatmap(
    lambda metric: st.one_of(
        st.builds(Estimate, st.just(metric), values, se=st.sampled_from([None, 0.0, 0.01, 0.4])),
        st.just(undefined(metric, "nothing fired")),
        st.just(not_applicable(metric, "by declaration")),
        st.just(no_data(metric, "no table")),
        st.just(Estimate(metric, float("nan"))),
    )
)
rules = st.builds(
    Rule,
    name=st.sampled_from(METRICS),
    min=st.just(0.5),
    gate=st.booleans(),
    optional=st.booleans(),
    undecided=st.sampled_from(["fail", "pass"]),
    reason=st.just("so"),
) | st.builds(Rule, name=st.sampled_from(METRICS), regression=st.just(Regression(abs=0.05)))


class Runs(RuleBasedStateMachine):
    """One suite, its shards, and all that can happen to them on the way to a verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[Key, Row] = {}
        self.tests: list[Notable] = []
        self.lost: set[int] = set()
        self.killed: set[int] = set()
        self.narrowed: tuple[str, ...] = ()

    @initialize(
        saes=st.lists(st.sampled_from(SAES), min_size=1, max_size=4, unique=True),
        held=st.lists(rules, max_size=3, unique_by=lambda each: each.name),
        before=st.sets(st.tuples(st.sampled_from(SAES), st.sampled_from(METRICS)), max_size=4),
        required=st.booleans(),
        left=st.sampled_from([99, *range(6), 99, None]),
    )
    def asked(
        self, saes: list[str], held: list[Rule], before: set[Key], required: bool, left: int | None
    ) -> None:
        self.saes = tuple(saes)
        self.file = Thresholds("t.toml", "ff", {each.name: each for each in held})
        entries = tuple(Entry(sae, metric, {}, 0.6, 0.01) for sae, metric in sorted(before))
        self.baseline = Baseline("before", entries) if entries else None
        self.required = required
        self.part = {sae: place % SHARDS for place, sae in enumerate(self.saes)}
        if left is not None:
            self.measured_well_but_for(left)

    @rule(sae=st.sampled_from(SAES), estimate=estimates)
    def measured(self, sae: str, estimate: Estimate) -> None:
        self.measured_as(sae, estimate)

    def measured_as(self, sae: str, estimate: Estimate) -> None:
        if sae not in self.saes or (sae, estimate.metric) in self.rows:
            return
        held = self.file.rule_for(estimate.metric, {}, sae)
        key = (sae, estimate.metric)
        against = self.baseline.against(key, {}, self.required) if self.baseline else None
        verdict = judge(estimate, held, "no rule", against, direction="higher")
        row = row_of(Measurement(sae, estimate), verdict, held, f"t[{sae}]", against)
        self.rows[key] = replace(row, outcome="failed" if verdict.red else "passed")

    def measured_well_but_for(self, left: int) -> None:
        """Green is rare by chance: here everything is good, and at most one thing left out."""
        every = [(sae, metric) for sae in self.saes for metric in METRICS]
        for place, (sae, metric) in enumerate(every):
            if place != left:
                self.measured_as(sae, Estimate(metric, 0.7, se=0.01))

    @rule(
        sae=st.sampled_from(SAES),
        once=RARELY,
        outcome=st.sampled_from(["skipped", "missing", "crashed"]),
    )
    def went_wrong(self, sae: str, outcome: str, once: bool) -> None:
        if once and sae in self.saes:
            self.tests.append(Notable(f"t[{sae}]", sae, outcome, "why"))  # type: ignore[arg-type]

    @rule(which=st.integers(0, SHARDS - 1), once=RARELY)
    def killed_at_once(self, which: int, once: bool) -> None:
        self.killed |= {which} if once else set()

    @rule(which=st.integers(0, SHARDS - 1), once=RARELY)
    def lost_on_the_way(self, which: int, once: bool) -> None:
        self.lost |= {which} if once else set()

    @rule(once=RARELY)
    def narrowed_by_hand(self, once: bool) -> None:
        if once:
            self.narrowed = ("-k", "core")

    def unjudged(self) -> list[Key]:
        """What somebody has to be told of, by a plain loop over what was asked for."""
        must = {(sae, r.name) for sae in self.saes for r in self.file.rules.values() if r.gate}
        entries = self.baseline.entries if self.baseline else ()
        kept = {entry.key for entry in entries if entry.sae in self.saes}
        found = {key for key in must | kept if not self.decided(key)}
        return sorted(
            found | {key for key in kept & self.rows.keys() if self.rows[key].status in DECLARED}
        )

    def decided(self, key: Key) -> bool:
        row = self.rows.get(key)
        if row is None:
            return False
        if row.status in DECLARED and row.verdict == "ungated":
            return True
        held = self.file.rules.get(key[1])
        # What nothing gates only has to be there where the baseline has it.
        return held is None or not held.gate or kept(row)

    def nothing_judged(self) -> list[str]:
        judged = {sae for (sae, _), row in self.rows.items() if kept(row)}
        return [sae for sae in self.saes if sae not in judged]

    def of_shard(self, which: int | None) -> Report:
        """One run over some SAEs, as the controller assembles it."""
        mine = tuple(s for s in self.saes if which is None or self.part[s] == which)
        rows = [row for (sae, _), row in self.rows.items() if sae in mine]
        tests = [each for each in self.tests if each.sae in mine]
        plan = planned(mine, [self.file], self.baseline, self.narrowed)
        killed = which in self.killed if which is not None else bool(self.killed)
        problems = ["the run was stopped"] if killed else []
        if not self.narrowed:
            problems += left_out(plan, rows)
        verdict = run_verdict(rows, tests, problems, True, plan)
        number = None if which is None else which + 1
        return report(
            rows,
            saes=tuple(SAE(sae, sae, sae) for sae in mine),
            tests=tuple(tests),
            problems=tuple(problems),
            complete=not problems and not self.narrowed,
            verdict=verdict,
            exit_status=2 if killed else 0 if verdict in GREEN or verdict == "partial" else 1,
            plan=plan,
            environment={},
            options={"suite": "smoke", "gate": True, "shard": number and f"{number}/{SHARDS}"},
            shard=None if number is None else Shard(number, SHARDS, self.saes),
        )

    @rule()
    def no_green_run_has_anything_left(self) -> None:
        self.holds(self.of_shard(None), bool(self.killed))

    @rule()
    def no_green_merge_has_anything_left(self) -> None:
        there = [self.of_shard(which) for which in range(SHARDS) if which not in self.lost]
        if there:
            self.holds(merge(there), bool(self.lost or self.killed))

    @rule()
    def no_green_comparison_has_anything_left(self) -> None:
        if self.baseline is None:
            return
        found = compare(self.baseline, self.of_shard(None), required=self.required)
        self.holds(found, bool(self.killed))

    def holds(self, found: Report, broken: bool) -> None:
        if found.verdict not in ("pass", "improved") and found.exit_status != 0:
            return
        if found.verdict == "partial":
            assert self.narrowed
            return
        assert not broken, found
        assert not self.narrowed or not self.unjudged(), found
        assert not self.unjudged(), (self.unjudged(), found.verdict)
        assert not self.nothing_judged(), (self.nothing_judged(), found.verdict)
        assert all(row.outcome == "passed" for row in found.measurements), found
        assert not self.tests, found


def kept(row: Row) -> bool:
    """Whether it kept a bound or its baseline; what is only new has its bound alone."""
    bounded = row.rule is not None and row.rule.min is not None
    return row.verdict in ("pass", "improved") or (row.verdict == "new" and bounded)


def test_no_run_is_green_with_something_left() -> None:
    run_state_machine_as_test(Runs, settings=of_steps(1_500))


@pytest.mark.slow
def test_no_run_is_green_with_something_left_in_ten_thousand_steps() -> None:
    run_state_machine_as_test(Runs, settings=of_steps(10_000))


def of_steps(count: int) -> settings:
    return settings(max_examples=count // 50, stateful_step_count=50, deadline=None)
