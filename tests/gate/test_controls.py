"""Controls: what must hold of each, when that decides, and that the gate stays total with them."""

from __future__ import annotations

import math
import random
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.families.registry import cards, expected_of, known, spec_of
from pytest_sae.gate.bounds import Rule
from pytest_sae.gate.controls import doubt, holds
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.control import CONTROLS, Control, Expected
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.doubts import STANDARD_ERRORS
from pytest_sae.records.row import Against
from pytest_sae.records.verdicts import GREEN, VerdictName

finite = st.floats(-1e6, 1e6)
errors = st.none() | st.floats(0, 1e3)
anything = st.one_of(
    st.none(), st.floats(), st.booleans(), st.text(max_size=3), st.just([1]), st.just(10**400)
)
kinds = st.sampled_from(get_args(Expected))
directions = st.sampled_from(["higher", "lower", "none", "sideways"])


@st.composite
def controls(draw: st.DrawFn, value: st.SearchStrategy[Any] = anything) -> Control:
    return Control(
        draw(st.sampled_from([*CONTROLS, "unknown"])),
        draw(kinds),
        draw(directions),
        draw(value),
        draw(anything),
        status=draw(st.sampled_from(["ok", "undefined", "not_applicable", "no_data"])),
        paired=draw(anything),
    )


def control(value: float | None, expected: Expected = "below", **fields: Any) -> Control:
    told = {"control": "random", "direction": "higher", "se": 0.01} | fields
    return Control(expected=expected, value=value, **told)


def estimate(value: object, se: float | None = 0.01) -> Estimate:
    return Estimate("scr", value, se=se)  # type: ignore[arg-type]


BOUND = Rule("scr", min=0.2)


@settings(max_examples=200, deadline=None)
@given(anything, anything, st.lists(controls(), max_size=4), st.sampled_from([None, BOUND]))
def test_every_input_has_a_verdict(
    value: object, se: object, them: list[Control], rule: Rule | None
) -> None:
    found = Estimate("scr", value, se=se)  # type: ignore[arg-type]
    verdict = judge(found, rule, controls=them)
    assert verdict.name in get_args(VerdictName)
    assert verdict.reason


@settings(max_examples=200, deadline=None)
@given(finite, errors, st.lists(controls(finite | st.none()), max_size=4))
def test_what_gates_and_is_green_has_every_control_where_it_must_be(
    value: float, se: float | None, them: list[Control]
) -> None:
    verdict = judge(estimate(value, se), Rule("scr", min=-1e9), controls=them)
    failing = [each for each in them if holds(value, se, each) is False]
    assert (verdict.name == "fail") == bool(failing)
    if failing:
        assert verdict.reason.startswith("not discriminating here: ")
        assert verdict.decided_by == "controls"


@settings(max_examples=200, deadline=None)
@given(finite, errors, st.lists(controls(finite), max_size=4))
def test_controls_change_only_what_would_have_passed(
    value: float, se: float | None, them: list[Control]
) -> None:
    against = Against("before", 0.5, 0.01, (), False, None)
    shown = Rule("scr", gate=False, reason="noisy")
    for rule, compared in ((None, None), (shown, None), (BOUND, None), (BOUND, against)):
        alone = judge(estimate(value, se), rule, against=compared, direction="higher")
        beside = judge(estimate(value, se), rule, "no rule", compared, them, "higher")
        if alone.red or alone.name == "ungated":
            assert beside == alone


@settings(max_examples=100, deadline=None)
@given(finite, errors, st.lists(controls(finite), max_size=5), st.randoms())
def test_the_order_of_controls_changes_nothing(
    value: float, se: float | None, them: list[Control], rng: random.Random
) -> None:
    # One of each name, as in a run: two of one name would speak in the order in which they come.
    them = list({each.control: each for each in them}.values())
    mixed = rng.sample(them, len(them))
    assert doubt(value, se, mixed) == doubt(value, se, them)


@settings(max_examples=100, deadline=None)
@given(finite, st.floats(0, 1e3), finite, st.floats(0, 1e3), st.floats(0, 1e6))
def test_a_better_value_is_never_told_worse_from_a_control(
    value: float, se: float, other: float, noise: float, better: float
) -> None:
    for direction, sign in (("higher", 1), ("lower", -1)):
        one = control(other, se=noise, direction=direction)
        if holds(value, se, one):
            assert holds(value + sign * better, se, one)


@settings(max_examples=100, deadline=None)
@given(finite, st.floats(0, 1e3), finite, st.floats(0, 1e3))
def test_a_control_that_holds_has_its_interval_apart(
    value: float, se: float, other: float, noise: float
) -> None:
    if holds(value, se, control(other, se=noise)):
        assert value - 1.96 * se > other + 1.96 * noise or se == noise == 0


