"""Scores of explanations and the estimates made of them, against sklearn and planted truths."""

import json
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from pytest_sae.metrics.autointerp import Score, auc, balanced_accuracy, constant_accuracy
from pytest_sae.metrics.autointerp_estimates import estimate, failed, withheld
from pytest_sae.metrics.autointerp_sample import borrowed, priority, quotas, strata
from pytest_sae.numbers.estimate import not_applicable

truths = st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda t: 0 < sum(t) < len(t))


def scores(values, *, strata=5, shuffled=None, constant=0.5, contexts=40) -> list[Score]:
    floors = [None] * len(values) if shuffled is None else shuffled
    return [
        Score(latent, latent % strata, float(value), constant, contexts, floor)
        for latent, (value, floor) in enumerate(zip(values, floors, strict=True))
    ]


# One latent


@given(truth=truths, data=st.data())
@settings(deadline=None)
def test_balanced_accuracy_is_sklearns(truth: list[bool], data: st.DataObject) -> None:
    said = data.draw(st.lists(st.booleans(), min_size=len(truth), max_size=len(truth)))
    assert balanced_accuracy(truth, said) == pytest.approx(balanced_accuracy_score(truth, said))


@given(truth=truths, answer=st.booleans())
@settings(deadline=None)
def test_a_constant_answer_scores_exactly_one_half(truth: list[bool], answer: bool) -> None:
    assert balanced_accuracy(truth, [answer] * len(truth)) == 0.5
    assert constant_accuracy(truth) == 0.5


def test_none_of_them_gains_nothing_where_few_contexts_are_active() -> None:
    """The published share of correct labels gives 10 of 14 here."""
    truth = [True] * 4 + [False] * 10
    said = [False] * 14
    assert np.mean(np.equal(truth, said)) == pytest.approx(0.714, abs=1e-3)
    assert balanced_accuracy(truth, said) == 0.5


@given(truth=truths, data=st.data())
@settings(deadline=None)
def test_an_unanswered_context_counts_as_a_wrong_answer(
    truth: list[bool], data: st.DataObject
) -> None:
    said = data.draw(
        st.lists(st.sampled_from([True, False, None]), min_size=len(truth), max_size=len(truth))
    )
    wrong = [not t if s is None else s for t, s in zip(truth, said, strict=True)]
    assert balanced_accuracy(truth, said) == balanced_accuracy(truth, wrong)


@given(truth=truths, data=st.data())
@settings(deadline=None)
def test_auc_is_sklearns_with_ties_too(truth: list[bool], data: st.DataObject) -> None:
    given_scores = data.draw(st.lists(st.integers(-3, 3), min_size=len(truth), max_size=len(truth)))
    found = auc(truth, np.array(given_scores, float))
    assert found == pytest.approx(roc_auc_score(truth, given_scores))


@given(truth=truths, constant=st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_auc_of_a_constant_score_is_one_half(truth: list[bool], constant: float) -> None:
    assert auc(truth, np.full(len(truth), constant)) == 0.5


@pytest.mark.parametrize("truth", [[True] * 3, [False] * 3, []])
def test_contexts_of_one_kind_have_no_score(truth: list[bool]) -> None:
    assert balanced_accuracy(truth, truth) is None
    assert constant_accuracy(truth) is None
    assert auc(truth, np.zeros(len(truth))) is None


# Drawing latents

densities = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.2]), min_size=1, max_size=60)


@given(values=densities, count=st.integers(1, 7), seed=st.integers(0, 9))
@settings(deadline=None)
def test_strata_hold_each_live_latent_once_and_the_rarest_come_first(
    values: list[float], count: int, seed: int
) -> None:
    given_densities = np.array(values)
    groups = strata(given_densities, count, seed)
    assert len(groups) == count
    assert sorted(chain.from_iterable(groups)) == np.flatnonzero(given_densities).tolist()
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    filled = [given_densities[group] for group in groups if group]
    for rarer, denser in pairwise(filled):
        assert rarer.max() <= denser.min()


def test_the_draw_within_a_stratum_depends_on_the_seed_and_not_on_the_other_latents() -> None:
    few = strata(np.r_[np.full(20, 0.1), np.zeros(20)], 1, seed=3)[0]
    more = strata(np.full(40, 0.1), 1, seed=3)[0]
    assert [latent for latent in more if latent < 20] == few
    assert strata(np.full(40, 0.1), 1, seed=4)[0] != more


def test_the_first_latents_of_a_stratum_are_a_fair_draw() -> None:
    firsts = [strata(np.full(4, 0.1), 1, seed)[0][0] for seed in range(400)]
    assert np.bincount(firsts, minlength=4).min() > 70


@given(total=st.integers(0, 1000), count=st.integers(1, 9))
@settings(deadline=None)
def test_quotas_are_equal_and_spend_everything(total: int, count: int) -> None:
    found = quotas(total, count)
    assert sum(found) == total
    assert max(found) - min(found) <= 1


