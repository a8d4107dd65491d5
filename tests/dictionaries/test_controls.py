"""Controls are what METRICS.md says they are, and are dictionaries themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.controls import permuted_decoder, random_matched
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError
from tests.dictionaries import sae_lens_files
from tests.tiny import SAE_ARCHS, tiny_sae


def tokens(count: int = 600, d_in: int = 32) -> Tensor:
    return torch.randn(count, d_in, generator=torch.Generator().manual_seed(2)) * 2 + 1


@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_a_permuted_decoder_keeps_the_latents_and_the_set_of_rows(
    arch: str, sae_dirs: dict[str, Path]
) -> None:
    original, x = load(sae_dirs[arch]), tokens()
    control = permuted_decoder(original, seed=1)
    prove(control)
    rows, shuffled = original.decoder_rows, control.decoder_rows
    assert rows is not None
    assert torch.equal(control.encode(x), original.encode(x))
    assert torch.equal(control.const(x), original.const(x))
    assert not torch.equal(shuffled, rows)
    assert sorted(map(tuple, shuffled.tolist())) == sorted(map(tuple, rows.tolist()))
    errors = [(x - each.reconstruct(x)).square().sum() for each in (original, control)]
    assert errors[0] < errors[1]


def test_a_permuted_skip_transcoder_still_passes_its_input_on(tmp_path: Path) -> None:
    original = load(sae_lens_files.write(tmp_path, "skip_transcoder", d_out=20))
    control, x = permuted_decoder(original, seed=1), tokens()
    prove(control)
    assert (control.d_in, control.d_out) == (32, 20)
    assert torch.equal(control.const(x), original.const(x))
    assert not torch.allclose(control.reconstruct(x), original.reconstruct(x), atol=0.1)


def test_a_transcoder_has_no_random_twin(tmp_path: Path) -> None:
    transcoder = load(sae_lens_files.write(tmp_path, "transcoder"))
    with pytest.raises(DictionaryError, match="dictionary of one site"):
        random_matched(transcoder, tokens(), 6, seed=0)


def test_a_permuted_decoder_follows_its_seed(sae_dirs: dict[str, Path]) -> None:
    original = load(sae_dirs["topk"])
    one, same, other = (permuted_decoder(original, seed) for seed in (1, 1, 2))
    assert torch.equal(one.decoder_rows, same.decoder_rows)
    assert not torch.equal(one.decoder_rows, other.decoder_rows)
    names = {each.fingerprint for each in (original, one, same, other)}
    assert len(names) == 3


def test_a_decoder_that_is_not_affine_cannot_be_permuted(tmp_path: Path) -> None:
    normalised = load(tiny_sae(tmp_path, "topk", normalize_activations="layer_norm"))
    with pytest.raises(DictionaryError, match="no fixed decoder rows"):
        permuted_decoder(normalised, seed=0)


@pytest.mark.parametrize("l0", [0.5, 6, 40.25, 96])
def test_a_random_dictionary_has_the_l0_that_was_asked_for(l0: float) -> None:
    x = tokens()
    control = random_matched((32, 96), x, l0, seed=3)
    prove(control)
    assert (control.encode(x) != 0).sum(1).double().mean().item() == pytest.approx(l0, abs=2e-3)


def test_a_random_dictionary_has_the_shape_and_site_of_its_model(sae_dirs: dict[str, Path]) -> None:
    like = load(sae_dirs["topk"])
    control = random_matched(like, tokens(), 6, seed=0)
    assert (control.d_in, control.d_out, control.d_sae) == (32, 32, 96)
    assert control.info.hook_in == like.info.hook_in
    assert control.info.family == "control.random"
    assert torch.allclose(control.decoder_rows.norm(dim=1), torch.ones(96))


def test_a_random_dictionary_follows_its_seed_and_activations() -> None:
    x = tokens()
    one, same, other = (random_matched((32, 96), x, 6, seed) for seed in (1, 1, 2))
    moved = random_matched((32, 96), x + 1, 6, 1)
    assert torch.equal(one.reconstruct(x), same.reconstruct(x))
    assert not torch.equal(one.reconstruct(x), other.reconstruct(x))
    assert one.fingerprint == same.fingerprint
    assert len({each.fingerprint for each in (one, other, moved)}) == 3


@pytest.mark.parametrize("l0", [0, -1, 97])
def test_an_impossible_l0_is_refused(l0: float) -> None:
    with pytest.raises(DictionaryError, match="cannot have L0"):
        random_matched((32, 96), tokens(), l0, seed=0)
