"""The verdict: total, monotone, and never green without a finite value inside its bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.gate.bounds import Rule
from pytest_sae.gate.rules import Regression
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate, no_data, not_applicable, undefined
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.row import Against
from pytest_sae.records.verdicts import RED, VerdictName, headline, is_red

finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.one_of(
    st.none(), st.floats(), st.booleans(), st.text(), st.integers(), st.just(Decimal("0.5")),
    st.just([0.5]), st.complex_numbers(), st.just(10**400), st.just(Fraction(1, 3)),
)  # fmt: skip
statuses = st.sampled_from(["ok", "undefined", "not_applicable", "no_data", "unable", "nonsense"])
rules = st.one_of(
    st.none(),
    st.builds(
        Rule,
        name=st.just("tpp"),
        min=st.none() | finite,
        max=st.none() | finite,
        max_se=st.none() | st.floats(0, 1e6),
        gate=st.booleans(),
        reason=st.text(),
    ),
)
NOT_GREEN = {*RED, "ungated"}


def estimate(value: object, se: object = None, status: str = "ok") -> Estimate:
    return Estimate("tpp", value, se=se, status=status)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(anything, anything, statuses, rules)
def test_every_input_has_a_verdict(
    value: object, se: object, status: str, rule: Rule | None
) -> None:
    verdict = judge(estimate(value, se, status), rule)
    assert verdict.name in get_args(VerdictName)
    assert verdict.reason or (rule is not None and not rule.gate) or rule is None


@settings(max_examples=100, deadline=None)
@given(anything, anything, statuses, rules)
def test_green_means_a_finite_value_inside_gating_bounds(
    value: object, se: object, status: str, rule: Rule | None
) -> None:
    if judge(estimate(value, se, status), rule).name in NOT_GREEN:
        return
    number = as_number(value)
    assert number is not None
    assert status == "ok"
    assert rule is not None
    assert rule.gate
    assert rule.min is None or number >= rule.min
    assert rule.max is None or number <= rule.max


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([math.nan, math.inf, -math.inf, np.nan, np.float32("nan")]), rules)
def test_nan_and_infinity_are_unmeasured_where_a_rule_gates_and_shown_elsewhere(
    value: float, rule: Rule | None
) -> None:
    asked = rule is not None and rule.gate
    assert judge(estimate(value), rule).name == ("unmeasured" if asked else "ungated")


@settings(max_examples=100, deadline=None)
@given(finite, finite, finite)
def test_raising_the_value_never_turns_pass_into_fail_under_a_minimum(
    low: float, high: float, bound: float
) -> None:
    low, high = sorted([low, high])
    rule = Rule("tpp", min=bound)
    assert not (judge(estimate(low), rule).name == "pass" and judge(estimate(high), rule).red)


@settings(max_examples=100, deadline=None)
@given(finite, finite, finite)
def test_lowering_the_value_never_turns_pass_into_fail_under_a_maximum(
    low: float, high: float, bound: float
) -> None:
    low, high = sorted([low, high])
    rule = Rule("tpp", max=bound)
    assert not (judge(estimate(high), rule).name == "pass" and judge(estimate(low), rule).red)


@settings(max_examples=100, deadline=None)
@given(finite, rules)
def test_numpy_scalars_are_judged_like_floats(value: float, rule: Rule | None) -> None:
    assert judge(estimate(np.float64(value)), rule) == judge(estimate(value), rule)


@pytest.mark.parametrize("se", [None, 0.02])
def test_demanded_precision_that_is_not_shown_is_unmeasured(se: object) -> None:
    verdict = judge(estimate(0.9, se), Rule("tpp", min=0.5, max_se=0.01))
    assert verdict.name == "unmeasured"
    assert verdict.reason.startswith("not precise enough")
    assert verdict.decided_by == "max_se"


def test_a_value_outside_its_bounds_fails_however_imprecise() -> None:
    assert judge(estimate(-20, 9.0), Rule("tpp", min=0.5, max_se=0.01)).name == "fail"


def test_bounds_are_inclusive() -> None:
    assert judge(estimate(0.5, 0.0), Rule("tpp", min=0.5, max=0.5, max_se=0.0)).name == "pass"


def test_not_applicable_is_shown_and_not_red() -> None:
    verdict = judge(not_applicable("tpp", "a transcoder"), Rule("tpp", min=0.5))
    assert (verdict.name, verdict.reason) == ("ungated", "not applicable: a transcoder")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (None, "ungated"),
        (Rule("tpp", min=0.5), "unmeasured"),
        (Rule("tpp", min=0.5, optional=True), "ungated"),
        (Rule("tpp", gate=False, reason="a budget"), "ungated"),
    ],
)
def test_what_has_no_data_is_red_where_a_rule_insists(rule: Rule | None, name: str) -> None:
    verdict = judge(no_data("tpp", "mine.toml has no [[scr]] table"), rule)
    assert verdict.name == name
    assert verdict.reason.startswith("no data: mine.toml has no [[scr]] table")
    assert ("optional = true" in verdict.reason) == verdict.red


def test_what_has_no_data_any_more_is_red_where_the_baseline_has_a_value() -> None:
    lost = no_data("tpp", "mine.toml has no [[scr]] table")
    rule = Rule("tpp", min=0.5, optional=True)
    had = Against("base.json", 0.9, None, (), False, None)
    verdict = judge(lost, rule, against=had, direction="higher")
    assert verdict.name == "unmeasured"
    assert verdict.reason.endswith("has no [[scr]] table (base.json has 0.9000)")
    never = replace(had, value=None)
    assert not judge(lost, rule, against=never, direction="higher").red
    shown = replace(rule, gate=False)
    assert not judge(lost, shown, against=had, direction="higher").red


def test_a_baseline_has_no_say_without_the_direction_of_the_metric() -> None:
    had = Against("base.json", 0.9, None, (), False, None)
    with pytest.raises(ValueError, match="no direction"):
        judge(estimate(0.5), Rule("tpp", min=0.5), against=had)


def test_no_data_with_a_value_is_unmeasured() -> None:
    assert judge(estimate(0.9, status="no_data"), Rule("tpp", min=0.5, optional=True)).red


def test_not_applicable_with_a_value_is_unmeasured() -> None:
    rule = Rule("tpp", min=0.5)
    assert judge(estimate(0.9, status="not_applicable"), rule).name == "unmeasured"


@pytest.mark.parametrize("se", [math.nan, math.inf, -0.1, "0.001"])
@pytest.mark.parametrize("rule", [None, Rule("tpp", min=0.5), Rule("tpp", gate=False, reason="x")])
def test_a_standard_error_that_is_none_is_a_defect_of_the_metric(
    se: object, rule: Rule | None
) -> None:
    verdict = judge(estimate(0.9, se), rule)
    assert verdict.red
    assert verdict.reason.startswith("a defect of the metric: its standard error is ")


@pytest.mark.parametrize(("metric", "value"), [("shift.accepted", 1.2), ("l0", -1.0), ("mse", -1)])
def test_a_value_outside_its_range_is_red_and_named_so(metric: str, value: float) -> None:
    for rule in (None, Rule(metric, max=0.5), Rule(metric, gate=False, reason="noisy")):
        verdict = judge(Estimate(metric, value), rule)
        assert verdict.red
        assert "outside its range" in verdict.reason


def test_rounding_at_the_end_of_a_range_is_no_defect() -> None:
    assert judge(Estimate("cosine", 1 + 1e-9), Rule("cosine", min=0.5)).name == "pass"


def test_undefined_gives_its_reason() -> None:
    verdict = judge(undefined("tpp", "no token fired"), Rule("tpp", min=0.5))
    assert (verdict.name, verdict.reason) == ("unmeasured", "no token fired")


def test_undefined_under_an_advisory_rule_is_shown_and_not_red() -> None:
    verdict = judge(undefined("tpp", "no token fired"), Rule("tpp", gate=False, reason="noisy"))
    assert (verdict.name, verdict.reason) == ("ungated", "undefined: no token fired")


def test_undefined_without_a_rule_is_recorded_and_never_red() -> None:
    verdict = judge(undefined("tpp", "no token fired"), None, "no rule in bounds.toml")
    assert (verdict.name, verdict.red) == ("ungated", False)
    assert verdict.reason == "no rule in bounds.toml; no token fired"


def test_an_advisory_rule_never_decides() -> None:
    verdict = judge(estimate(0.1), Rule("tpp", min=0.5, gate=False, reason="noisy"))
    assert (verdict.name, verdict.reason) == ("ungated", "noisy")


def test_a_metric_without_a_rule_says_where_it_was_looked_for() -> None:
    verdict = judge(estimate(0.1), None, "no rule in bounds.toml")
    assert (verdict.name, verdict.reason) == ("ungated", "no rule in bounds.toml")


def test_xfail_excuses_a_failure_but_not_a_missing_measurement() -> None:
    assert not is_red("fail", "xfailed")
    assert is_red("unmeasured", "xfailed")
    assert is_red("fail", "failed")


@pytest.mark.parametrize(
    ("value", "rule", "line"),
    [
        (0.612, Rule("tpp", min=0.7), "tpp 0.6120 < min 0.7000 [topk]"),
        (130.0, Rule("tpp", max=120), "tpp 130.0000 > max 120.0000 [topk]"),
        (0.69999999, Rule("tpp", min=0.7), "tpp 0.69999999 < min 0.7 [topk]"),
        (1e-7, Rule("tpp", min=0.7), "tpp 1e-07 < min 0.7000 [topk]"),
        (0.9, Rule("tpp", min=0.7), "tpp 0.9000 >= min 0.7 [topk]"),
        (30.0, Rule("tpp", min=20, max=120), "tpp 30.0000 in 20..120 [topk]"),
        (math.nan, Rule("tpp", min=0.7), "tpp unmeasured: value is nan [topk]"),
        (None, Rule("tpp", min=0.7), "tpp unmeasured: no value [topk]"),
        (
            True,
            Rule("tpp", min=0.7),
            "tpp unmeasured: value is bool, no number that can be compared [topk]",
        ),
        (0.9, None, "tpp 0.9000 not gated: no rule [topk]"),
    ],
)
def test_the_first_line_is_complete(value: object, rule: Rule | None, line: str) -> None:
    verdict = judge(estimate(value), rule)
    shown = as_number(value)
    assert headline("topk", "tpp", shown, verdict.name, verdict.reason) == line


BESIDE = Rule("tpp", regression=Regression(abs=0.1), beside_baseline=True, optional=None)
NEW, KEPT = (Against("kept", value, None, (), False, None) for value in (None, 0.5))


@pytest.mark.parametrize(
    ("value", "against", "expected"),
    [
        (0.5, None, "ungated"),
        (0.5, NEW, "ungated"),
        (0.5, KEPT, "pass"),
        (0.3, KEPT, "regressed"),
        (None, None, "ungated"),
        (None, NEW, "ungated"),
        (None, KEPT, "unmeasured"),
    ],
)
def test_a_rule_beside_a_baseline_decides_where_that_has_a_value(
    value: float | None, against: Against | None, expected: str
) -> None:
    measured = Estimate("tpp", value) if value is not None else undefined("tpp", "no texts")
    assert judge(measured, BESIDE, against=against, direction="higher").name == expected


def test_a_rule_beside_a_baseline_says_nothing_of_what_controls_are_worth() -> None:
    control = Control("random", "below", "higher", 0.9, 0.01)
    judged = [
        judge(Estimate("tpp", 0.5, se=0.01), rule, against=KEPT, controls=[control],
              direction="higher").name
        for rule in (BESIDE, replace(BESIDE, beside_baseline=False))
    ]  # fmt: skip
    assert judged == ["pass", "fail"]
