"""Bounds from good SAEs: held against planted distributions, and against an explicit loop."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as students_t

from pytest_sae.errors import ReportError
from pytest_sae.gate.bound_forms import Reached
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.calibrate import Known, calibrate, limit
from pytest_sae.gate.judged import rejudged_against
from pytest_sae.numbers.control import Control
from tests.gate.known import PRINTS, known, row, verdicts

RANDOM = Control("random", "below", "higher", 0.0, 0.01, paired=0.01)
PCA = Control("pca", "reference", "higher", 0.8, 0.01, paired=0.01)


def saes(*values: float | None, metric: str = "mse", first: int = 0) -> list[Known]:
    """SAEs with one value each, of which nothing says how far it may be off."""
    return [
        known(f"s{number}", row(f"s{number}", metric, value))
        for number, value in enumerate(values, first)
    ]


def explained(name: str, value: float, se: float = 0.005) -> Known:
    return known(name, row(name, "explained_variance", value, se, RANDOM, PCA))


GOOD = [explained(f"good{n}", value) for n, value in enumerate((0.80, 0.81, 0.82, 0.80, 0.81))]


def test_another_sae_of_the_same_distribution_is_red_as_often_as_it_says() -> None:
    rng, runs, rate = np.random.default_rng(0), 300, 0.1
    red = 0
    for _ in range(runs):
        *good, fresh = saes(*rng.normal(100.0, 3.0, 6))
        red += verdicts(calibrate(good, rate=rate), fresh) == {"mse": "fail"}
    # Four standard errors of a share of so many runs.
    assert abs(red / runs - rate) < 4 * math.sqrt(rate * (1 - rate) / runs)


def test_a_share_is_missed_as_often_as_it_says_by_saes_that_are_not_known_exactly() -> None:
    rng, runs, rate = np.random.default_rng(2), 150, 0.1
    red = 0
    for _ in range(runs):
        *good, fresh = [explained(f"s{n}", each) for n, each in enumerate(rng.normal(0.6, 0.03, 6))]
        found = calibrate(good, rate=rate)
        assert "share" in found.rules[0].bound
        red += verdicts(found, fresh) != {"explained_variance": "pass"}
    assert abs(red / runs - rate) < 4 * math.sqrt(rate * (1 - rate) / runs)


def test_two_runs_of_a_recipe_are_called_a_regression_as_often_as_it_says() -> None:
    rng, runs, rate = np.random.default_rng(1), 300, 0.1
    worse = 0
    for _ in range(runs):
        *values, before, after = rng.normal(100.0, 3.0, 7)
        found = calibrate(saes(*values), rate=rate, one_recipe=True)
        allowed = found.rules[0].regression.removeprefix("other_seed = { abs = ").rstrip(" }")
        worse += after - before > float(allowed)
    assert abs(worse / runs - rate) < 4 * math.sqrt(rate * (1 - rate) / runs)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8), st.floats(0.005, 0.2))
def test_a_limit_is_the_prediction_limit_rounded_to_the_looser_side(
    levels: list[float], rate: float
) -> None:
    found = limit([Reached(level, level) for level in levels], rate)
    spread = float(np.std(levels, ddof=1))
    if found is None:
        assert spread < 1e-8
        return
    below = students_t.ppf(1 - rate, len(levels) - 1) * spread * math.sqrt(1 + 1 / len(levels))
    exact = min(float(np.mean(levels)) - below, *levels)
    assert exact - 0.11 * below <= found <= exact + 1e-9


def test_saes_that_happen_to_be_alike_are_known_no_better_than_their_error() -> None:
    alike = [Reached(0.5, 0.6), Reached(0.5, 0.6), Reached(0.5, 0.6)]
    found = limit(alike, 0.01)
    assert found is not None
    assert found < 0.5 - 2 * 0.1 / 1.96


def test_leaving_one_out_is_what_a_loop_over_all_of_them_finds() -> None:
    good = saes(100.0, 100.5, 99.5, 100.2, 140.0)
    alarms = []
    for each in good:
        others = [other for other in good if other is not each]
        alarms += [each.name] * (verdicts(calibrate(others), each) == {"mse": "fail"})
    found = calibrate(good).rules[0]
    assert alarms == ["s4"]
    assert found.alarms == tuple(alarms)
    assert "leave-one-out false alarms 1 of 5 (s4)" in found.reason


def test_the_file_that_is_written_passes_all_good_and_fails_all_bad_ones(tmp_path: Path) -> None:
    bad = [explained("worse", 0.5), explained("untrained", 0.02)]
    found = calibrate(GOOD, bad)
    path = tmp_path / "made.toml"
    path.write_text(found.text(), encoding="utf-8")
    rule = load_thresholds(path).rules["explained_variance"]
    for sae, verdict in [(each, "pass") for each in GOOD] + [(each, "fail") for each in bad]:
        held = sae.rows["explained_variance"]
        assert rejudged_against(held, None, rule, "").verdict == verdict
    assert rule.bound is not None
    assert rule.bound.end == "pca"
    assert "catches untrained, worse; catches controls random" in rule.reason
    assert found.uncaught == ()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.3, 0.99), min_size=2, max_size=6),
    st.lists(st.floats(-0.5, 0.99), max_size=3),
    st.floats(0, 0.05),
)
def test_whatever_the_values_are_no_good_sae_is_red(
    good: list[float], bad: list[float], se: float
) -> None:
    fine = [explained(f"g{n}", value, se) for n, value in enumerate(good)]
    poor = [explained(f"b{n}", value, se) for n, value in enumerate(bad)]
    found = calibrate(fine, poor)
    told = {verdict for each in fine for verdict in verdicts(found, each).values()}
    assert told <= {"pass", "ungated"}
    reds = {each.name for each in poor if {*verdicts(found, each).values()} & {"fail", "undecided"}}
    assert {*found.bad} - {*found.uncaught} <= reds


def test_a_bad_sae_that_no_rule_catches_is_named() -> None:
    found = calibrate(GOOD, [explained("as good", 0.81)])
    assert found.uncaught == ("as good",)
    assert "lets pass as good" in found.rules[0].reason
    assert "Bad, and green by every rule: as good." in found.told()


def test_a_metric_that_lets_every_bad_one_pass_does_not_gate() -> None:
    found = calibrate(saes(1.0, 1.1, 1.2), saes(1.05, first=7))
    assert found.gating == ()
    assert "would let pass s7" in found.rules[0].why


def test_a_metric_by_which_random_weights_are_as_good_does_not_gate() -> None:
    level = Control("random", "reference", "lower", 1.0, 0.1)
    good = [known(name, row(name, "mse", 1.0 + n / 10, 0.1, level)) for n, name in enumerate("abc")]
    found = calibrate(good)
    assert found.gating == ()
    assert "would let pass random" in found.rules[0].why


@pytest.mark.parametrize(("passes", "gating"), [("permuted_decoder", 0), ("random_tied", 1)])
def test_what_is_worse_by_make_has_to_be_caught_whatever_else_is(passes: str, gating: int) -> None:
    # Of random_tied the metric's card says nothing that must hold.
    level = Control(passes, "reference", "higher", 0.5, 0.1)
    good = [
        known(name, row(name, "explained_variance", 0.5 + n / 10, 0.01, level))
        for n, name in enumerate("abc")
    ]
    bad = known("d", row("d", "explained_variance", -50.0, 0.01, level))
    assert len(calibrate(good, [bad]).gating) == gating


def test_values_that_do_not_differ_and_have_no_error_say_nothing_of_another() -> None:
    assert "do not differ" in calibrate(saes(1.0, 1.0, 1.0)).rules[0].why


def test_the_last_digits_of_floats_are_no_difference() -> None:
    third = 0.1 + 0.2
    assert third != 0.3
    assert calibrate(saes(0.3, third, 0.3)).gating == ()


def test_a_bound_beyond_the_range_of_the_metric_is_none() -> None:
    found = calibrate(saes(0.1, 0.5, 0.9, metric="dead_share"))
    assert "would forbid nothing" in found.rules[0].why


def test_what_only_one_good_sae_was_measured_on_does_not_gate() -> None:
    good = saes(1.0, None, None)
    found = calibrate(good)
    assert found.rules[0].why == "measured on 1 of 3 good SAEs: two are needed"
    assert "ungated" in verdicts(found, good[0]).values()


def test_where_a_good_sae_has_no_value_the_metric_does_not_gate() -> None:
    found = calibrate(saes(1.0, 1.1, 1.2, None))
    assert "s3 is red by max" in found.rules[0].why


def test_what_no_good_sae_was_measured_on_is_named_and_a_budget_is_not() -> None:
    text = calibrate(saes(1.0, 1.1)).text()
    comment = text[: text.index("version")]
    assert "ravel" in comment
    assert "l0" not in text


def test_settings_of_a_metric_have_rules_of_their_own() -> None:
    good = [
        known(
            f"s{n}",
            row(f"s{n}", "scr", 0.5 + n / 100, task="a/b", n=5),
            row(f"s{n}", "scr", 0.8 + n / 100, task="ü", n=20),
        )
        for n in range(3)
    ]
    found = calibrate(good)
    assert [each.key for each in found.gating] == ["scr:n=5,task=a/b", "scr:n=20,task=ü"]
    assert {*verdicts(found, good[0]).values()} == {"pass"}


def test_what_a_bound_catches_of_damages_is_said_and_sets_no_bound() -> None:
    damaged = [explained("dropped_20", 0.5), explained("decoder_noise_10", 0.80)]
    found = calibrate(GOOD, damaged=damaged)
    assert found.rules[0].bound == calibrate(GOOD).rules[0].bound
    assert found.rules[0].damages == {"dropped_20": True, "decoder_noise_10": False}
    assert "catches damages dropped_20; lets pass damages decoder_noise_10" in found.rules[0].reason
    assert "Damage dropped_20 is red by 1 of 1 rules: explained_variance." in found.told()
    assert "Damage decoder_noise_10 is red by 0 of 1 rules." in found.told()
    assert found.uncaught == ()


def test_a_metric_that_sees_no_damage_gates_as_it_does_without() -> None:
    good, damaged = saes(1.0, 1.1, 1.2), saes(1.05, first=7)
    assert calibrate(good, damaged=damaged).gating[0].bound == calibrate(good).gating[0].bound


@pytest.mark.parametrize("kind", ["data", "model", "suite"])
def test_damaged_copies_have_to_be_measured_alike_too(kind: str) -> None:
    other = known("half_active", row("c", "mse", 1.0, prints={**PRINTS, kind: "else"}))
    with pytest.raises(ReportError, match=f"{kind} was .*, is else"):
        calibrate(saes(1.0, 1.1), damaged=[other])


def test_the_order_in_which_saes_are_named_changes_nothing() -> None:
    bad = [explained("worse", 0.5), explained("untrained", 0.02)]
    mixed = GOOD[:]
    random.Random(0).shuffle(mixed)
    assert calibrate(mixed, bad[::-1]).text() == calibrate(GOOD, bad).text()


def test_one_good_sae_is_not_enough() -> None:
    with pytest.raises(
        ReportError, match=r"there is 1 good SAE\. Expected at least two, better five"
    ):
        calibrate(saes(1.0))


def test_the_same_sae_twice_is_refused() -> None:
    twice = [known("a", row("x", "mse", 1.0)), known("b", row("x", "mse", 1.0))]
    with pytest.raises(ReportError, match="b is the same SAE as a"):
        calibrate(twice)


@pytest.mark.parametrize("kind", ["data", "model", "suite"])
def test_saes_that_were_not_measured_alike_are_refused_by_what_differs(kind: str) -> None:
    other = row("b", "mse", 1.0, prints={**PRINTS, kind: "else"})
    with pytest.raises(ReportError, match=f"{kind} was .*, is else"):
        calibrate([known("a", row("a", "mse", 1.0)), known("b", other)])


def test_an_sae_of_another_layer_may_be_a_bad_one() -> None:
    elsewhere = known("c", row("c", "mse", 9.0, prints={**PRINTS, "site": "else"}))
    assert calibrate(saes(1.0, 1.1, 1.2), [elsewhere]).uncaught == ()