@given(
    latents=st.lists(st.integers(0, 10**6), min_size=2, max_size=40, unique=True),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_everybody_borrows_from_somebody_else_and_lends_once(latents: list[int], seed: int) -> None:
    lender = borrowed(latents, seed)
    assert sorted(lender) == sorted(lender.values()) == sorted(latents)
    assert all(other != latent for latent, other in lender.items())
    assert borrowed(latents[::-1], seed) == lender


def test_one_latent_alone_has_nobody_to_borrow_from() -> None:
    with pytest.raises(ValueError, match="one latent alone"):
        borrowed([7], 0)


def test_priorities_of_other_names_differ() -> None:
    assert priority(0, "a", "bc") != priority(0, "ab", "c") != priority(1, "ab", "c")


# Estimates


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_latents_changes_no_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = scores(rng.uniform(size=25), shuffled=[*rng.uniform(size=10), *[None] * 15])
    shuffled = [made[place] for place in rng.permutation(25)]
    assert estimate("autointerp.detection", shuffled, 0) == estimate(
        "autointerp.detection", made, 0
    )


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_interval_is_that_of_a_stratified_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=60) / 4 + np.arange(60) % 5 / 8
    found = estimate("autointerp.detection", scores(values), seed)
    groups = [values[group::5] for group in range(5)]
    expected = np.sqrt(sum(group.var() / len(group) for group in groups)) / 5
    assert found.value == pytest.approx(values.mean())
    assert found.se == pytest.approx(expected, rel=0.15)
    assert found.ci[0] < found.value < found.ci[1]


def test_differences_between_strata_do_not_widen_the_interval() -> None:
    found = estimate("autointerp.detection", scores([latent % 5 / 5 for latent in range(30)]), 0)
    assert found.se == pytest.approx(0, abs=1e-12)
    assert found.details["strata"]["4"] == {"value": pytest.approx(0.8), "latents": 6}


def test_the_floors_stand_beside_the_score() -> None:
    values = np.linspace(0.7, 0.9, 20)
    lent = [*(values[:10] - 0.3), *[None] * 10]
    found = estimate("autointerp.fuzzing", scores(values, shuffled=lent), 0).details["floors"]
    assert found["constant"] == 0.5
    assert found["shuffled"]["value"] == pytest.approx(values[:10].mean() - 0.3)
    assert found["shuffled"]["latents"] == 10
    assert found["shuffled"]["se"] > 0
    # Paired: the spread of the latents is not in the gain.
    assert found["gain"]["value"] == pytest.approx(0.3)
    assert found["gain"]["se"] == pytest.approx(0, abs=1e-12)


def test_without_borrowed_explanations_there_is_no_gain() -> None:
    found = estimate("autointerp.fuzzing", scores([0.5] * 10), 0).details["floors"]
    assert found["shuffled"] is None
    assert found["gain"] is None


def test_the_estimate_counts_latents_and_contexts_and_is_plain_json() -> None:
    found = estimate("autointerp.detection", scores(np.linspace(0, 1, 12)), 0, {"more": 1})
    assert found.n == {"latents": 12, "contexts": 480}
    assert sum(found.details["histogram"]["latents"]) == 12
    assert json.loads(json.dumps(found.details, allow_nan=False)) == found.details
    assert found.details["more"] == 1


def test_fewer_than_ten_latents_are_no_estimate() -> None:
    found = estimate("autointerp.detection", scores([1.0] * 9), 0)
    assert found.status == "undefined"
    assert found.value is None
    assert "only 9 latents" in found.reason
    assert "effective n is small" in found.reason


@given(latents=st.integers(1, 200), share=st.floats(0, 1))
@settings(deadline=None)
def test_more_than_a_tenth_of_failures_leaves_nothing_defined(latents: int, share: float) -> None:
    count = int(share * latents)
    figure = estimate("autointerp.detection", scores([1.0] * 10), 0)
    absent = not_applicable("autointerp.surprisal", "no scorer model")
    rate = failed(set(range(count)), latents)
    assert rate.value == pytest.approx(count / latents)
    left = withheld([figure, absent], rate)
    assert left[1] == absent
    if count > latents / 10:
        assert left[0].status == "undefined"
        assert "unanswered" in left[0].reason
        assert left[0].details == figure.details
    else:
        assert left[0] == figure


def test_the_failure_rate_has_an_interval_and_names_the_latents() -> None:
    found = failed({7, 3}, 40)
    assert found.details["failed"] == [3, 7]
    assert found.ci[0] > 0
    assert found.ci[1] < 0.2


def test_two_dictionaries_are_compared_by_the_same_draws() -> None:
    one = estimate("autointerp.detection", scores(np.linspace(0, 1, 20)), 0)
    other = estimate("autointerp.fuzzing", scores(np.linspace(0, 1, 20)), 0)
    assert one.ci == other.ci
