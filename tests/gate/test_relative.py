"""Bounds that controls set, and bounds as statements about an interval."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import ThresholdsError
from pytest_sae.gate.planned import controls_needed
from pytest_sae.gate.rules import Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.plain import INTERVAL
from pytest_sae.records.relative import Margin, Relative
from tests.gate.test_bounds import parsed

TIED = Control("random_tied", "reference", "higher", 0.2, 0.01, paired=0.01)
RANDOM = Control("random", "below", "higher", -0.5, 0.01, paired=0.02)
PCA = Control("pca", "reference", "higher", 0.8, 0.01, paired=0.005)
HALF_WAY = Relative(("random", "random_tied"), "pca", share=0.5)
values = st.floats(-2, 2)


def explained(value: float, se: float | None = 0.01, **more: object) -> Estimate:
    return Estimate("explained_variance", value, se=se, **more)  # type: ignore[arg-type]


def held(value: float, bound: Relative, *controls: Control, undecided: str = "fail") -> str:
    rule = Rule("explained_variance", bound=bound, undecided=undecided)  # type: ignore[arg-type]
    return judge(explained(value), rule, controls=controls, direction="higher").name


def margin(value: float, bound: Relative, *controls: Control) -> Margin:
    found = bound.margin(value, 0.01, controls, "higher")
    assert isinstance(found, Margin)
    return found


def test_half_of_the_way_is_half_of_the_way_from_the_strongest_control() -> None:
    assert margin(0.6, HALF_WAY, RANDOM, TIED, PCA).limit == pytest.approx(0.5)
    assert margin(0.6, HALF_WAY, RANDOM, TIED, PCA).told == (
        "0.5 of the way from random_tied 0.2000 to pca 0.8000"
    )
    assert held(0.6, HALF_WAY, RANDOM, TIED, PCA) == "pass"
    assert held(0.4, HALF_WAY, RANDOM, TIED, PCA) == "fail"
    assert held(0.501, HALF_WAY, RANDOM, TIED, PCA) == "undecided"


def test_a_number_is_a_start_beside_controls() -> None:
    bound = Relative((0.0, "random"), "pca", share=0.5)
    assert margin(0.6, bound, RANDOM, PCA).limit == pytest.approx(0.4)


def test_an_end_below_the_start_asks_for_no_less_than_the_start() -> None:
    assert margin(0.3, HALF_WAY, RANDOM, TIED, replace(PCA, value=0.1)).limit == 0.2


def test_above_by_standard_errors_is_sure_by_so_many_of_the_paired_difference() -> None:
    bound = Relative(("random_tied",), sigma=3.0)
    assert held(0.2 + 3.1 * 0.01, bound, TIED) == "pass"
    assert held(0.2 + 2.9 * 0.01, bound, TIED) == "undecided"
    assert held(0.2 - 3.1 * 0.01, bound, TIED) == "fail"


def test_the_error_of_a_share_is_never_less_than_that_of_its_two_differences() -> None:
    # The truth, where both differences err independently: a closed form to hold the bound against.
    found = margin(0.6, HALF_WAY, RANDOM, TIED, PCA)
    alone = np.hypot(0.5 * 0.01, 0.5 * 0.005)
    assert (found.high - found.low) / 2 / INTERVAL >= alone
    assert (found.high - found.low) / 2 / INTERVAL == pytest.approx(0.5 * 0.01 + 0.5 * 0.005)


@settings(max_examples=200, deadline=None)
@given(values, st.floats(0.1, 10), st.floats(-5, 5), st.floats(0.05, 2))
def test_a_share_travels_it_does_not_know_unit_or_zero_of_a_world(
    value: float, scale: float, shift: float, share: float
) -> None:
    bound = Relative(("random", "random_tied"), "pca", share=share)
    here = margin(value, bound, RANDOM, TIED, PCA)
    there = bound.margin(
        scale * value + shift,
        scale * 0.01,
        [
            replace(
                each, value=scale * (each.value or 0) + shift, paired=scale * (each.paired or 0)
            )
            for each in (RANDOM, TIED, PCA)
        ],
        "higher",
    )
    assert isinstance(there, Margin)
    assert there.low == pytest.approx(scale * here.low, abs=1e-9)
    assert there.high == pytest.approx(scale * here.high, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-2, 0.5),
    st.floats(0, 0.5),
    st.sampled_from([HALF_WAY, Relative(("random",), by=-0.1)]),
)
def test_a_better_value_has_no_worse_verdict(value: float, more: float, bound: Relative) -> None:
    order = ("fail", "undecided", "pass")
    worse, better = (held(each, bound, RANDOM, TIED, PCA) for each in (value, value + more))
    assert order.index(better) >= order.index(worse)


@settings(max_examples=200, deadline=None)
@given(values, values, st.floats(0, 1))
def test_a_mirror_image_is_judged_the_same(value: float, other: float, by: float) -> None:
    bound = Relative(("random",), by=by)
    control = replace(RANDOM, value=other)
    mirrored = replace(control, value=-other, direction="lower")
    up = bound.margin(value, 0.01, [control], "higher")
    down = bound.margin(-value, 0.01, [mirrored], "lower")
    assert isinstance(up, Margin)
    assert isinstance(down, Margin)
    assert (up.low, up.high) == (down.low, down.high)
    assert up.limit == -down.limit


def test_of_what_was_not_measured_nothing_is_said() -> None:
    rule = Rule("explained_variance", bound=HALF_WAY)
    verdict = judge(explained(0.6), rule, controls=[RANDOM, PCA], direction="higher")
    assert (verdict.name, verdict.decided_by) == ("unmeasured", "bound")
    assert "random_tied was not measured" in verdict.reason
    assert "override" not in verdict.reason


def test_a_control_that_could_not_be_computed_is_not_left_out_silently() -> None:
    silent = replace(TIED, value=None, status="undefined", reason="no latent of it fires")
    assert held(0.6, HALF_WAY, RANDOM, silent, PCA) == "unmeasured"


def test_a_control_that_cannot_exist_leaves_the_others_to_decide() -> None:
    none = replace(TIED, value=None, status="not_applicable", reason="a transcoder has none")
    assert margin(0.6, HALF_WAY, RANDOM, none, PCA).limit == pytest.approx(0.15)


def test_without_any_control_by_make_the_absolute_bound_decides_and_none_is_no_pass() -> None:
    gone = replace(PCA, value=None, status="not_applicable", reason="two sites")
    rule = Rule("explained_variance", bound=HALF_WAY)
    alone = judge(explained(0.6), rule, controls=[RANDOM, TIED, gone], direction="higher")
    assert (alone.name, "two sites" in alone.reason) == ("unmeasured", True)
    assert "give this SAE a min or a max in place of the bound, in an [[override]]" in alone.reason
    beside = replace(rule, min=0.5)
    judged = judge(explained(0.6), beside, controls=[RANDOM, TIED, gone], direction="higher")
    assert judged.name == "pass"


def test_shuffled_labels_that_leave_nothing_to_measure_are_as_they_must_be() -> None:
    none = Control("shuffled_labels", "chance", "higher", None, status="undefined")
    assert held(0.6, Relative(("random", "shuffled_labels")), RANDOM, none) == "pass"


@pytest.mark.parametrize(
    ("ci", "name"),
    [((0.51, 0.7), "pass"), ((0.49, 0.7), "undecided"), ((0.3, 0.49), "fail"), (None, "pass")],
)
def test_a_bound_is_about_the_whole_interval(ci: tuple[float, float] | None, name: str) -> None:
    value = 0.6 if ci is None else sum(ci) / 2
    rule = Rule("explained_variance", min=0.5)
    assert judge(explained(value, ci=ci), rule, direction="higher").name == name


def test_an_undecided_value_is_told_how_much_more_would_tell() -> None:
    # Four times the texts halve the error: from 0.05 +- 0.0784 to 0.05 +- 0.0392.
    estimate = explained(0.55, 0.04, n={"texts": 100})
    verdict = judge(estimate, Rule("explained_variance", min=0.5), direction="higher")
    assert verdict.name == "undecided"
    times = float(re.search(r"about ([\d.]+) times", verdict.reason)[1])  # type: ignore[index]
    assert times == pytest.approx((INTERVAL * 0.04 / 0.05) ** 2, rel=0.05)
    assert INTERVAL * 0.04 / times**0.5 == pytest.approx(0.05, rel=0.05)


def test_at_the_bound_nobody_is_sent_to_measure_for_ever() -> None:
    verdict = judge(explained(0.5, 0.04), Rule("explained_variance", min=0.5), direction="higher")
    assert "no number of texts will tell" in verdict.reason


def test_a_rule_may_let_pass_what_is_undecided_and_says_so() -> None:
    assert held(0.501, HALF_WAY, RANDOM, TIED, PCA, undecided="pass") == "pass"
    assert held(0.4, HALF_WAY, RANDOM, TIED, PCA, undecided="pass") == "fail"


def test_at_a_true_value_on_the_bound_a_pass_is_as_rare_as_the_interval_says() -> None:
    rng, rule = np.random.default_rng(0), Rule("explained_variance", min=0.5)
    drawn = 0.5 + 0.01 * rng.standard_normal(4000)
    names = [judge(explained(float(x)), rule, direction="higher").name for x in drawn]
    # 2.5 % on each side, give or take three standard errors of the share.
    assert abs(names.count("pass") / 4000 - 0.025) < 3 * (0.025 * 0.975 / 4000) ** 0.5
    assert abs(names.count("fail") / 4000 - 0.025) < 3 * (0.025 * 0.975 / 4000) ** 0.5


def test_precision_can_be_asked_for_as_a_share_of_the_value() -> None:
    rule = parsed('[metrics.mse]\nmax = 9\nmax_se = "10 %"').rules["mse"]
    for se, name in ((0.39, "pass"), (0.41, "unmeasured"), (None, "unmeasured")):
        assert judge(Estimate("mse", 4.0, se=se), rule, direction="lower").name == name


def test_a_file_says_what_a_value_is_held_to() -> None:
    rules = parsed("""
        [metrics.explained_variance]
        bound = { share = 0.5, from = ["controls", 0], to = "pca" }
        undecided = "pass"
        [metrics."tpp.rescaled"]
        bound = { above = "controls", by = "3 se" }
        [metrics.dense_share_10pct]
        bound = { below = "random", by = -0.1 }
        [metrics.ce_recovered]
        bound = { share = 0.5, from = "random_tied", to = 1 }
    """).rules
    worthless = ("random", "permuted_decoder", "random_tied")
    assert rules["explained_variance"].bound == Relative((*worthless, 0.0), "pca", 0.5)
    assert rules["explained_variance"].undecided == "pass"
    beyond = Relative((*worthless, "shuffled_labels"), sigma=3.0)
    assert rules["tpp.rescaled"].bound == beyond
    assert rules["dense_share_10pct"].bound == Relative(("random",), by=-0.1)
    assert rules["ce_recovered"].bound == Relative(("random_tied",), 1.0, 0.5)


def test_a_run_measures_the_controls_that_its_rules_name_and_overrides_too() -> None:
    file = parsed("""
        [metrics.explained_variance]
        bound = { share = 0.5, from = "random_tied", to = "pca" }
        [metrics.cosine]
        gate = false
        reason = "shown"
        bound = { above = "random" }
        [[override]]
        sae = "layer_0*"
        metric = "tpp.rescaled"
        bound = { above = "permuted_decoder" }
        reason = "the first layer"
        expires = 2100-01-01
    """)
    assert controls_needed([file]) == {
        "explained_variance": {"random_tied", "pca"},
        "tpp.rescaled": {"permuted_decoder"},
    }


@pytest.mark.parametrize(
    ("metric", "bound", "says"),
    [
        ("explained_variance", "0.5", "bound is 0.5"),
        ("explained_variance", "{}", "bound is {}"),
        ("explained_variance", '{ above = "rnadom" }', "Did you mean 'random'"),
        ("explained_variance", '{ below = "random" }', "higher is better"),
        ("explained_variance", '{ above = "random", by = "3" }', '"3 se"'),
        ("explained_variance", '{ above = "random", to = "pca" }', "unknown key 'to'"),
        ("explained_variance", '{ share = 0.5, from = "random" }', "no 'to'"),
        ("explained_variance", '{ share = 0, from = "random", to = "pca" }', "worth nothing"),
        ("explained_variance", "{ above = [] }", "names no control"),
        ("explained_variance", '{ above = "shuffled_labels" }', "cannot be held to"),
        ("l0", '{ above = "random" }', "no way is better"),
        ("ravel", '{ above = "controls" }', "measured on no worthless control"),
        ("tpp.rescaled", '{ share = 0.5, from = "random", to = "pca" }', "cannot be held to"),
    ],
)
def test_a_bound_that_cannot_be_used_is_refused_with_its_line(
    metric: str, bound: str, says: str
) -> None:
    with pytest.raises(ThresholdsError, match=re.escape(says)) as raised:
        parsed(f'[metrics."{metric}"]\nbound = {bound}')
    assert str(raised.value).startswith("bounds.toml:3: ")


@pytest.mark.parametrize("word", ["'maybe'", "true"])
def test_undecided_is_one_of_two_words(word: str) -> None:
    with pytest.raises(ThresholdsError, match='Expected "fail" or "pass"'):
        parsed(f"[metrics.mse]\nmax = 1\nundecided = {word}")
