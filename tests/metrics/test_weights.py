"""Directions and norms of the rows, against an explicit computation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.metrics import weights
from pytest_sae.metrics.row_sample import spread
from pytest_sae.metrics.weights import encoder_estimate, largest_cosines, weight_estimates


def rows(count: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(seed))


def test_largest_cosines_are_those_of_the_full_matrix_whatever_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = rows(23)
    full = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1)
    full.fill_diagonal_(-2)
    for scores in (2**24, 23 * 5, 23, 1):
        monkeypatch.setattr(weights, "_SCORES", scores)
        torch.testing.assert_close(largest_cosines(x), full.amax(1))


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_cosines_ignore_the_rows_lengths(scale: float, seed: int) -> None:
    lengths = torch.linspace(scale, 1.0, 10)[:, None]
    torch.testing.assert_close(
        largest_cosines(rows(10, seed=seed) * lengths), largest_cosines(rows(10, seed=seed))
    )


def test_a_doubled_row_has_cosine_one_with_its_double() -> None:
    x = torch.cat([torch.eye(4), 3 * torch.eye(4)[:1]])
    assert largest_cosines(x).tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_the_estimates_are_means_over_latents() -> None:
    decoder, encoder = rows(40), rows(40, seed=1)
    found = {estimate.metric: estimate for estimate in weight_estimates(decoder, encoder)}
    cosines = torch.nn.functional.cosine_similarity(encoder, decoder, dim=1)
    assert found["encoder_decoder_cosine"].value == pytest.approx(float(cosines.mean()), abs=1e-6)
    assert found["decoder_norm"].value == pytest.approx(float(decoder.norm(dim=1).mean()))
    assert found["max_decoder_cosine"].n == {"latents": 40}


def test_rows_of_norm_zero_are_counted_and_have_no_direction() -> None:
    decoder = rows(10)
    decoder[3] = 0
    found = {estimate.metric: estimate for estimate in weight_estimates(decoder, rows(10, seed=1))}
    assert found["max_decoder_cosine"].n == {"latents": 9}
    assert found["encoder_decoder_cosine"].n == {"latents": 9}
    assert found["decoder_norm"].n == {"latents": 10}
    assert found["decoder_norm"].details["zero_rows"] == 1


def test_what_a_dictionary_does_not_have_is_not_applicable() -> None:
    assert {each.status for each in weight_estimates(None, rows(4))} == {"not_applicable"}
    for encoder in (None, rows(10, d=7)):
        first, *rest = weight_estimates(rows(10), encoder)
        assert first.status == "not_applicable"
        assert all(each.status == "ok" for each in rest)


def test_a_single_latent_has_no_other_to_be_close_to() -> None:
    found = {each.metric: each for each in weight_estimates(rows(1), rows(1))}
    assert found["max_decoder_cosine"].status == "undefined"


def test_of_many_latents_evenly_spaced_ones_are_compared_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some_rows = rows(40, seed=1)
    some_rows[7] = 0
    monkeypatch.setattr(weights, "COMPARED", 39 * 10)
    found = {each.metric: each for each in weight_estimates(some_rows, None)}["max_decoder_cosine"]
    kept = torch.nn.functional.normalize(some_rows[some_rows.norm(dim=1) > 0], dim=1)
    cosines = (kept @ kept.T).fill_diagonal_(-1)
    some = spread(kept, 10)
    assert found.value == pytest.approx(float(np.mean([cosines[i].max() for i in some])), rel=1e-5)
    assert found.n == {"latents": len(some)}
    assert found.details == {"zero_rows": 1, "compared_rows": len(some)}


def test_the_encoder_has_a_largest_cosine_of_its_own() -> None:
    encoder = torch.cat([rows(9), torch.zeros(1, 6)])
    found = encoder_estimate(encoder)
    assert found.value == pytest.approx(float(largest_cosines(rows(9)).mean()), abs=1e-6)
    assert found.n == {"latents": 9}
    assert found.details["zero_rows"] == 1
    assert encoder_estimate(None).status == "not_applicable"
