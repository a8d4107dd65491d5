"""SNMF encodes by exact non-negative least squares, and can be fitted to activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.optimize import nnls
from torch import Tensor

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.factorisation import factorise, fit_snmf
from pytest_sae.dictionaries.formats import nonnegative, snmf
from pytest_sae.dictionaries.formats.nonnegative import nonnegative_least_squares
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, random, tokens

D_IN, D_SAE = 12, 8


def by_scipy(x: Tensor, atoms: Tensor) -> Tensor:
    columns = atoms.double().numpy().T
    return torch.from_numpy(np.stack([nnls(columns, row)[0] for row in x.double().numpy()]))


def error(x: Tensor, z: Tensor, atoms: Tensor) -> Tensor:
    return (x.double() - z.double() @ atoms.double()).square().sum(dim=1)


shapes = st.tuples(st.integers(1, 12), st.integers(1, 30), st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(0, 2**20), st.sampled_from([0.0, 1.0, -1.0]))
def test_the_codes_are_the_best_that_there_are(
    shape: tuple[int, int, int], seed: int, offset: float
) -> None:
    count, d_sae, d_in = shape
    x = random(count, d_in, seed=seed).double() + offset
    atoms = random(d_sae, d_in, seed=seed + 1).double()
    z = nonnegative_least_squares(x, atoms)
    best = error(x, by_scipy(x, atoms), atoms)
    assert (z >= 0).all()
    torch.testing.assert_close(error(x, z, atoms), best, rtol=1e-9, atol=1e-9)
    if d_sae <= d_in:  # else there are several
        torch.testing.assert_close(z, by_scipy(x, atoms), rtol=1e-5, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 2**20))
def test_the_conditions_of_a_minimum_hold(shape: tuple[int, int, int], seed: int) -> None:
    count, d_sae, d_in = shape
    x, atoms = random(count, d_in, seed=seed).double(), random(d_sae, d_in, seed=seed).double()
    z = nonnegative_least_squares(x, atoms)
    gain = (x - z @ atoms) @ atoms.T
    size = 1e-7 * (1 + (x @ atoms.T).abs().max())
    assert gain.max() <= size
    assert (gain[z > 0].abs() <= size).all()


def test_dependent_atoms_and_atoms_of_zero_are_no_harm() -> None:
    atoms = random(6, 5, seed=1).double()
    atoms = torch.cat([atoms, atoms, 2 * atoms, torch.zeros(1, 5)])
    x = random(30, 5, seed=2).double()
    z = nonnegative_least_squares(x, atoms)
    torch.testing.assert_close(error(x, z, atoms), error(x, by_scipy(x, atoms), atoms))
    assert not z[:, -1].any()


def test_what_exchanging_all_at_once_does_not_settle_is_settled_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, atoms = random(40, D_IN, seed=1).double(), random(D_SAE, D_IN, seed=2).double()
    expected = nonnegative_least_squares(x, atoms)
    monkeypatch.setattr(nonnegative, "_EXCHANGES", 1)
    torch.testing.assert_close(nonnegative_least_squares(x, atoms), expected)


def test_blocks_of_tokens_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, atoms = random(40, D_IN, seed=1), random(D_SAE, D_IN, seed=2)
    expected = nonnegative_least_squares(x, atoms)
    monkeypatch.setattr(nonnegative, "BLOCK", 300)
    torch.testing.assert_close(nonnegative_least_squares(x, atoms), expected)
    assert nonnegative_least_squares(x[:0], atoms).shape == (0, D_SAE)


def build(**tensors: Tensor) -> snmf.AffineDictionary:
    what = content(tensors)
    assert snmf.recognise(what)
    return snmf.build(what, device="cpu", dtype=None)  # type: ignore[return-value]


def test_a_matrix_is_a_dictionary() -> None:
    features, x = random(D_IN, D_SAE, seed=1), tokens(d_in=D_IN)
    dictionary = build(F=features, G=random(50, D_SAE).abs())
    behaves(dictionary, x, by_scipy(x, features.T).float(), features.T, torch.zeros(D_IN))
    assert dictionary.encoder_rows is None


def test_planted_codes_are_found_again() -> None:
    features = random(D_IN, D_SAE, seed=1)
    codes = random(30, D_SAE, seed=2).clamp(min=0)
    torch.testing.assert_close(
        build(F=features).encode(codes @ features.T), codes, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_type_of_computing_is_proven(dtype: torch.dtype) -> None:
    features = {"F": random(D_IN, D_SAE, seed=1)}
    prove(snmf.build(content(features), device="cpu", dtype=dtype))


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_file_is_loaded(suffix: str, tmp_path: Path) -> None:
    features, path = random(D_IN, D_SAE, seed=1), tmp_path / f"factors.{suffix}"
    if suffix == "npz":
        np.savez(path, F=features.numpy())
    else:
        save_file({"F": features}, path)
    x = tokens(d_in=D_IN)
    loaded = load(path, family="snmf", settings={"site": "blocks.1.mlp.hook_post"}.items())
    assert torch.equal(loaded.encode(x), build(F=features).encode(x))
    assert loaded.info.hook_in == "blocks.1.mlp.hook_post"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"F": random(D_SAE, D_IN), "G": random(9, D_SAE)}, "F is transposed"),
        ({"F": random(D_IN, D_SAE), "G": random(9, 7)}, "they do not belong together"),
        ({"F": random(D_IN)}, r"F of the shape \(12,\)"),
        ({"F": random(D_IN, D_SAE) * torch.nan}, r"F \(96 NaN"),
        ({"F": torch.zeros(D_IN, D_SAE)}, "all 8 decoder rows are zero"),
        ({"F": torch.ones(D_IN, D_SAE, dtype=torch.int)}, "Expected floating point"),
    ],
)
def test_a_spoiled_matrix_is_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(**tensors)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.integers(1, 8), st.integers(1, 6), st.integers(0, 2**20))
def test_fitting_never_raises_the_error(count: int, d_in: int, rank: int, seed: int) -> None:
    x = tokens(count, d_in, seed)
    fitted = factorise(x, min(rank, count), seed, iterations=20, tolerance=0.0)
    errors = torch.tensor(fitted.errors)
    assert (fitted.codes >= 0).all()
    assert (errors[1:] <= errors[:-1] * (1 + 1e-6) + 1e-9).all()


def test_a_planted_factorisation_is_explained() -> None:
    rows, codes = random(4, D_IN, seed=1), random(400, 4, seed=2).clamp(min=0)
    x = codes @ rows
    dictionary = fit_snmf(x, 4, seed=0, iterations=500, tolerance=0.0)
    left = (x - dictionary.reconstruct(x)).square().sum() / (x - x.mean(dim=0)).square().sum()
    assert left < 0.02
    prove(dictionary)


def test_a_fit_explains_no_less_by_exact_codes_than_by_its_own() -> None:
    x = tokens(200, D_IN)
    fitted = factorise(x, 6, seed=0, iterations=30)
    exact = nonnegative_least_squares(x.double(), fitted.rows)
    assert error(x, exact, fitted.rows).sum() <= fitted.errors[-1] * (1 + 1e-9)


def test_a_fit_is_decided_by_its_seed_and_leaves_the_global_state_alone() -> None:
    x, state = tokens(60, D_IN), torch.get_rng_state()
    same, again, other = (fit_snmf(x, 5, seed, iterations=9) for seed in (1, 1, 2))
    assert torch.equal(same.decoder_rows, again.decoder_rows)
    assert same.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(torch.get_rng_state(), state)


def test_a_fit_belongs_to_the_site_that_it_is_given() -> None:
    info = DictionaryInfo("mine", "snmf", "gpt2", "transformer.h.3", "transformer.h.3")
    assert fit_snmf(tokens(30, D_IN), 3, 0, info=info).info == info


@pytest.mark.parametrize(
    ("x", "rank", "message"),
    [
        (tokens(10, 4), 11, "10 tokens cannot have rank 11"),
        (tokens(10, 4), 0, "cannot have rank 0"),
        (tokens(10, 4) * torch.inf, 2, "Expected a finite matrix"),
        (tokens(10, 4)[0], 2, "Expected a finite matrix"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x: Tensor, rank: int, message: str) -> None:
    with pytest.raises(DictionaryError, match=message):
        fit_snmf(x, rank, seed=0)