@pytest.mark.parametrize(
    ("other", "fields", "expected"),
    [
        (0.45, {}, True),
        (0.47, {}, False),
        (0.55, {}, False),
        (0.47, {"paired": 0.009}, True),
        (0.45, {"paired": 0.02}, False),
        (0.55, {"direction": "lower"}, True),
        (0.45, {"direction": "lower"}, False),
        (0.45, {"direction": "none"}, None),
        (None, {"status": "undefined"}, None),
        (math.nan, {}, None),
        (None, {"status": "not_applicable"}, None),
        (0.49, {"se": None}, False),
    ],
)
def test_a_control_below_is_worse_by_three_standard_errors(
    other: float | None, fields: dict[str, Any], expected: bool | None
) -> None:
    assert holds(0.5, 0.01, control(other, **fields)) is expected


@pytest.mark.parametrize(("other", "expected"), [(24.0, True), (24.0 + 1e-12, False)])
def test_a_control_that_must_be_the_same_is_the_same_to_the_bit(
    other: float, expected: bool
) -> None:
    same = control(other, "same", control="permuted_decoder", direction="none")
    assert holds(24.0, 0.0, same) is expected
    told = doubt(24.0, 0.0, [same])
    assert told == ("" if expected else f"permuted_decoder gives {other!r}, not the same 24.0")


@pytest.mark.parametrize(
    ("value", "other", "fields", "expected"),
    [
        (0.5, 0.02, {}, True),
        (0.5, 0.04, {}, False),
        (0.5, None, {"status": "undefined"}, True),
        (0.02, None, {"status": "undefined"}, False),
        (0.5, 0.04, {"se": None}, None),
        (0.9, 0.52, {"chance": 0.5}, True),
        (0.52, 0.5, {"chance": 0.5}, False),
        (0.9, 0.56, {"chance": 0.5}, False),
    ],
)
def test_shuffled_labels_are_at_chance_and_the_sae_above(
    value: float, other: float | None, fields: dict[str, Any], expected: bool | None
) -> None:
    shuffled = control(other, "chance", control="shuffled_labels", **fields)
    assert holds(value, 0.01, shuffled) is expected
    assert bool(doubt(value, 0.01, [shuffled])) == (expected is False)


def test_a_reference_decides_nothing() -> None:
    assert holds(0.5, 0.01, control(0.9, "reference", control="identity")) is None


def test_the_reason_names_the_control_both_values_and_the_noise() -> None:
    verdict = judge(estimate(0.5), BOUND, controls=[control(0.49)])
    assert verdict.name == "fail"
    assert verdict.reason == (
        "not discriminating here: 0.5000 is not above random, 0.4900, by 3 standard errors of the "
        "difference (0.0141 each)"
    )


def test_a_value_outside_its_bounds_fails_on_them_first() -> None:
    verdict = judge(estimate(0.1), BOUND, controls=[control(0.1)])
    assert (verdict.name, verdict.reason) == ("fail", "0.1000 < min 0.2000")


def test_an_improvement_by_a_metric_that_does_not_discriminate_fails() -> None:
    against = Against("before", 0.3, 0.01, (), False, None)
    alone = judge(estimate(0.5), BOUND, against=against, direction="higher")
    assert alone.name == "improved"
    assert judge(estimate(0.5), BOUND, "", against, [control(0.5)], "higher").name == "fail"


def test_a_metric_that_does_not_gate_stays_green() -> None:
    rule = Rule("scr", gate=False, reason="noisy")
    assert judge(estimate(0.5), rule, controls=[control(0.5)]).name in GREEN


def test_every_metric_names_known_controls() -> None:
    for metric in known():
        assert set(spec_of(metric).controls) <= set(CONTROLS), metric


def test_what_must_be_below_is_a_metric_with_a_better_direction() -> None:
    for metric in known():
        for name in CONTROLS:
            if expected_of(metric, name) in ("below", "chance"):
                assert spec_of(metric).direction in ("higher", "lower"), (metric, name)


def test_every_control_of_a_family_is_one_that_there_is() -> None:
    for card in cards():
        named = (*card.cheap_controls, *card.more_controls)
        assert len(set(named)) == len(named), card.name
        assert set(named) <= set(CONTROLS), card.name


def test_a_metric_that_nobody_declared_has_no_controls() -> None:
    assert expected_of("longest_row", "random") is None


def test_more_noise_never_makes_a_control_hold() -> None:
    sizes = [0.0, 0.005, 0.01, 0.02, 0.1]
    found = [holds(0.5, 0.01, control(0.45, paired=size)) for size in sizes]
    assert found == sorted(found, reverse=True)
    assert found[0] is True
    assert found[-1] is False
    assert STANDARD_ERRORS == 3
