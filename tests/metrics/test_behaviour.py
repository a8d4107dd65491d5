"""Cross-entropy, KL and what a splice recovers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.metrics.behaviour import BehaviourSums, cross_entropy, finish, kl, predictions

TEXTS, POSITIONS, VOCAB = 5, 9, 11


def batch(seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(TEXTS, POSITIONS, VOCAB, generator=g) * 3
    ids = torch.randint(VOCAB, (TEXTS, POSITIONS), generator=g)
    lengths = torch.tensor([9, 2, 5, 1, 7])
    valid = (torch.arange(POSITIONS) < lengths[:, None]) & (torch.arange(POSITIONS) > 0)
    return logits, ids, valid


def test_only_predictions_at_and_of_valid_tokens_count() -> None:
    valid = torch.tensor([[False, True, True, True, False]])
    assert predictions(valid).tolist() == [[False, True, True, False, False]]
    assert predictions(valid, ~valid).tolist() == [[True, False, False, False, False]]


def test_cross_entropy_is_torchs_summed_over_counted_predictions() -> None:
    logits, ids, valid = batch()
    mask = predictions(valid)
    expected = torch.zeros(TEXTS, dtype=torch.float64)
    for text in range(TEXTS):
        for place in range(POSITIONS - 1):
            if mask[text, place]:
                expected[text] += torch.nn.functional.cross_entropy(
                    logits[text, place].double(), ids[text, place + 1]
                )
    torch.testing.assert_close(cross_entropy(logits, ids, mask), expected, rtol=1e-6, atol=1e-6)


def test_kl_is_torchs_on_distributions() -> None:
    (clean, _, valid), (other, _, _) = batch(0), batch(1)
    mask = predictions(valid)
    p, q = clean.double().log_softmax(-1), other.double().log_softmax(-1)
    terms = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(kl(clean, other, mask), (terms * mask).sum(1), rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_kl_is_zero_for_equal_models_and_positive_otherwise(seed: int) -> None:
    (clean, _, valid), (other, _, _) = batch(seed), batch(seed + 1)
    mask = predictions(valid)
    assert (kl(clean, clean, mask) == 0).all()
    assert (kl(clean, other, mask)[mask.any(1)] > 0).all()


def test_kl_survives_probabilities_that_underflow() -> None:
    clean = torch.tensor([[[0.0, -300.0, -torch.inf], [0.0, 0.0, 0.0]]])
    other = torch.tensor([[[0.0, -400.0, -torch.inf], [0.0, 0.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    assert kl(clean, other, mask).tolist() == [0.0]


@given(shift=st.floats(-50, 50), seed=st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_adding_a_constant_to_all_logits_changes_nothing(shift: float, seed: int) -> None:
    logits, ids, valid = batch(seed)
    mask = predictions(valid)
    torch.testing.assert_close(
        cross_entropy(logits + shift, ids, mask),
        cross_entropy(logits, ids, mask),
        rtol=1e-4,
        atol=1e-4,
    )


def sums(spliced: float = 0.25, damage: float = 2.0, texts: int = 80) -> BehaviourSums:
    """Per token: clean about 3, ablations `damage` and half of it worse, spliced a share of it."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 20, texts).astype(float)
    clean = tokens * (3 + 0.3 * rng.normal(size=texts))
    harm = tokens * (damage + 0.2 * rng.normal(size=texts))
    return BehaviourSums(
        tokens, clean, clean + spliced * harm, clean + harm, clean + harm / 2, tokens * 0.1
    )


def found(what: BehaviourSums):
    return {estimate.metric: estimate for estimate in finish(what, seed=0)}


def test_recovered_shares_are_ratios_of_sums() -> None:
    estimates = found(sums(spliced=0.25))
    assert estimates["ce_recovered"].value == pytest.approx(0.75)
    assert estimates["ce_recovered.zero"].value == pytest.approx(0.5)
    what = sums()
    assert estimates["ce_clean"].value == pytest.approx(what.clean.sum() / what.tokens.sum())
    assert estimates["kl"].value == pytest.approx(0.1)


def test_a_perfect_splice_recovers_all_and_an_ablation_nothing() -> None:
    assert found(sums(spliced=0.0))["ce_recovered"].value == 1.0
    assert found(sums(spliced=1.0))["ce_recovered"].value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("damage", [0.0, -1.0])
def test_an_ablation_without_harm_leaves_nothing_to_recover(damage: float) -> None:
    estimate = found(sums(damage=damage))["ce_recovered"]
    assert (estimate.status, estimate.value) == ("undefined", None)
    assert "nothing to recover" in estimate.reason
    assert "damage_se" in estimate.details


def test_texts_without_a_prediction_are_left_out() -> None:
    what = sums()
    padded = BehaviourSums(*(np.append(column, 0.0) for column in what.columns.values()))
    assert found(padded) == found(what)


def test_each_group_of_predictions_has_the_figures_that_it_has_alone() -> None:
    """And adds nothing to those of all of them."""
    what = sums()
    parts = {
        "first": sums(spliced=0.5).take(np.arange(40)),
        "ordinary": sums(spliced=0.1),
        "special": BehaviourSums(*[np.zeros(80)] * 6),
    }
    told = found(replace(what, groups=parts))
    assert {name: each.value for name, each in told.items()} == {
        name: each.value for name, each in found(what).items()
    }
    for name, each in told.items():
        assert each.details["groups"] == {
            group: {
                "tokens": int(parts[group].tokens.sum()),
                "value": found(parts[group])[name].value,
            }
            for group in ("first", "ordinary")
        }


def test_a_group_whose_ablation_does_no_harm_has_nothing_to_recover() -> None:
    told = found(replace(sums(), groups={"special": sums(damage=0.0)}))
    assert told["ce_recovered"].details["groups"]["special"]["value"] is None
    assert told["kl"].details["groups"]["special"]["value"] == pytest.approx(0.1)


def test_some_texts_are_taken_with_their_groups() -> None:
    what, some = replace(sums(), groups={"first": sums(damage=5.0)}), np.array([3, 3, 0])
    taken = what.take(some)
    assert taken.kl.tolist() == what.kl[some].tolist()
    assert (
        taken.groups["first"].mean_ablated.tolist()
        == what.groups["first"].mean_ablated[some].tolist()
    )


def test_no_prediction_at_all_is_undefined() -> None:
    nothing = BehaviourSums(*[np.zeros(3)] * 6)
    assert {estimate.status for estimate in finish(nothing, 0)} == {"undefined"}
