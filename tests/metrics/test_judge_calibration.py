"""Calibration figures from answers, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from pytest_sae.metrics.judge_calibration import (
    AttackAnswers,
    DetectionAnswers,
    RatingAnswers,
    balanced_accuracy,
    explain,
    injection,
    rate,
    score,
)

TRUTH = (True, True, False, False)
INVERTED = tuple(not each for each in TRUTH)
BOTH_KINDS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=12).filter(
    lambda pairs: len({truth for truth, _ in pairs}) == 2
)


@given(BOTH_KINDS)
def test_balanced_accuracy_is_scikit_learns(pairs: list[tuple[bool, bool]]) -> None:
    truth, said = zip(*pairs, strict=True)
    assert balanced_accuracy(truth, said) == pytest.approx(balanced_accuracy_score(truth, said))


@given(BOTH_KINDS)
def test_saying_the_opposite_mirrors_it_at_a_half(pairs: list[tuple[bool, bool]]) -> None:
    truth, said = zip(*pairs, strict=True)
    opposite = [not each for each in said]
    assert balanced_accuracy(truth, opposite) == pytest.approx(1 - balanced_accuracy(truth, said))


def test_balanced_accuracy_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        balanced_accuracy([True, True], [True, False])


def test_explain_is_the_mean_over_the_rules() -> None:
    found = explain({"a": (TRUTH, TRUTH), "b": (TRUTH, (True,) * 4), "c": (TRUTH, None)}, seed=0)
    assert found.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.details["rules"] == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert found.details["abstained"] == 1
    assert found.n == {"rules": 3}


def test_score_counts_the_corruptions_that_do_worse_and_ties_as_half() -> None:
    wrong = {"worse": (True,) * 4, "tie": TRUTH, "mirrored": INVERTED, "silent": None}
    found = score({"a": DetectionAnswers(TRUTH, TRUTH, wrong)}, seed=0)
    assert found.value == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert found.details["abstained"] == 1


def test_score_is_0_for_a_judge_that_prefers_wrong_descriptions() -> None:
    found = score({"a": DetectionAnswers(TRUTH, INVERTED, {"x": TRUTH, "y": (True,) * 4})}, seed=0)
    assert found.value == 0


def test_nothing_said_of_the_true_description_wins_nothing() -> None:
    found = score({"a": DetectionAnswers(TRUTH, None, {"x": None, "y": INVERTED})}, seed=0)
    assert found.value == 0
    assert found.details["abstained"] == 2


def test_rate_weighs_latents_of_a_concept_and_of_none_alike() -> None:
    answers = {
        "a": RatingAnswers("gender", "gender"),
        "b": RatingAnswers("gender", "topic"),
        "c": RatingAnswers("topic", None),
        "d": RatingAnswers("topic", "topic"),
        "e": RatingAnswers(None, None),
        "f": RatingAnswers(None, None, abstained=True),
    }
    found = rate(answers, seed=0)
    assert found.value == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert found.details["abstained"] == 1


def test_rate_is_undefined_with_one_kind_of_latents() -> None:
    found = rate({"a": RatingAnswers("gender", "gender")}, seed=0)
    assert found.status == "undefined"
    assert "latents of none" in found.reason


def test_injection_is_a_share_with_the_names_of_what_was_obeyed() -> None:
    answers = [AttackAnswers(f"rule {place}", place != 3) for place in range(20)]
    found = injection([*answers, AttackAnswers("silent", ignored=False, abstained=True)])
    assert found.value == pytest.approx(19 / 21)
    assert found.details == {"obeyed": ["rule 3", "silent"], "abstained": 1}
    low, high = found.ci
    assert 0 < low < 19 / 21 < high < 1


rule_answers = st.dictionaries(
    st.text(max_size=3), st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=6
)


@given(rule_answers, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_the_rules_changes_no_bit(said: dict[str, list[bool]], order) -> None:
    answers = {name: (TRUTH, each) for name, each in said.items()}
    shuffled = dict(order.sample(list(answers.items()), len(answers)))
    assert explain(answers, seed=3) == explain(shuffled, seed=3)
    rated = {name: RatingAnswers("g" if each[0] else None, "g") for name, each in said.items()}
    again = {name: rated[name] for name in shuffled}
    assert rate(rated, seed=3) == rate(again, seed=3)


def test_intervals_hold_the_truth_in_about_95_of_100_worlds() -> None:
    """Each rule's accuracy is drawn; the interval is of their mean, over rules."""
    rng, inside = np.random.default_rng(0), 0
    for seed in range(200):
        answers = {}
        for rule in range(25):
            right = rng.random(20) < rng.choice([0.6, 0.9])
            truth = np.arange(20) % 2 == 0
            answers[str(rule)] = (truth.tolist(), (truth == right).tolist())
        low, high = explain(answers, seed).ci
        inside += low <= 0.75 <= high
    assert 0.88 * 200 <= inside <= 0.99 * 200
