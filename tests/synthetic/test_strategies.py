"""What the strategies give: every architecture, proven; and equivalents that are equivalent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.prove import prove
from pytest_sae.synthetic.dictionaries import ARCHITECTURES, random_dictionary
from pytest_sae.synthetic.equivalent import renumbered, rescaled
from pytest_sae.synthetic.strategies import activations, dictionaries, factors, orders

D = 8


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_fires_and_is_silent(architecture: str) -> None:
    dictionary = random_dictionary(architecture, 16, 48, seed=1)
    x = 2 * torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    firing = dictionary.encode(x) != 0
    assert firing.any()
    assert not firing.all()
    assert dictionary.info.family.endswith(architecture)


def test_a_transcoder_may_write_another_width() -> None:
    dictionary = random_dictionary("skip_transcoder", 16, 48, seed=1, d_out=12)
    assert (dictionary.d_in, dictionary.d_out) == (16, 12)
    assert dictionary.reconstruct(torch.randn(3, 16)).shape == (3, 12)


def test_the_same_seed_is_the_same_dictionary() -> None:
    first, second, other = (random_dictionary("topk", 8, 20, seed) for seed in (1, 1, 2))
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_an_unknown_architecture_is_told_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'top_k'. Expected standard, topk"):
        random_dictionary("top_k", 8, 20, seed=0)


@given(dictionary=dictionaries(D), x=activations(D), data=st.data())
def test_equivalents_keep_the_contract_and_reconstruct_alike(
    dictionary: Dictionary, x: torch.Tensor, data: st.DataObject
) -> None:
    order = data.draw(orders(dictionary.d_sae))
    units = data.draw(factors(dictionary.d_sae))
    z = dictionary.encode(x)
    for other, expected in (
        (renumbered(dictionary, order), z[:, order]),
        (rescaled(dictionary, units), z * units),
    ):
        prove(other)
        assert torch.equal(other.encode(x), expected)
        assert torch.equal(other.reconstruct(x), dictionary.reconstruct(x))
        assert other.fingerprint != dictionary.fingerprint


@given(dictionary=dictionaries(D), x=activations(D))
def test_activations_of_any_scale_are_finite_and_so_are_their_codes(
    dictionary: Dictionary, x: torch.Tensor
) -> None:
    assert x.shape[1] == D
    assert torch.isfinite(x).all()
    assert torch.isfinite(dictionary.encode(x)).all()
