"""Explained variance and principal components, beside their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pytest_sae.doctor.figures import components, explained, ordinary
from pytest_sae.doctor.weights import look


@pytest.fixture
def x() -> Tensor:
    """Activations whose directions have variances from 1 to 1/32, and a mean."""
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(32, 32, generator=generator)).Q
    return torch.randn(400, 32, generator=generator) / torch.arange(1, 33) @ turned + 3


def test_explained_variance_is_its_definition(x: Tensor) -> None:
    y = x + 0.1
    apart = sum(float((a - b) ** 2) for a, b in zip(x.flatten(), y.flatten(), strict=True))
    spread = sum(float(((row - x.mean(0)) ** 2).sum()) for row in x)
    assert explained(x, y) == pytest.approx(1 - apart / spread, rel=1e-4)
    assert explained(x, x.mean(0).expand_as(x)) == pytest.approx(0, abs=1e-6)
    assert explained(x, torch.full_like(x, float("nan"))) == -float("inf")


@pytest.mark.parametrize("count", [1, 5, 32])
def test_components_are_those_of_the_covariance(x: Tensor, count: int) -> None:
    wide = x.double() - x.double().mean(0)
    values = torch.linalg.eigvalsh(wide.T @ wide).flip(0)
    found = components(x, count)
    assert found.of_rank(x, count) == pytest.approx(
        float(values[:count].sum() / values.sum()), abs=1e-3
    )
    assert torch.allclose(found.axes @ found.axes.T, torch.eye(count).double(), atol=1e-8)


def test_components_chosen_for_each_token_explain_more(x: Tensor) -> None:
    found = components(x, 32)
    for k in (1, 4, 16):
        # For orthonormal axes the largest coefficients are the best choice of k of them.
        coefficients = (x.double() - x.double().mean(0)) @ found.axes.T
        kept = coefficients.pow(2).sort(descending=True).values[:, :k].sum()
        assert found.largest(x, k) == pytest.approx(float(kept / coefficients.pow(2).sum()))
        assert found.largest(x, k) > found.of_rank(x, k)
    assert found.of_rank(x, 32) == pytest.approx(1)


def test_a_token_that_is_far_larger_is_not_ordinary(x: Tensor) -> None:
    x[7] *= 100
    assert (~ordinary(x)).nonzero().flatten().tolist() == [7]


def test_random_rows_look_untrained_and_clustered_ones_trained() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(300, 24, generator=generator)
    other = torch.randn(300, 24, generator=generator)
    assert look(other, rows).random
    tied = look(rows, rows)
    assert tied.untrained
    assert not tied.random
    assert tied.tied == pytest.approx(1)
    clustered = torch.cat([rows[:30]] * 10) + 0.3 * other
    assert not look(clustered, clustered).untrained
    assert look(None, rows).tied is None
