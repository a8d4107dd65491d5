"""Controls of a dictionary that reads earlier tokens keep what it takes from them, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries import in_context
from pytest_sae.dictionaries.base import Contextual, Dictionary
from pytest_sae.dictionaries.controls import random_matched, random_tied, redrawn_decoder
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.dictionaries.references import pca
from tests.dictionaries.formats.sae_lens_files import write_temporal

D, M, K = 16, 48, 6


@pytest.fixture
def temporal(tmp_path: Path) -> Dictionary:
    write_temporal(tmp_path / "sae", D, M)
    return load(tmp_path / "sae")


def read(temporal: Dictionary) -> Tensor:
    assert isinstance(temporal, Contextual)
    x = 2 * torch.randn(40, 9, D, generator=torch.Generator().manual_seed(3)) + 0.3
    return temporal.in_context(x).flatten(0, 1)


def test_the_rest_is_what_is_left_when_every_latent_is_ablated(temporal: Dictionary) -> None:
    x = read(temporal)
    rest = in_context.rest(temporal, x)
    torch.testing.assert_close(rest + temporal.const(x), x[:, :D])
    assert rest.var() > 0.1


@pytest.mark.parametrize("tied", [False, True])
def test_a_random_control_differs_from_it_in_its_latents_alone(
    temporal: Dictionary, tied: bool
) -> None:
    x, alike = read(temporal), in_context.like(temporal)
    rest = in_context.rest(temporal, x)
    make = random_tied if tied else random_matched
    control = in_context.OfRest(temporal, make(alike, rest, K, seed=1))
    prove(control)
    z = control.encode(x)
    assert (z != 0).sum(1).double().mean().item() == pytest.approx(K, abs=0.01)
    constant = control.const(x) - temporal.const(x)
    torch.testing.assert_close(constant, rest.mean(0).expand_as(constant))
    assert (control.d_in, control.d_out, control.d_sae) == (2 * D, D, M)
    assert isinstance(control, Contextual)


def test_components_of_the_rest_reach_it_when_there_are_enough_of_them(
    temporal: Dictionary,
) -> None:
    x, alike = read(temporal), in_context.like(temporal)
    rest = in_context.rest(temporal, x)
    errors = []
    for k in (K, D):
        reference = in_context.OfRest(temporal, pca(alike, rest, k))
        prove(reference)
        errors.append(float((x[:, :D] - reference.reconstruct(x)).square().sum()))
    assert errors[1] < 1e-4 * errors[0]
    variance = float((rest - rest.mean(0)).square().sum())
    assert errors[0] < variance


def test_what_the_context_says_entirely_leaves_latents_nothing_to_add(
    temporal: Dictionary,
) -> None:
    x = read(temporal)
    # The activation is what was predicted of it, and the bias.
    said = torch.cat([temporal.const(x), x[:, D:]], dim=1)
    rest = in_context.rest(temporal, said)
    control = in_context.OfRest(temporal, pca(in_context.like(temporal), rest, 1))
    torch.testing.assert_close(control.reconstruct(said), said[:, :D], rtol=1e-4, atol=1e-4)


def test_other_random_rows_leave_the_latents_and_the_context_as_they_are(
    temporal: Dictionary,
) -> None:
    x = read(temporal)
    inner = random_matched(in_context.like(temporal), in_context.rest(temporal, x), K, seed=1)
    one, two = (
        in_context.OfRest(temporal, each) for each in (inner, redrawn_decoder(inner, seed=2))
    )
    assert torch.equal(one.encode(x), two.encode(x))
    assert torch.equal(one.const(x), two.const(x))
    assert not torch.equal(one.reconstruct(x), two.reconstruct(x))
    assert one.fingerprint != two.fingerprint
