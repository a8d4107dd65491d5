"""LEACE and mean-difference erasure, by what their theorems promise."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_sae.metrics.erasers import leace, mean_difference_eraser


@pytest.fixture
def texts() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.random(400) < 0.3
    x = rng.normal(size=(400, 10)) * np.linspace(0.2, 5, 10) + 3
    x[:, :2] += label[:, None] * np.array([1.0, 4.0])
    return x, label


@pytest.mark.parametrize("fit", [leace, mean_difference_eraser])
def test_no_linear_probe_finds_the_label_any_more(fit, texts) -> None:
    x, label = texts
    erased = fit(x, label)(x)
    gap = erased[label].mean(0) - erased[~label].mean(0)
    np.testing.assert_allclose(gap, 0, atol=1e-9)


def test_leace_damages_less_than_any_other_erasure_of_one_direction(texts) -> None:
    x, label = texts
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(x.T)))

    def damage(fit) -> list[float]:
        change = fit(x, label)(x) - x
        return [float((change**2).sum()), float(((change @ whiten.T) ** 2).sum())]

    ours, other = damage(leace), damage(mean_difference_eraser)
    assert ours[0] < other[0]
    assert ours[1] < other[1]


def test_a_concept_without_a_trace_costs_nothing() -> None:
    x = np.tile(np.random.default_rng(0).normal(size=(100, 5)), (2, 1))
    label = np.arange(200) < 100
    for fit in (leace, mean_difference_eraser):
        np.testing.assert_allclose(fit(x, label)(x), x, atol=1e-12)
