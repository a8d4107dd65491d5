"""Few-column logistic regressions: against sklearn, and against the conditions of a minimum."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pytest_sae.errors import MeasurementError
from pytest_sae.probes.columns import fit_columns

SETS, ROWS, COLUMNS = 3, 120, 5


def problem(seed: int = 0, sets: int = SETS, rows: int = ROWS, columns: int = COLUMNS):
    """Columns like latents: mostly zero, not negative, of very different scales."""
    rng = np.random.default_rng(seed)
    x = np.abs(rng.normal(size=(sets, rows, columns))) * (rng.random((sets, rows, columns)) < 0.4)
    x *= 10 ** rng.uniform(-1, 1, columns)
    noise = rng.normal(size=(sets, rows))
    scores = x @ (rng.normal(size=columns) / x.std((0, 1))) + noise
    return x, scores > np.median(scores, axis=1)[:, None]


def sklearn_fit(x, y, weights, **settings) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = LogisticRegression(tol=1e-12, max_iter=100_000, **settings)
        fit.fit(x, y, sample_weight=weights)
    return np.append(fit.coef_[0], fit.intercept_)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_fits_are_those_of_sklearn_at_every_penalty(penalty: str) -> None:
    x, y = problem()
    weights = np.random.default_rng(1).integers(0, 3, (SETS, 2, ROWS)).astype(float)
    path, none = [3.0, 0.3, 0.01], [0.0] * 3
    found = fit_columns(x, y, weights, *((path, none) if penalty == "l1" else (none, path)))
    how = {"solver": "saga", "l1_ratio": 1} if penalty == "l1" else {"solver": "newton-cholesky"}
    for s, f, c in [(0, 0, 0), (0, 1, 1), (1, 0, 2), (2, 1, 1)]:
        expected = sklearn_fit(x[s], y[s], weights[s, f], C=1 / path[c], **how)
        ours = np.append(found.weight[s, f, c], found.bias[s, f, c])
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e2, 1.0, 1e-2, 1e-5]), st.integers(1, 16))
def test_no_direction_lowers_the_objective(seed: int, l1: float, columns: int) -> None:
    x, y = problem(seed, sets=2, rows=60, columns=columns)
    fit = fit_columns(x, y, np.ones((2, 1, 60)), [l1], [0.0])
    signs = np.where(y, 1.0, -1.0)
    margins = signs * fit.logits(x)[:, 0, 0]
    slopes = -signs / (1 + np.exp(margins))
    gradient = np.einsum("sr,srk->sk", slopes, x)
    weight = fit.weight[:, 0, 0]
    scale = 1e-3 * np.abs(x).sum(1) * np.sqrt(1e-5 + np.log1p(np.exp(-margins)).mean(1))[:, None]
    assert np.all(np.abs(gradient) <= l1 + scale)
    active = weight != 0
    assert np.all(np.abs(gradient + l1 * np.sign(weight))[active] <= scale[active])
    assert np.all(np.abs(slopes.sum(1)) <= 1e-3 * 60)


def test_identical_columns_and_separable_rows_are_fitted_too() -> None:
    x, _ = problem()
    twins = np.concatenate([x, x * 3.0, x + 1e-6], axis=2)
    separable = x[:, :, 0] > np.median(x[:, :, 0], axis=1)[:, None]
    fit = fit_columns(twins, separable, np.ones((SETS, 1, ROWS)), [1.0, 1e-5], [0.0, 0.0])
    assert ((fit.logits(twins)[:, 0, 1] > 0) == separable).all()


def test_padding_with_zeros_changes_nothing() -> None:
    x, y = problem()
    weights = np.ones((SETS, 1, ROWS))
    plain = fit_columns(x, y, weights, [0.5], [0.0])
    wide = np.zeros((SETS, ROWS + 7, COLUMNS + 2))
    wide[:, :ROWS, :COLUMNS] = x
    more = np.concatenate([y, np.zeros((SETS, 7), bool)], axis=1)
    padded = np.concatenate([weights, np.zeros((SETS, 1, 7))], axis=2)
    found = fit_columns(wide, more, padded, [0.5], [0.0])
    np.testing.assert_allclose(found.weight[..., :COLUMNS], plain.weight, atol=1e-6)
    assert (found.weight[..., COLUMNS:] == 0).all()


def test_a_fit_does_not_depend_on_its_neighbours() -> None:
    x, y = problem()
    weights = np.ones((SETS, 1, ROWS))
    together = fit_columns(x, y, weights, [0.5], [0.0])
    alone = fit_columns(x[1:2], y[1:2], weights[1:2], [0.5], [0.0])
    np.testing.assert_allclose(together.weight[1:2], alone.weight, atol=1e-6)


def test_one_label_and_infinite_inputs_are_refused() -> None:
    x, y = problem()
    y[1] = True
    with pytest.raises(MeasurementError, match="set 1 has no negative"):
        fit_columns(x, y, np.ones((SETS, 1, ROWS)), [1.0], [0.0])
    x[0, 0, 0] = np.inf
    with pytest.raises(MeasurementError, match="not finite"):
        fit_columns(x, y, np.ones((SETS, 1, ROWS)), [1.0], [0.0])
