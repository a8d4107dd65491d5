"""The baseline of last-token probing against sklearn, and probes at many penalties against one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pytest_sae.errors import MeasurementError
from pytest_sae.metrics.last_token_probing import held_out
from pytest_sae.metrics.last_token_probing_baseline import L2S, ActivationRows, estimates, score
from pytest_sae.probes import fit_logistic
from pytest_sae.probes.path import fit_path


def rows(seed: int, d: int = 12, train: int = 90, signal: float = 1.0) -> ActivationRows:
    rng = np.random.default_rng(seed)
    size = train + 60
    labels = rng.permutation(np.arange(size) % 3 == 0)
    x = rng.normal(size=(size, d)) @ rng.normal(size=(d, d)) + 5.0
    x[:, 0] += signal * labels * x[:, 0].std()
    order = rng.permutation(size)
    return ActivationRows(f"set {seed}", x.astype(np.float32), labels, order[:train], order[train:])


def by_hand(data: ActivationRows) -> tuple[dict[str, float], float]:
    """sklearn, one fit after the other."""
    x, y = data.x[data.train].astype(float), data.labels[data.train]
    held = held_out(data.name, y, False, 0)
    scaled = StandardScaler().fit(x)

    def fit(l2: float, kept: np.ndarray) -> LogisticRegression:
        model = LogisticRegression(C=1 / (l2 * kept.sum()), tol=1e-10, max_iter=10_000)
        return model.fit(scaled.transform(x[kept]), y[kept])

    def said(l2: float) -> float:
        total = 0.0
        for out in held:
            told = fit(l2, ~out).predict_log_proba(scaled.transform(x[out]))
            total += told[np.arange(out.sum()), y[out].astype(int)].sum()
        return total

    best = max(L2S, key=said)
    model = make_pipeline(scaled, fit(best, np.ones(len(y), bool)))
    x_test, y_test = data.x[data.test].astype(float), data.labels[data.test]
    return {
        "auc": roc_auc_score(y_test, model.decision_function(x_test)),
        "accuracy": model.score(x_test, y_test),
        "f1": f1_score(y_test, model.predict(x_test), average="weighted"),
    }, best


@pytest.mark.parametrize("d", [12, 200])
def test_it_is_a_logistic_regression_whose_penalty_is_chosen_by_folds(d: int) -> None:
    data = [rows(seed, d) for seed in range(3)]
    found = score(iter(data), 0)
    for number, each in enumerate(data):
        expected, penalty = by_hand(each)
        assert found.penalties[number] == penalty
        for name, value in expected.items():
            assert found.values[name][number] == pytest.approx(value, abs=2e-3), (number, name)


def test_a_direction_that_is_the_label_is_read_and_noise_is_at_chance() -> None:
    noise = [rows(seed, signal=0.0) for seed in range(8)]
    planted = rows(20, signal=40.0)
    found = score([planted, *noise], 0).values["auc"]
    assert found[0] > 0.99
    assert abs(found[1:].mean() - 0.5) < 0.05


def test_rotating_the_inputs_of_a_wide_site_does_not_matter() -> None:
    """Beyond the standardisation of its columns, which a signed permutation does not touch."""
    data, rng = rows(0, 40), np.random.default_rng(0)
    turned = data.x[:, rng.permutation(40)] * rng.choice([-1, 1], 40)
    moved = ActivationRows(data.name, turned * 3 + 1, data.labels, data.train, data.test)
    one, other = (score([each], 0).values["auc"] for each in (data, moved))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_the_interval_is_over_data_sets() -> None:
    found = score([rows(seed) for seed in range(6)], 0)
    told = {each.metric: each for each in estimates(found, "p", 0)}
    assert set(told) == {"p.auc", "p.accuracy", "p.f1"}
    assert told["p.auc"].value == pytest.approx(found.values["auc"].mean())
    assert told["p.auc"].se == pytest.approx(found.values["auc"].std() / np.sqrt(6), rel=0.1)
    assert told["p.auc"].n == {"datasets": 6, "texts": 360}


def test_a_data_set_with_one_label_is_refused() -> None:
    data = rows(0)
    flat = ActivationRows("flat", data.x, np.ones_like(data.labels), data.train, data.test)
    with pytest.raises(MeasurementError, match="flat lacks a label"):
        score([flat], 0)


@pytest.mark.parametrize("d", [5, 30, 70])
def test_a_path_of_penalties_has_the_fits_that_each_has_alone(d: int) -> None:
    """With fewer columns than rows and more, and one of them constant."""
    rng = np.random.default_rng(d)
    x = rng.normal(size=(40, d)) * np.linspace(0.1, 9, d) + 3
    x[:, 1] = 2.0
    labels = np.stack([rng.permutation(40) < 15 for _ in range(3)])
    weights = rng.integers(0, 3, (3, 40))
    for l2, probes in zip(L2S, fit_path(x, labels, weights, L2S), strict=True):
        alone = fit_logistic(x, labels, weights, l2)
        expected = alone.logits(x)
        np.testing.assert_allclose(probes.logits(x), expected, atol=1e-3 * np.ptp(expected))
