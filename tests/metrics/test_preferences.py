"""The share of a preference model that latents keep, where both are planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from pytest_sae.metrics.auc import rank_auc
from pytest_sae.metrics.preferences import PreferencePairs, preference_auc_kept

LATENTS = 12


def pairs(count: int, seed: int, seen: float = 1.0, box: float = 3.0) -> PreferencePairs:
    """Latent 0 differs by what people prefer; the black box knows it too, with noise.

    Args:
        count: how many.
        seed: of everything.
        seen: share of the preference that the latents see.
        box: how well the black box knows it.
    """
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=count)
    preferred = taste + 0.5 * rng.normal(size=count) > 0
    z = rng.normal(size=(count, LATENTS)) * (rng.random((count, LATENTS)) < 0.3)
    z[:, 0] = seen * taste
    return PreferencePairs(sparse.csr_array(z), preferred, box * taste + rng.normal(size=count))


def test_auc_is_sklearns_ties_included() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.4
    scores = np.round(rng.normal(size=200) + labels, 1)
    assert rank_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert np.isnan(rank_auc(scores, np.ones(200, bool)))


def test_latents_that_know_what_the_black_box_knows_keep_all_of_it() -> None:
    found = preference_auc_kept(pairs(400, 0), pairs(400, 1), 0)
    assert found.value == pytest.approx(1.0, abs=0.06)
    assert found.ci[0] < found.value < found.ci[1]
    assert found.n == {"pairs": 400, "latents": LATENTS}


def test_latents_that_know_nothing_keep_nothing() -> None:
    found = preference_auc_kept(pairs(400, 0, seen=0.0), pairs(400, 1, seen=0.0), 0)
    assert abs(found.value) < 0.2
    assert found.ci[0] < 0.0 < found.ci[1]


def test_the_value_is_that_of_the_two_aucs_and_training_scores_are_not_looked_at() -> None:
    train, test = pairs(300, 0), pairs(300, 1)
    found = preference_auc_kept(train, test, 0)
    own, box = found.details["auc"], found.details["black_box_auc"]
    assert box == pytest.approx(roc_auc_score(test.preferred, test.score))
    assert found.value == pytest.approx((own - 0.5) / (box - 0.5))
    blind = PreferencePairs(train.difference, train.preferred, np.zeros(0))
    assert preference_auc_kept(blind, test, 0).value == found.value


def test_a_black_box_that_knows_nothing_leaves_nothing_to_keep() -> None:
    found = preference_auc_kept(pairs(300, 0), pairs(300, 1, box=0.0), 0)
    assert found.status == "undefined"
    assert "nothing to keep" in found.reason
    test = pairs(50, 1)
    alike = PreferencePairs(test.difference, np.ones(50, bool), test.score)
    assert preference_auc_kept(pairs(50, 0), alike, 0).status == "undefined"
