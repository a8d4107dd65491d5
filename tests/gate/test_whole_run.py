"""The verdict of a run: the worst of its rows, in whatever order, and monotone in every value."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.gate.rules import Regression, Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.gate.whole_run import run_verdict
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import Notable
from pytest_sae.records.row import Against, Row
from tests.records.rows import row_of
from tests.reports.examples import report

numbers = st.floats(-10, 10)
errors = st.none() | st.floats(0, 1)
no_numbers = st.sampled_from([math.nan, math.inf, -math.inf, None])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Measurement, Rule, Against | None]:
    """A measured value that gates: bounds, a baseline or none, controls or none."""
    name = draw(st.sampled_from(["tpp", "principled.removed"]))
    higher = name == "tpp"
    bound = draw(numbers)
    rule = Rule(
        name,
        min=bound if higher else None,
        max=None if higher else bound,
        max_se=draw(st.none() | st.floats(0, 1)),
        regression=draw(
            st.none() | st.builds(Regression, rel=st.floats(0, 1), sigma=st.floats(0, 4))
        ),
    )
    direction = "higher" if higher else "lower"
    against = draw(
        st.none()
        | st.builds(
            Against,
            source=st.just("kept"),
            value=numbers,
            se=errors,
            differs=st.just(()),
            required=st.just(False),
            paired=errors,
        )
    )
    control = Control("random", "below", direction, draw(numbers), draw(errors))
    return (
        Measurement(
            draw(st.sampled_from("abc")),
            Estimate(name, draw(numbers), {"n": draw(st.integers(1, 9))}, se=draw(errors)),
            controls=(control,) if draw(st.booleans()) else (),
        ),
        rule,
        against,
    )


runs = st.lists(cases(), min_size=1, max_size=6, unique_by=lambda case: (case[0].sae, case[0].key))


def row(measurement: Measurement, rule: Rule, against: Against | None) -> Row:
    direction = measurement.spec.direction
    verdict = judge(
        measurement.estimate,
        rule,
        against=against,
        controls=measurement.controls,
        direction=direction,
    )
    built = row_of(measurement, verdict, rule, "t", against)
    return replace(built, outcome="failed" if verdict.red else "passed")


def verdict_of(run: list[tuple[Measurement, Rule, Against | None]]) -> str:
    return run_verdict([row(*case) for case in run], [], [], True)


def with_value(case: tuple[Measurement, Rule, Against | None], value: float | None):
    measurement, rule, against = case
    return replace(measurement, estimate=replace(measurement.estimate, value=value)), rule, against


@settings(max_examples=60)
@given(run=runs, seed=st.integers(0, 99))
def test_the_order_in_which_values_come_changes_neither_rows_nor_verdict(
    run: list[tuple[Measurement, Rule, Against | None]], seed: int
) -> None:
    mixed = random.Random(seed).sample(run, len(run))
    assert verdict_of(mixed) == verdict_of(run)
    rows = [
        sorted((row(*case) for case in each), key=lambda row: row.order) for each in (run, mixed)
    ]
    assert rows[0] == rows[1]


@settings(max_examples=60)
@given(run=runs, value=no_numbers, place=st.integers(0, 5))
def test_a_run_with_a_value_that_is_no_number_is_not_green(
    run: list[tuple[Measurement, Rule, Against | None]], value: float | None, place: int
) -> None:
    place %= len(run)
    spoilt = [*run[:place], with_value(run[place], value), *run[place + 1 :]]
    assert row(*spoilt[place]).verdict == "unmeasured"
    assert verdict_of(spoilt) != "pass"


@settings(max_examples=100)
@given(run=runs, more=st.floats(0, 20), place=st.integers(0, 5))
def test_one_better_value_never_turns_a_green_run_red(
    run: list[tuple[Measurement, Rule, Against | None]], more: float, place: int
) -> None:
    place %= len(run)
    measurement = run[place][0]
    sign = 1 if measurement.spec.direction == "higher" else -1
    assert measurement.estimate.value is not None
    better = with_value(run[place], measurement.estimate.value + sign * more)
    if verdict_of(run) == "pass":
        assert verdict_of([*run[:place], better, *run[place + 1 :]]) == "pass"


@settings(max_examples=60)
@given(run=runs)
def test_a_run_is_green_exactly_where_every_part_of_it_is(
    run: list[tuple[Measurement, Rule, Against | None]],
) -> None:
    alone = {verdict_of([case]) for case in run}
    assert (verdict_of(run) == "pass") == (alone == {"pass"})
    assert verdict_of(run) in alone


def test_the_run_is_as_bad_as_its_worst_row() -> None:
    rows = report().measurements
    assert run_verdict(rows, [], [], True) == "fail"
    unfailed = [each for each in rows if each.verdict != "fail"]
    assert run_verdict(unfailed, [], [], True) == "incomplete"
    green = [each for each in unfailed if each.verdict != "unmeasured"]
    assert run_verdict(green, [], [], True) == "pass"
    assert run_verdict(green, [], ["a test was lost"], True) == "incomplete"
    assert run_verdict(green, [Notable("t.py", "topk", "failed", "")], [], True) == "fail"
    assert run_verdict(rows, [], [], False) == "ungated"
    assert run_verdict(rows, [], ["a test was lost"], False) == "incomplete"
