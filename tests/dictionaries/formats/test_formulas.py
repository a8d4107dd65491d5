"""Every family computes its published formula, written out here, and what sae_lens computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pytest_sae.dictionaries.load import load
from tests.dictionaries.conftest import edit_config, edit_weights
from tests.tiny import SAE_ARCHS, tiny_sae

PER_TOKEN = ("layer_norm", "constant_norm_rescale")


def tokens(count: int = 200, d_in: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 1.5 * torch.randn(count, d_in, generator=generator) + 0.3


def topk(pre: Tensor, k: int) -> Tensor:
    """All but each row's k largest set to zero, and what is negative too."""
    least = pre.sort(dim=1, descending=True).values[:, k - 1 : k]
    return torch.where(pre >= least, pre, 0.0).clamp(min=0)


def explicit_encode(arch: str, w: dict[str, Tensor], x: Tensor, bias: float = 1.0) -> Tensor:
    """The encoders of reference/dictionaries.md 1.2; `bias` is 0 where b_dec is not subtracted."""
    centred = x - bias * w["b_dec"]
    if arch == "gated":
        gate = centred @ w["W_enc"] + w["b_gate"] > 0
        return gate * (centred @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"]).clamp(min=0)
    pre = centred @ w["W_enc"] + w["b_enc"]
    if arch == "topk":
        return topk(pre, 6)
    if arch in ("jumprelu", "batchtopk"):
        return pre.clamp(min=0) * (pre > w["threshold"])
    return pre.clamp(min=0)


def sae_lens_outputs(directory: Path, x: Tensor) -> tuple[Tensor, Tensor]:
    from sae_lens import SAE

    sae = SAE.load_from_disk(str(directory))
    with torch.no_grad():
        return sae.encode(x), sae(x)


@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_a_family_computes_its_formula(arch: str, sae_dirs: dict[str, Path]) -> None:
    dictionary, x = load(sae_dirs[arch]), tokens()
    w = load_file(sae_dirs[arch] / "sae_weights.safetensors")
    z = explicit_encode(arch, w, x)
    latents = torch.tensor([3, 17, 60, 95])
    kept = z.clone()
    kept[:, latents] = 0
    assert 0 < (z != 0).sum() < z.numel()
    torch.testing.assert_close(dictionary.encode(x), z)
    torch.testing.assert_close(dictionary.reconstruct(x), z @ w["W_dec"] + w["b_dec"])
    torch.testing.assert_close(dictionary.const(x), w["b_dec"].expand(200, 32))
    torch.testing.assert_close(
        dictionary.contribution(x, z, latents), z @ w["W_dec"] - kept @ w["W_dec"]
    )
    torch.testing.assert_close(dictionary.decoder_rows, w["W_dec"])
    torch.testing.assert_close(dictionary.encoder_rows, w["W_enc"].T)
    assert (dictionary.d_in, dictionary.d_out, dictionary.d_sae) == (32, 32, 96)


@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_a_family_computes_what_sae_lens_computes(arch: str, sae_dirs: dict[str, Path]) -> None:
    dictionary, x = load(sae_dirs[arch]), tokens()
    z, reconstructed = sae_lens_outputs(sae_dirs[arch], x)
    assert torch.equal(dictionary.encode(x), z)
    assert torch.equal(dictionary.reconstruct(x), reconstructed)


@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_b_dec_is_subtracted_only_where_declared(arch: str, tmp_path: Path) -> None:
    directory = tiny_sae(tmp_path, arch, apply_b_dec_to_input=False)
    w, x = load_file(directory / "sae_weights.safetensors"), tokens()
    torch.testing.assert_close(load(directory).encode(x), explicit_encode(arch, w, x, bias=0.0))


def test_topk_with_rescaling_writes_normalised_rows(tmp_path: Path) -> None:
    directory = tiny_sae(tmp_path, "topk", rescale_acts_by_decoder_norm=True)
    factors = torch.linspace(0.2, 5.0, 96)[:, None]
    edit_weights(directory, lambda w: w.update(W_dec=w["W_dec"] * factors))
    dictionary, x = load(directory), tokens()
    w = load_file(directory / "sae_weights.safetensors")
    norm = w["W_dec"].norm(dim=1)
    z = topk(((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norm, 6)
    latents = torch.arange(0, 96, 2)
    rows = w["W_dec"] / norm[:, None]
    torch.testing.assert_close(dictionary.encode(x), z)
    torch.testing.assert_close(dictionary.reconstruct(x), (z / norm) @ w["W_dec"] + w["b_dec"])
    torch.testing.assert_close(dictionary.decoder_rows, rows)
    torch.testing.assert_close(
        dictionary.contribution(x, z, latents), z[:, latents] @ rows[latents]
    )
    torch.testing.assert_close(dictionary.reconstruct(x), sae_lens_outputs(directory, x)[1])


@pytest.mark.parametrize("arch", SAE_ARCHS)
@pytest.mark.parametrize("kind", PER_TOKEN)
def test_per_token_normalisation_is_undone_exactly(arch: str, kind: str, tmp_path: Path) -> None:
    directory = tiny_sae(tmp_path, arch, normalize_activations=kind)
    dictionary, x = load(directory), tokens()
    w = load_file(directory / "sae_weights.safetensors")
    if kind == "layer_norm":
        mean, scale = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        entered = (x - mean) / (scale + 1e-5)
    else:
        mean, scale = torch.zeros(200, 1), x.norm(dim=1, keepdim=True) / 32**0.5
        entered = x / scale
    z = explicit_encode(arch, w, entered)
    latents = torch.tensor([1, 2, 50])
    close = {"rtol": 1e-4, "atol": 1e-4}
    theirs = sae_lens_outputs(directory, x)
    torch.testing.assert_close(dictionary.encode(x), z, **close)
    torch.testing.assert_close(dictionary.encode(x), theirs[0], **close)
    torch.testing.assert_close(dictionary.reconstruct(x), theirs[1], **close)
    torch.testing.assert_close(dictionary.const(x), w["b_dec"] * scale + mean, **close)
    expected = z[:, latents] @ w["W_dec"][latents] * scale
    torch.testing.assert_close(dictionary.contribution(x, z, latents), expected, **close)
    assert dictionary.decoder_rows is None


def test_normalised_tokens_do_not_depend_on_what_was_encoded_before(tmp_path: Path) -> None:
    dictionary = load(tiny_sae(tmp_path, "topk", normalize_activations="layer_norm"))
    x = tokens()
    before = dictionary.reconstruct(x)
    dictionary.encode(100 * tokens() - 5)
    assert torch.equal(dictionary.reconstruct(x), before)


def test_a_hook_z_sae_takes_flat_activations(sae_dirs: dict[str, Path], tmp_path: Path) -> None:
    hook = "blocks.1.attn.hook_z"
    directory = tiny_sae(tmp_path, "topk", hook=hook, reshape_activations="hook_z")
    same = load(sae_dirs["topk"])
    assert torch.equal(load(directory).reconstruct(tokens()), same.reconstruct(tokens()))


OLD = {
    "model_name": "gpt2-small",
    "hook_point": "blocks.1.hook_resid_pre",
    "hook_point_layer": 1,
    "hook_point_head_index": None,
    "d_in": 32,
    "d_sae": 96,
    "dtype": "torch.float32",
    "device": "cuda",
    "context_size": 64,
    "normalize_activations": False,
    "sae_lens_training_version": "3.1.0",
}


@pytest.mark.parametrize(
    ("arch", "extra"),
    [
        ("standard", {}),
        ("standard", {"activation_fn_str": "relu", "architecture": "standard"}),
        ("topk", {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 6}}),
        ("jumprelu", {"architecture": "jumprelu", "prepend_bos": False}),
        ("gated", {"architecture": "gated", "apply_b_dec_to_input": False}),
    ],
)
def test_a_configuration_of_before_6_0_means_what_sae_lens_takes_it_for(
    arch: str, extra: dict[str, object], tmp_path: Path
) -> None:
    directory = tiny_sae(tmp_path, arch)
    edit_config(directory, lambda config: (config.clear(), config.update(OLD, **extra)))
    info = load(directory).info
    from sae_lens.loading.pretrained_sae_loaders import handle_pre_6_0_config
    from sae_lens.saes.sae import SAE

    theirs = SAE.load_from_disk(str(directory), dtype="float32")
    with torch.no_grad():
        torch.testing.assert_close(load(directory).reconstruct(tokens()), theirs(tokens()))
    metadata = handle_pre_6_0_config({**OLD, **extra})["metadata"]
    assert (info.model, info.hook_in) == (metadata["model_name"], metadata["hook_name"])
    assert (info.context_size, info.prepend_bos) == (64, metadata["prepend_bos"])
