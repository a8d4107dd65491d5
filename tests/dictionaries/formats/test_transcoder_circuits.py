"""transcoder_circuits' transcoders are read from tensors alone, with both biases in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats import transcoder_circuits
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from pytest_sae.models import processing
from tests.dictionaries.contents import behaves, content, random, tokens, unit

D_IN, D_SAE, D_OUT = 12, 40, 9


def weights() -> dict[str, Tensor]:
    return {
        "W_enc": random(D_IN, D_SAE, seed=1),
        "b_enc": random(D_SAE, seed=2),
        "W_dec": unit(D_SAE, D_OUT, seed=3),
        "b_dec": random(D_IN, seed=4),
        "b_dec_out": random(D_OUT, seed=5),
    }


def build(tensors: dict[str, Tensor], **settings: str) -> Dictionary:
    what = content(tensors, **settings)
    assert transcoder_circuits.recognise(what)
    return transcoder_circuits.build(what, device="cpu", dtype=None)


def test_a_transcoder_computes_its_formula() -> None:
    w, x = weights(), tokens(d_in=D_IN)
    z = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).clamp(min=0)
    behaves(build(w), x, z, w["W_dec"], w["b_dec_out"])


def test_site_and_model_are_given_by_settings() -> None:
    info = build(weights(), site="blocks.8.ln2.hook_out", site_out="blocks.8.hook_mlp_out").info
    assert (info.hook_in, info.hook_out) == ("blocks.8.ln2.hook_out", "blocks.8.hook_mlp_out")
    assert info.model is None


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_converted_file_is_loaded(wrapped: bool, tmp_path: Path) -> None:
    path, x = tmp_path / "transcoder.pt", tokens(d_in=D_IN)
    torch.save({"state_dict": weights()} if wrapped else weights(), path)
    torch.testing.assert_close(load(path).reconstruct(x), build(weights()).reconstruct(x))
    safe = tmp_path / "transcoder.safetensors"
    save_file(weights(), safe)
    assert torch.equal(load(safe).reconstruct(x), load(path).reconstruct(x))


@dataclass
class Configuration:
    """Stands for the trainer's own, which is pickled as an object."""

    d_in: int = D_IN


def test_a_file_with_its_pickled_configuration_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"cfg": Configuration(), "state_dict": weights()}, tmp_path / "transcoder.pt")
    with pytest.raises(DictionaryError, match=r"Configuration.* not opened.*save_file"):
        load(tmp_path / "transcoder.pt")


SPOILED: list[tuple[Callable[[dict[str, Tensor]], object], str]] = [
    (lambda w: w.update(W_dec=w["W_dec"].T), r"W_dec has the shape \(9, 40\). Expected \(40, 40\)"),
    (lambda w: w.update(W_enc=w["W_enc"].T), r"shape .* Expected"),
    (lambda w: w.update(W_enc=random(D_IN)), "Expected two dimensions"),
    (lambda w: w["b_enc"].fill_(torch.inf), r"b_enc \(0 NaN, 40 Inf of 40\)"),
    (lambda w: w["W_dec"].zero_(), "all 40 decoder rows are zero"),
    (lambda w: w.update(extra=random(2)), "unknown extra"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_spoiled_weights_are_refused(
    spoil: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    w = weights()
    spoil(w)
    with pytest.raises(DictionaryError, match=message):
        build(w)


def test_its_training_processed_the_weights_of_the_model_unless_that_is_denied() -> None:
    usual = processing.declared(build(weights()).info.trained_on)
    assert usual == processing.Processing(True, True, True)
    other = processing.declared(build(weights(), fold_ln="false").info.trained_on)
    assert other == processing.Processing(False, True, True)
