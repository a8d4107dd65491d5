"""The factor that fits what is written to what is there, against least squares written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.metrics.written_scale import ScaleSums, WrittenScale, finish

TEXTS, TOKENS, D = 60, 900, 5


def stream(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of activations, what is written there, and each token's text."""
    g = torch.Generator().manual_seed(seed)
    text = torch.randint(TEXTS, (TOKENS,), generator=g)
    written = (
        torch.randn(TOKENS, D, generator=g) * (0.5 + torch.rand(TEXTS, generator=g))[text, None]
    )
    x = 1.7 * written + torch.randn(TOKENS, D, generator=g) + 3
    return x, written, text


def scale(x: torch.Tensor, written: torch.Tensor, text: torch.Tensor) -> WrittenScale:
    sums = ScaleSums(TEXTS, x.shape[1])
    for rows in torch.arange(len(x)).split(250):
        sums.update(x[rows], written[rows], text[rows])
    return finish(sums, 0)


def test_it_is_the_slope_of_least_squares_with_a_constant_per_direction() -> None:
    x, written, text = stream()
    columns = np.concatenate(
        [written.double().reshape(-1, 1).numpy(), np.tile(np.eye(D), (TOKENS, 1))], axis=1
    )
    slope, *_ = np.linalg.lstsq(columns, x.double().reshape(-1).numpy(), rcond=None)[0]
    assert scale(x, written, text).value == pytest.approx(slope, abs=1e-9)


def test_what_is_written_as_it_should_be_has_factor_one() -> None:
    x, _, text = stream()
    assert scale(x, x - x.mean(0), text).value == pytest.approx(1, abs=1e-6)


def test_what_is_half_as_strong_has_twice_the_factor() -> None:
    x, written, text = stream()
    assert scale(x, written / 2, text).value == 2 * scale(x, written, text).value


def test_a_constant_explains_nothing() -> None:
    x, written, text = stream()
    moved = scale(x + 100, written - 50, text)
    assert moved.value == pytest.approx(scale(x, written, text).value, rel=1e-6)


@pytest.mark.parametrize("written", [torch.zeros(TOKENS, D), torch.full((TOKENS, D), 0.3)])
def test_where_nothing_or_the_same_is_written_everywhere_the_factor_is_zero(
    written: torch.Tensor,
) -> None:
    x, _, text = stream()
    found = scale(x, written, text)
    assert (found.value, set(found.draws), set(found.influence)) == (0, {0}, {0})


def test_directions_that_have_nothing_to_do_with_it_have_a_factor_near_zero() -> None:
    x, written, text = stream()
    shuffled = written[torch.randperm(TOKENS, generator=torch.Generator().manual_seed(1))]
    assert abs(scale(x, shuffled, text).value) < 0.1


@given(seed=st.integers(0, 1000))
def test_the_order_of_the_tokens_changes_nothing(seed: int) -> None:
    x, written, text = stream()
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(seed))
    assert scale(x[order], written[order], text[order]).value == pytest.approx(
        scale(x, written, text).value, abs=1e-12
    )


def test_what_texts_add_to_the_error_is_the_error_of_drawing_texts_again() -> None:
    x, written, text = stream()
    found = scale(x, written, text)
    rng, again = np.random.default_rng(3), []
    for _ in range(400):
        rows = torch.cat([torch.nonzero(text == t)[:, 0] for t in rng.integers(TEXTS, size=TEXTS)])
        about, own = x[rows] - x[rows].mean(0), written[rows] - written[rows].mean(0)
        again.append(float((about * own).sum() / own.square().sum()))
    assert math.hypot(*found.influence) == pytest.approx(np.std(again), rel=0.12)
    assert found.draws[1:].std() == pytest.approx(np.std(again), rel=0.12)


def test_texts_without_tokens_are_no_units() -> None:
    x, written, text = stream()
    assert scale(x, written, text % 40).texts == 40
