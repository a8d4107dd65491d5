"""Controls are what METRICS.md says they are, and are dictionaries themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo, Scaled
from pytest_sae.dictionaries.controls import (
    alive,
    best_k,
    permuted_decoder,
    random_matched,
    random_tied,
    redrawn_decoder,
)
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.dictionaries.references import identity, pca
from pytest_sae.errors import DictionaryError
from tests.dictionaries.formats import sae_lens_files
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


def test_a_random_transcoder_needs_what_is_written_and_has_its_mean(tmp_path: Path) -> None:
    transcoder, x = load(sae_lens_files.write(tmp_path, "transcoder", d_out=20)), tokens()
    with pytest.raises(DictionaryError, match="beside what it reads"):
        random_matched(transcoder, x, 6, seed=0)
    y = x[:, :20] + 3
    control = random_matched(transcoder, x, 6, seed=0, y=y)
    prove(control)
    assert (control.d_in, control.d_out) == (32, 20)
    assert torch.equal(control.const(x)[0], y.mean(0))
    assert float((control.encode(x) != 0).sum(1).double().mean()) == pytest.approx(6, abs=0.1)


def test_all_components_of_a_linear_map_are_the_map(tmp_path: Path) -> None:
    transcoder, x = load(sae_lens_files.write(tmp_path, "transcoder", d_out=20)), tokens()
    y = x @ torch.randn(32, 20, generator=torch.Generator().manual_seed(0)) + 1
    whole, part = (pca(transcoder, x, k, y) for k in (20, 5))
    prove(whole)
    assert torch.allclose(whole.reconstruct(x), y, atol=1e-3)
    errors = [(each.reconstruct(x) - y).square().sum() for each in (whole, part)]
    assert errors[0] < errors[1] < (y - y.mean(0)).square().sum()


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


def error(dictionary: Dictionary, x: Tensor) -> float:
    return float((x - dictionary.reconstruct(x)).square().sum())


@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_best_k_keeps_the_latents_that_write_most(arch: str, sae_dirs: dict[str, Path]) -> None:
    original, x = load(sae_dirs[arch]), tokens()
    control = best_k(original, x, 10)
    prove(control)
    z, kept = original.encode(x).detach(), control.encode(x).detach()
    use = [
        float(sum(abs(float(each)) for each in z[:, j]) * np.linalg.norm(original.decoder_rows[j]))
        for j in range(original.d_sae)
    ]
    chosen = sorted(range(original.d_sae), key=lambda j: -use[j])[:10]
    assert set(kept.any(0).nonzero()[:, 0].tolist()) == set(chosen)
    assert torch.equal(kept[:, chosen], z[:, chosen])
    assert torch.equal(control.const(x), original.const(x))
    assert (control.d_sae, control.info.k) == (original.d_sae, None)
    # Of random rows on random tokens none is of use: what is left differs, and no more is claimed.
    assert error(control, x) != error(original, x)


def test_best_k_does_not_depend_on_how_latents_are_numbered(sae_dirs: dict[str, Path]) -> None:
    original, x = load(sae_dirs["standard"]), tokens()
    order = torch.randperm(96, generator=torch.Generator().manual_seed(4))
    renumbered = AffineDictionary(
        lambda x: original.encode(x)[:, order],
        original.decoder_rows[order],
        original.const(x[:1])[0],
        original.encoder_rows[order],
        original.info,
        "renumbered",
    )
    one, other = best_k(original, x, 12), best_k(renumbered, x, 12)
    assert torch.equal(one.encode(x)[:, order], other.encode(x))
    assert torch.allclose(one.reconstruct(x), other.reconstruct(x), atol=1e-5)


def test_best_k_cuts_a_decoder_that_is_not_affine_too(tmp_path: Path) -> None:
    normalised, x = load(tiny_sae(tmp_path, "topk", normalize_activations="layer_norm")), tokens()
    control = best_k(normalised, x, 10)
    prove(control)
    assert control.decoder_rows is None
    assert isinstance(control, Scaled)
    assert int(control.encode(x).any(0).sum()) == 10


@pytest.mark.parametrize("k", [0, 1000])
def test_best_k_refuses_to_cut_nothing_or_all(k: int, sae_dirs: dict[str, Path]) -> None:
    with pytest.raises(DictionaryError, match="that fire on these texts"):
        best_k(load(sae_dirs["topk"]), tokens(), k)
    original = load(sae_dirs["topk"])
    with pytest.raises(DictionaryError, match="cuts nothing, or all"):
        best_k(original, tokens(), alive(original, tokens()))


def test_the_identity_gives_back_what_it_reads(sae_dirs: dict[str, Path]) -> None:
    control, x = identity(load(sae_dirs["topk"])), tokens()
    prove(control)
    assert torch.equal(control.reconstruct(x), x)
    assert (control.d_in, control.d_sae, control.d_out, control.info.k) == (32, 32, 32, None)


@pytest.mark.parametrize("k", [1, 7, 32])
def test_pca_is_what_a_singular_value_decomposition_says(k: int, sae_dirs: dict[str, Path]) -> None:
    # Stretched, so that no two components have the same variance.
    x = tokens() * torch.linspace(0.5, 3, 32)
    control = pca(load(sae_dirs["topk"]), x, k)
    prove(control)
    wide = x.double().numpy()
    centred = wide - wide.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    coefficients = centred @ axes.T
    for row in coefficients:
        row[np.argsort(-np.abs(row))[k:]] = 0
    expected = wide.mean(0) + coefficients @ axes
    np.testing.assert_allclose(control.reconstruct(x).numpy(), expected, atol=1e-3)
    assert ((control.encode(x) != 0).sum(1) == k).all()


def test_no_k_axes_explain_more_than_the_principal_ones(sae_dirs: dict[str, Path]) -> None:
    like, x = load(sae_dirs["topk"]), tokens() * torch.linspace(0.5, 3, 32)
    axes = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0]
    mean = x.mean(0)

    def encode(x: Tensor) -> Tensor:
        z = (x - mean) @ axes.T
        return z * (z.abs() >= z.abs().topk(6, dim=1).values[:, -1:])

    turned = AffineDictionary(encode, axes, mean, axes, like.info, "turned")
    assert error(pca(like, x, 6), x) < error(turned, x)


def test_principal_components_do_not_depend_on_the_order_of_tokens(
    sae_dirs: dict[str, Path],
) -> None:
    like, x = load(sae_dirs["topk"]), tokens()
    mixed = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))]
    one, other = pca(like, x, 6), pca(like, mixed, 6)
    assert torch.allclose(one.reconstruct(x), other.reconstruct(x), atol=1e-4)


@pytest.mark.parametrize("k", [0, 33])
def test_an_impossible_number_of_components_is_refused(k: int, sae_dirs: dict[str, Path]) -> None:
    with pytest.raises(DictionaryError, match="cannot have"):
        pca(load(sae_dirs["topk"]), tokens(), k)


def test_a_transcoder_has_no_identity_and_no_components(tmp_path: Path) -> None:
    transcoder = load(sae_lens_files.write(tmp_path, "transcoder"))
    for make in (identity, lambda like: pca(like, tokens(), 3)):
        with pytest.raises(DictionaryError, match="dictionary of one site"):
            make(transcoder)


def test_a_decoder_without_encoder_rows_can_be_permuted() -> None:
    info = DictionaryInfo("mine", "factorisation", None, None, None)
    rows = torch.eye(8)
    original = AffineDictionary(lambda x: x.relu(), rows, torch.zeros(8), None, info, "mine")
    control = permuted_decoder(original, seed=1)
    prove(control)
    assert control.encoder_rows is None
    assert (control.d_in, control.d_out) == (8, 8)


def test_a_tied_random_dictionary_writes_where_it_reads(sae_dirs: dict[str, Path]) -> None:
    like, x = load(sae_dirs["topk"]), tokens()
    apart, control = random_matched(like, x, 6, 3), random_tied(like, x, 6, 3)
    prove(control)
    assert torch.equal(control.decoder_rows, control.encoder_rows)
    assert torch.equal(control.encode(x), apart.encode(x))
    assert torch.equal(control.const(x), apart.const(x))
    assert control.fingerprint != apart.fingerprint


def test_another_draw_has_the_same_latents_and_other_rows(sae_dirs: dict[str, Path]) -> None:
    first = random_matched(load(sae_dirs["topk"]), tokens(), 6, 3)
    one, same, other = (redrawn_decoder(first, seed) for seed in (1, 1, 2))
    prove(one)
    assert torch.equal(one.encode(tokens()), first.encode(tokens()))
    assert torch.equal(one.decoder_rows, same.decoder_rows)
    rows = [each.decoder_rows for each in (first, one, other)]
    cosines = [
        float((a * b).sum(1).abs().max()) for a, b in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    assert max(cosines) < 0.9
    assert torch.allclose(rows[1].norm(dim=1), torch.ones(96))
    assert len({each.fingerprint for each in (first, one, other)}) == 3
