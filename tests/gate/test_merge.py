"""Merging is putting together: in any order, in any parts, it is the report of the whole."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.gate.merge import merge
from pytest_sae.gate.planned import planned
from pytest_sae.gate.rules import Regression, Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.gate.whole_run import left_out, run_verdict
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import SAE, Report, Shard
from pytest_sae.records.row import Against, Row
from pytest_sae.records.schema import builtins, checked
from pytest_sae.records.verdicts import GREEN
from tests.records.rows import row_of
from tests.reports.examples import report
from tests.timeless import without_times

SAES = ("a", "b", "c", "d")
numbers = st.floats(-10, 10)
rules = st.none() | st.builds(
    Rule,
    name=st.just("l0"),
    min=st.none() | numbers,
    max_se=st.none() | st.floats(0, 1),
    gate=st.booleans(),
    reason=st.just("so"),
    regression=st.none() | st.builds(Regression, rel=st.floats(0, 1)),
)
againsts = st.none() | st.builds(
    Against,
    source=st.just("kept"),
    value=st.none() | numbers,
    se=st.none() | st.floats(0, 1),
    differs=st.sampled_from([(), ("data was d, is e",)]),
    required=st.booleans(),
    paired=st.none() | st.floats(0, 1),
)


@st.composite
def judged(draw: st.DrawFn) -> Row:
    status = draw(st.sampled_from(["ok", "ok", "undefined", "not_applicable"]))
    estimate = Estimate(
        "l0",
        draw(st.none() | st.floats()) if status == "ok" else None,
        {"n": draw(st.integers(1, 3))},
        se=draw(st.none() | st.floats(0, 1)),
        status=status,
        reason="why",
    )
    rule, against = draw(rules), draw(againsts)
    verdict = judge(estimate, rule, "no rule", against, direction="none")
    row = row_of(Measurement(draw(st.sampled_from(SAES)), estimate), verdict, rule, "t", against)
    return replace(row, outcome="failed" if verdict.red else "passed", worker="main")


rows = st.lists(judged(), max_size=8, unique_by=lambda row: (row.sae, row.params["n"]))


def whole(measured: list[Row], saes: tuple[str, ...] = SAES, **changed: Any) -> Report:
    kept = [row for row in measured if row.sae in saes]
    plan = planned(saes, [])
    problems = tuple(left_out(plan, kept))
    verdict = run_verdict(kept, [], problems, True, plan)
    told = {"plan": plan, "problems": problems, "complete": not problems, "verdict": verdict}
    changed = {"options": {"suite": "smoke", "shard": None}, **told, **changed}
    listed = tuple(SAE(name, name, name) for name in saes)
    status = 0 if verdict in GREEN else 1
    return report(kept, saes=listed, exit_status=status, environment={}, **changed)


def shards(measured: list[Row], parts: list[int]) -> list[Report]:
    count = max(parts)
    return [
        whole(
            measured,
            tuple(name for name, part in zip(SAES, parts, strict=True) if part == which),
            options={"suite": "smoke", "shard": f"{which}/{count}"},
            shard=Shard(which, count, SAES),
        )
        for which in range(1, count + 1)
    ]


@settings(deadline=None, max_examples=60)
@given(measured=rows, parts=st.permutations([1, 1, 2, 3]), seed=st.integers(0, 99))
def test_shards_in_any_order_are_the_whole(
    measured: list[Row], parts: list[int], seed: int
) -> None:
    found = merge(random.Random(seed).sample(shards(measured, parts), 3))
    assert checked(Report, builtins(found)) == found
    wanted = whole(measured)
    # Which shard says what is amiss stands before it.
    assert set(wanted.problems) <= set(found.problems)
    assert bool(wanted.problems) == bool(found.problems)
    again = replace(found, problems=wanted.problems)
    assert without_times(builtins(again)) == without_times(builtins(wanted))


@settings(deadline=None, max_examples=30)
@given(measured=rows, parts=st.permutations([1, 1, 2, 2]), lost=st.sampled_from([0, 1]))
def test_without_a_shard_nothing_is_green(measured: list[Row], parts: list[int], lost: int) -> None:
    found = merge(shards(measured, parts)[lost : lost + 1])
    assert not found.complete
    assert found.verdict not in GREEN
    assert found.exit_status == 1


@settings(deadline=None, max_examples=30)
@given(measured=rows)
def test_the_report_of_a_single_run_is_its_own_merge(measured: list[Row]) -> None:
    assert merge([whole(measured)]).measurements == whole(measured).measurements
