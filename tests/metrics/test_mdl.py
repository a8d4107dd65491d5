"""Description length against closed forms and against counting by hand."""

from __future__ import annotations

from collections import Counter
from math import log2, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.metrics import mdl
from pytest_sae.metrics.codebook import CodeBookSums, symbols
from pytest_sae.numbers.bootstrap import generator, resample

spectra = st.lists(st.floats(0, 100), min_size=1, max_size=12).filter(lambda v: sum(v) > 1e-3)


def entropy(shares: list[float]) -> float:
    return -sum(p * log2(p) for p in shares if p > 0)


def book_of(z: torch.Tensor, step: float, batch: int = 7):
    sums = CodeBookSums(z.shape[1])
    for part in z.split(batch):
        token, latent = part.nonzero(as_tuple=True)
        marks, _ = symbols(part[token, latent], torch.tensor(step))
        sums.update(latent, marks, len(part))
    return sums.book()


@pytest.mark.parametrize(("active", "bins"), [(16, 4), (32, 8), (64, 2), (0, 4)])
def test_a_bernoulli_latent_of_uniform_size_costs_its_closed_form(active: int, bins: int) -> None:
    """h(p) for whether it fires and p log2 m for which of m steps its value is in."""
    z = torch.zeros(64, 1)
    z[:active, 0] = (torch.arange(active) % bins) * 0.5 + 0.1
    p = active / 64
    expected = entropy([p, 1 - p]) + p * log2(bins)
    assert float(book_of(z, 0.5).entropies().sum()) == pytest.approx(expected, abs=1e-12)


def test_independent_latents_cost_the_sum_and_signs_one_bit_more() -> None:
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.random((400, 5)) * (rng.random((400, 5)) < 0.3))
    alone = [float(book_of(z[:, [j]], 0.25).entropies().sum()) for j in range(5)]
    together = book_of(z, 0.25)
    assert float(together.entropies().sum()) == pytest.approx(sum(alone), abs=1e-9)
    both = torch.cat([z, -z])
    fires = float((z != 0).double().mean(0).sum())
    assert float(book_of(both, 0.25).entropies().sum()) == pytest.approx(sum(alone) + fires)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 2.0))
@settings(max_examples=25, deadline=None)
def test_entropies_and_code_words_agree_with_counting_by_hand(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(40, 4)) * (rng.random((40, 4)) < rng.random(4))
    by_hand = 0.0
    words: list[dict[int, float]] = []
    for j in range(4):
        counts = Counter(
            0 if v == 0 else int(np.sign(v)) * (1 + int(abs(v) // step)) for v in z[:, j]
        )
        words.append({mark: -log2(count / 40) for mark, count in counts.items()})
        by_hand += entropy([count / 40 for count in counts.values()])
    book = book_of(torch.from_numpy(z), step)
    assert float(book.entropies().sum()) == pytest.approx(by_hand, abs=1e-9)
    token, latent = torch.from_numpy(z).nonzero(as_tuple=True)
    marks, _ = symbols(torch.from_numpy(z)[token, latent], torch.tensor(step))
    own, silent = book.lengths(latent, marks)
    assert float(own.sum()) + 40 * silent == pytest.approx(40 * by_hand, abs=1e-6)


@given(st.floats(-50, 50), st.floats(0.01, 5))
@settings(deadline=None)
def test_a_quantised_value_is_at_most_half_a_step_off_and_zero_stays_zero(
    value: float, step: float
) -> None:
    mark, stands_for = symbols(torch.tensor([value], dtype=torch.float64), torch.tensor(step))
    if value == 0:
        assert (int(mark), float(stands_for)) == (0, 0.0)
    else:
        assert int(mark) != 0
        assert abs(float(stands_for) - value) <= step / 2 * (1 + 1e-6)


@given(spectra, st.floats(0.01, 0.99))
@settings(deadline=None)
def test_water_filling_agrees_with_bisection(values: list[float], share: float) -> None:
    spectrum, distortion = np.array(values), share * sum(values)
    low, high = 0.0, max(values)
    for _ in range(200):
        middle = (low + high) / 2
        if sum(min(middle, v) for v in values) < distortion:
            low = middle
        else:
            high = middle
    bits = sum(max(0.0, log2(v / high) / 2) for v in values if v > high)
    assert mdl.water_level(spectrum, distortion) == pytest.approx(high, rel=1e-6, abs=1e-12)
    assert mdl.rate(spectrum, distortion) == pytest.approx(bits, abs=1e-5)


def test_white_noise_costs_half_a_bit_for_each_halving_of_the_error() -> None:
    assert mdl.rate(np.full(8, 3.0), 0.25 * 24) == pytest.approx(8 * 1.0)
    assert mdl.rate(np.full(8, 3.0), 24.0) == 0.0
    assert mdl.rate(np.zeros(8), 1.0) == 0.0
    assert mdl.step(np.full(8, 3.0), 0.25) == pytest.approx(sqrt(12 * 0.75))


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
@settings(max_examples=20, deadline=None)
def test_bits_of_the_texts_add_up_to_the_rate_and_follow_its_derivative(
    seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    r = rng.normal(size=(60, 5)) * rng.random(5)
    text = rng.integers(0, 6, 60)
    values, axes = np.linalg.eigh(r.T @ r / 60)
    distortion = share * float(values.sum())
    squares = np.zeros((6, 6))
    np.add.at(squares, text, np.column_stack([(r @ axes) ** 2, np.ones(60)]))
    bits = mdl.described_bits(values, distortion, squares)
    assert bits.sum() == pytest.approx(60 * mdl.rate(values, distortion), rel=1e-9)
    # A text that weighs a little more moves the rate as its own bits say.
    t, tiny = 0, 1e-5
    weights = 1 + tiny * (text == t)
    moved = np.linalg.eigvalsh((r * weights[:, None]).T @ r / weights.sum())
    slope = (mdl.rate(moved, distortion) - mdl.rate(values, distortion)) / tiny
    n = float((text == t).sum())
    expected = (bits[t] - n * mdl.rate(values, distortion)) / 60
    assert slope == pytest.approx(expected, rel=1e-2, abs=1e-3)


def described(
    z: torch.Tensor, spectrum: list[float], residual: list[float]
) -> mdl.DescriptionLength:
    return mdl.DescriptionLength(0.1, book_of(z, 0.5), np.array(spectrum), np.array(residual))


def test_a_dictionary_that_is_silent_costs_what_the_activations_cost() -> None:
    found = described(torch.zeros(10, 3), [4.0, 1.0], [4.0, 1.0])
    assert found.latent_bits == 0
    assert (
        found.latent_bits + found.residual_bits
        == found.plain_bits
        == mdl.rate(np.array([4.0, 1.0]), 0.5)
    )


def test_a_residual_below_the_error_costs_nothing_and_the_parts_add_up() -> None:
    z = torch.zeros(10, 3)
    z[:5, 0] = 1.0
    found = described(z, [4.0, 1.0], [0.2, 0.1])
    resamples = resample(2, generator(0, "test"))
    whole, latents, left = mdl.estimates(
        found, np.array([[5.0, 0.0], [5.0, 0.0]]), np.array([5.0, 5.0]), resamples
    )
    assert (latents.value, left.value) == (1.0, 0.0)
    assert whole.value == 1.0
    assert (whole.se, latents.se, left.se) == (0.0, 0.0, 0.0)
    assert whole.params == {"error": 0.1}
