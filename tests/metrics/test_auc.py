"""The AUC split among its rows: against sklearn's, and as a bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pytest_sae.metrics.auc import auc, contributions
from pytest_sae.numbers.bootstrap import generator, resample


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_the_shares_sum_to_sklearns_auc_ties_included(rows: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows])
    if labels.all() or not labels.any():
        with pytest.raises(ValueError, match="both labels"):
            auc(scores, labels)
        return
    expected = roc_auc_score(labels, scores)
    assert contributions(scores, labels).sum() == pytest.approx(expected, abs=1e-12)
    both = auc(np.stack([scores, -scores]), labels)
    assert both == pytest.approx([expected, 1 - expected], abs=1e-12)


def test_weighted_shares_are_bootstrap_replicates_to_first_order() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2 == 0
    scores = labels + rng.normal(size=400) * 1.5
    counts = resample(400, generator(0, "auc"), labels.astype(int), 300).counts
    linear = counts @ contributions(scores, labels)
    exact = [roc_auc_score(labels, scores, sample_weight=count) for count in counts]
    assert np.corrcoef(linear, exact)[0, 1] > 0.995
    assert linear.std() == pytest.approx(np.std(exact), rel=0.05)
