"""Last-token probing: the published protocol spelled out with sklearn, and what must not matter."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from pytest_sae.errors import MeasurementError
from pytest_sae.metrics import last_token_probing
from pytest_sae.metrics.last_token_probing import KS, PUBLISHED_CS, LabelledRows, estimates, score

LATENTS = 40


def rows(seed: int, train: int = 140, test: int = 80, signal: float = 1.0) -> LabelledRows:
    rng = np.random.default_rng(seed)
    size = train + test
    labels = rng.permutation(np.arange(size) % 2 == 0)
    fires = np.full((size, LATENTS), 0.3)
    fires[:, :6] += signal * np.outer(labels, np.linspace(0.1, 0.5, 6))
    z = np.abs(rng.normal(size=(size, LATENTS))) * (rng.random((size, LATENTS)) < fires)
    z *= np.linspace(0.5, 2, LATENTS)
    order = rng.permutation(size)
    return LabelledRows(f"set {seed}", sparse.csr_array(z), labels, order[:train], order[train:])


def published_by_hand(data: LabelledRows, k: int) -> dict[str, float]:
    """Kantamneni et al.'s steps, one after the other, with sklearn's saga run to convergence."""
    z, y = data.z.toarray(), data.labels.astype(int)
    train, test, y_train, y_test = z[data.train], z[data.test], y[data.train], y[data.test]
    unit = train / (np.abs(train).sum(0) / np.maximum((train != 0).sum(0), 1))
    difference = np.abs(unit[y_train == 1].mean(0) - unit[y_train == 0].mean(0))
    best = np.argsort(-difference, kind="stable")[:k]
    train, test = train[:, best], test[:, best]

    def fit(c: float, part: slice) -> LogisticRegression:
        model = LogisticRegression(C=c, l1_ratio=1, solver="saga", tol=1e-9, max_iter=50_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(train[part], y_train[part])

    kept = len(train) - min(int(0.2 * len(train)), 100)
    held = slice(kept, None)
    scores = [
        roc_auc_score(y_train[held], fit(c, slice(kept)).decision_function(train[held]))
        for c in PUBLISHED_CS[::-1]
    ]
    model = fit(PUBLISHED_CS[::-1][int(np.argmax(np.round(scores, 9)))], slice(None))
    said = model.predict(test)
    return {
        "auc": roc_auc_score(y_test, model.decision_function(test)),
        "accuracy": model.score(test, y_test),
        "f1": f1_score(y_test, said, average="weighted"),
    }


def test_the_canonical_figures_are_the_published_protocol() -> None:
    data = [rows(seed) for seed in range(2)]
    found = score(data, published=True, seed=0)
    for number, each in enumerate(data):
        for k in (1, 5):
            for name, expected in published_by_hand(each, k).items():
                value = found.values[name][number, KS.index(k)]
                assert value == pytest.approx(expected, abs=2e-3), (number, k, name)


def test_small_data_sets_are_cross_validated_in_six_folds() -> None:
    labels = np.arange(600) % 2 == 0
    held = last_token_probing.held_out("set", labels[:60], True, 0)
    assert held.shape == (6, 60)
    assert (held.sum(0) == 1).all()
    assert last_token_probing.held_out("set", labels, True, 0).sum() == 100


def test_a_latent_that_is_the_label_is_read_perfectly_and_noise_at_chance() -> None:
    data = rows(0)
    z = data.z.toarray()
    z[:, 7] = data.labels
    perfect = LabelledRows("oracle", sparse.csr_array(z), data.labels, data.train, data.test)
    noise = [rows(seed, signal=0.0, test=400) for seed in range(1, 7)]
    for published in (True, False):
        found = score([perfect, *noise], published, 0)
        np.testing.assert_allclose(found.values["auc"][0], 1.0)
        np.testing.assert_allclose(found.values["f1"][0], 1.0)
        assert abs(found.values["auc"][1:].mean() - 0.5) < 0.04


def test_rescaling_and_renumbering_latents_does_not_matter_by_default() -> None:
    data = [rows(seed) for seed in range(3)]
    rng = np.random.default_rng(0)
    order, scale = rng.permutation(LATENTS), 2.0 ** rng.integers(-5, 5, LATENTS)
    moved = [
        LabelledRows(
            each.name,
            sparse.csr_array((each.z.toarray() * scale)[:, order]),
            each.labels,
            each.train,
            each.test,
        )
        for each in data
    ]
    plain, other = score(data, False, 0), score(moved, False, 0)
    for name in last_token_probing.STATISTICS:
        np.testing.assert_allclose(other.values[name], plain.values[name], atol=1e-6)


def test_a_data_set_does_not_depend_on_the_others() -> None:
    data = [rows(seed, train=100 + 20 * seed) for seed in range(3)]
    together, alone = score(data, True, 0), score(data[1:2], True, 0)
    np.testing.assert_allclose(together.values["auc"][1], alone.values["auc"][0], atol=1e-6)


def test_the_interval_is_over_data_sets() -> None:
    found = score([rows(seed) for seed in range(6)], False, 0)
    read = {(e.metric, e.params["k"]): e for e in estimates(found, "p", 0)}
    value = read["p.auc", 16]
    assert value.value == pytest.approx(found.values["auc"][:, -1].mean())
    spread = found.values["auc"][:, -1].std(ddof=0) / np.sqrt(6)
    assert value.se == pytest.approx(spread, rel=0.1)
    assert value.n == {"datasets": 6, "texts": 480}
    assert len(value.details["datasets"]) == 6


def test_a_data_set_with_one_label_is_refused() -> None:
    data = rows(0)
    one = LabelledRows("flat", data.z, np.ones_like(data.labels), data.train, data.test)
    with pytest.raises(MeasurementError, match="flat lacks a label"):
        score([one], False, 0)
