"""Probes fitted again, against the formula solved directly."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_sae.errors import MeasurementError
from pytest_sae.probes import Refits


def solved(
    x: np.ndarray, changed: np.ndarray, weights: np.ndarray, positive: np.ndarray, l2: float
) -> np.ndarray:
    """The docstring's formula, one resample, with a covariance matrix."""
    scale = x.std(0)
    s = (changed - x.mean(0)) / scale
    share = weights / weights.sum()
    centred = s - share @ s
    covariance = (centred * share[:, None]).T @ centred
    means = [
        (share * side) @ s / (share * side).sum() for side in (positive, ~positive)
    ]  # fmt: skip
    return np.linalg.solve(covariance + l2 * np.eye(x.shape[1]), means[0] - means[1]) / scale


@pytest.fixture
def texts() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    positive = np.arange(200) % 3 == 0
    x = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12)) + positive[:, None] * np.arange(12)
    return x, positive


@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_every_resample_is_the_regularised_discriminant(
    texts: tuple[np.ndarray, np.ndarray], l2: float
) -> None:
    x, positive = texts
    weights = np.random.default_rng(1).poisson(1.0, size=(3, 200)).astype(float)
    changed = x - np.outer(x[:, 0], np.ones(12)) / 3
    found = Refits(x, weights, l2).directions(changed, positive.astype(np.int8))
    wanted = [solved(x, changed, row, positive, l2) for row in weights]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())


def test_texts_that_are_left_out_have_no_part(texts: tuple[np.ndarray, np.ndarray]) -> None:
    x, positive = texts
    labels = np.where(np.arange(200) % 4 == 0, -1, positive).astype(np.int8)
    changed = x.copy()
    changed[labels < 0] = 1e6
    weights = np.ones((1, 200))
    found = Refits(x, weights).directions(changed, labels)[0]
    wanted = solved(x, np.where(labels[:, None] < 0, 0, x), weights[0] * (labels >= 0), positive, 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())


def test_activations_that_are_all_alike_after_a_change_give_no_direction(
    texts: tuple[np.ndarray, np.ndarray],
) -> None:
    x, positive = texts
    found = Refits(x, np.ones((2, 200))).directions(np.zeros_like(x), positive.astype(np.int8))
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_activations_that_are_not_finite_are_refused(
    texts: tuple[np.ndarray, np.ndarray],
) -> None:
    x, positive = texts
    broken = x.copy()
    broken[3, 4] = np.nan
    with pytest.raises(MeasurementError, match="first: text 3"):
        Refits(x, np.ones((1, 200))).directions(broken, positive.astype(np.int8))
