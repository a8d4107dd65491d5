"""Gemma Scope: everything that counts is read from the arrays, and the path only makes guesses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.errors import DictionaryError
from pytest_sae.models.prove import captured
from tests.dictionaries.contents import behaves
from tests.models.architectures import language_model, padded_batch

D, M, OUT = 16, 40, 12


def arrays(d_out: int = D) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "W_enc": torch.randn(D, M, generator=generator),
        "W_dec": torch.randn(M, d_out, generator=generator),
        "b_enc": torch.randn(M, generator=generator) * 0.2,
        "b_dec": torch.randn(d_out, generator=generator) * 0.2,
        "threshold": torch.rand(M, generator=generator) * 3,
    }


def tokens() -> Tensor:
    return torch.randn(60, D, generator=torch.Generator().manual_seed(5)) * 1.5 + 0.3


def write_first(directory: Path, w: dict[str, Tensor], save: Any = np.savez) -> Path:
    """As the first release: params.npz, and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    save(directory / "params.npz", **{name: tensor.numpy() for name, tensor in w.items()})
    return directory


def write_second(directory: Path, w: dict[str, Tensor], **config: object) -> Path:
    """As the second release: params.safetensors in lower case, and mostly a config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    lower = {name.lower(): tensor.contiguous() for name, tensor in w.items()}
    save_file(lower, directory / "params.safetensors")
    if config:
        (directory / "config.json").write_text(json.dumps(config))
    return directory


def codes(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """JumpReLU without any subtraction of b_dec."""
    pre = x @ w["W_enc"] + w["b_enc"]
    return pre.clamp(min=0) * (pre > w["threshold"])


def loaded(directory: Path, *given: tuple[str, str]) -> Dictionary:
    return load(directory, settings=given)


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("write", [write_first, write_second])
@pytest.mark.parametrize("d_out", [D, OUT])
def test_it_computes_its_formula_for_saes_and_transcoders(
    write: Callable[..., Path], d_out: int, tmp_path: Path
) -> None:
    w, x = arrays(d_out), tokens()
    behaves(loaded(write(tmp_path, w)), x, codes(w, x), w["W_dec"], w["b_dec"])


def test_it_computes_what_sae_lens_computes_from_the_same_weights(tmp_path: Path) -> None:
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    w, x = arrays(), tokens()
    theirs = JumpReLUSAE(JumpReLUSAEConfig(d_in=D, d_sae=M, apply_b_dec_to_input=False))
    theirs.load_state_dict(w)
    ours = loaded(write_first(tmp_path, w))
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x))
        torch.testing.assert_close(ours.reconstruct(x), theirs(x))


def test_the_affine_connection_counts_in_reconstruction_and_in_no_latent(tmp_path: Path) -> None:
    from sae_lens.saes.transcoder import JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig

    w, x = arrays(OUT), tokens()
    skip = torch.randn(D, OUT, generator=torch.Generator().manual_seed(9))
    ours = loaded(write_second(tmp_path, {**w, "affine_skip_connection": skip}))
    torch.testing.assert_close(
        ours.reconstruct(x), codes(w, x) @ w["W_dec"] + w["b_dec"] + x @ skip
    )
    torch.testing.assert_close(ours.const(x), w["b_dec"] + x @ skip)
    config = JumpReLUSkipTranscoderConfig(d_in=D, d_out=OUT, d_sae=M, apply_b_dec_to_input=False)
    theirs = JumpReLUSkipTranscoder(config)
    theirs.load_state_dict({**w, "W_skip": skip.T})
    with torch.no_grad():
        torch.testing.assert_close(ours.reconstruct(x), theirs(x))


def test_what_was_trained_on_a_multiple_of_its_site_reconstructs_the_site(tmp_path: Path) -> None:
    w, x = arrays(), tokens()
    ours = loaded(write_first(tmp_path, w), ("norm_factor", "0.25"))
    z = codes(w, x / 4)
    behaves(ours, x, z, 4 * w["W_dec"], 4 * w["b_dec"], rtol=1e-5, atol=1e-5)
    assert ours.fingerprint != loaded(tmp_path).fingerprint


def test_a_model_of_gemma_has_its_embeddings_times_the_root_of_its_width() -> None:
    """Where the dictionaries of embeddings are read, with the factor 1/√d."""
    model = language_model("gemma2")
    batch = padded_batch((9, 9))
    x, _ = captured(model, batch, model.site("blocks.0.hook_resid_pre"))
    embeddings = model.hf.get_input_embeddings().weight[batch.ids]
    torch.testing.assert_close(x, embeddings * x.shape[-1] ** 0.5)


def test_a_factor_of_a_transcoder_is_refused(tmp_path: Path) -> None:
    for number, (d_out, given) in enumerate([(OUT, ()), (D, (("site_out", "blocks.1"),))]):
        directory = write_first(tmp_path / str(number), arrays(d_out))
        with pytest.raises(DictionaryError, match=r"norm_factor=0.25, and writes another site"):
            loaded(directory, ("norm_factor", "0.25"), *given)


def test_the_same_arrays_have_one_fingerprint_in_any_container(tmp_path: Path) -> None:
    w = arrays()
    saved = (
        write_first(tmp_path / "a", w),
        write_first(tmp_path / "b", w, np.savez_compressed),
        write_second(tmp_path / "c", w),
        write_second(tmp_path / "d", w, architecture="jump_relu"),
    )
    assert len({loaded(directory).fingerprint for directory in saved}) == 1
    assert loaded(saved[0] / "params.npz").fingerprint == loaded(saved[0]).fingerprint


@pytest.mark.parametrize(
    ("point", "hook"),
    [
        ("model.layers.5.output", "model.layers.5"),
        ("model.layers.5.self_attn.o_proj.input", "blocks.5.attn.hook_z"),
        (
            "model.layers.5.post_feedforward_layernorm.output",
            "model.layers.5.post_feedforward_layernorm",
        ),
        (None, None),
    ],
)
def test_the_second_release_says_its_site_and_model(
    point: str | None, hook: str | None, tmp_path: Path
) -> None:
    directory = write_second(
        tmp_path, arrays(), hf_hook_point_in=point, model_name="gemma-v3-1b-pt"
    )
    info = loaded(directory).info
    assert (info.hook_in, info.hook_out, info.model) == (hook, hook, "google/gemma-3-1b-pt")


def test_a_transcoder_of_the_second_release_says_both_sites(tmp_path: Path) -> None:
    directory = write_second(
        tmp_path,
        arrays(),
        hf_hook_point_in="model.layers.5.pre_feedforward_layernorm.output",
        hf_hook_point_out="model.layers.5.post_feedforward_layernorm.output",
        model_name="gemma-v3-270m-pt",
    )
    info = loaded(directory).info
    assert info.hook_in == "model.layers.5.pre_feedforward_layernorm"
    assert info.hook_out == "model.layers.5.post_feedforward_layernorm"
    assert info.model == "google/gemma-3-270m"


def test_the_path_is_a_suggestion_in_the_error_and_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "gemma-scope-2b-pt-att/layer_12/width_16k/average_l0_82"
    info = loaded(write_first(path, arrays())).info
    assert (info.model, info.hook_in) == (None, None)
    with pytest.raises(DictionaryError) as caught:
        require_site(info)
    assert "model=google/gemma-2-2b,site=blocks.12.attn.hook_z" in str(caught.value)
    assert "check that" in str(caught.value)
    given = loaded(path, ("site", "blocks.3.hook_mlp_out"), ("model", "own")).info
    assert (given.model, given.hook_in) == ("own", "blocks.3.hook_mlp_out")
    require_site(given)


def test_a_directory_of_the_release_finds_the_one_below_it(tmp_path: Path) -> None:
    write_first(tmp_path / "layer_12/width_16k/average_l0_82", arrays())
    assert loaded(tmp_path).d_sae == M
    write_first(tmp_path / "layer_12/width_16k/average_l0_22", arrays())
    assert "2 candidates" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.update(W_dec=w["W_enc"]), "W_dec has the shape"),
        (lambda w: w.update(b_enc=torch.ones(3)), "b_enc has the shape"),
        (
            lambda w: w.update(W_dec=torch.ones(M, 3, D)),
            "of W_dec there is one of the shape (40, 3, 16)",
        ),
        (lambda w: w["threshold"].fill_(-0.5), "40 of 40 thresholds below 0"),
        (lambda w: w["W_enc"].fill_(torch.nan), "not finite"),
        (lambda w: w["W_dec"].zero_(), "decoder rows are zero"),
        (lambda w: w.update(scaling_factor=torch.full((M,), 2.0)), "unknown scaling_factor"),
        (lambda w: w.update(b_enc=torch.ones(M, dtype=torch.int32)), "int32"),
        (lambda w: w.pop("threshold"), "has weights alone"),
        (lambda w: w.update(more=torch.ones(2)), "no known family"),
    ],
)
def test_spoiled_arrays_are_refused(
    change: Callable[[dict[str, Tensor]], object], named: str, tmp_path: Path
) -> None:
    w = arrays()
    change(w)
    assert named in refusal(write_first(tmp_path, w))


def test_a_scaling_factor_of_ones_is_nothing(tmp_path: Path) -> None:
    w = arrays()
    plain = loaded(write_first(tmp_path / "a", w)).fingerprint
    scaled = {**w, "scaling_factor": torch.ones(M)}
    assert loaded(write_first(tmp_path / "b", scaled)).fingerprint == plain
