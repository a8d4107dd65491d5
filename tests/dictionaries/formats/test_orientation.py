"""A square decoder that lies the wrong way is refused in every format: its encoder tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.formats import registry
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import content, random

D = 24
Q = torch.linalg.qr(random(D, D, seed=1))[0].contiguous()
ZERO = torch.zeros(D)
HOOKS = {"hook_point_in": "blocks.1.hook_resid_post", "hook_point_out": "blocks.1.hook_resid_post"}
OPENMOSS = {"d_model": D, "expansion_factor": 1, "act_fn": "relu", "norm_activation": "inference"}

Write = Callable[[Tensor], tuple[Mapping[str, Tensor], Mapping[str, Any], dict[str, str]]]


def _sae_lens(arch: str, **config: Any) -> Write:
    def write(rows: Tensor) -> Any:
        w = {"W_enc": Q.T, "W_dec": rows, "b_enc": ZERO, "b_dec": ZERO}
        if arch == "gated":
            w = {**w, **dict.fromkeys(("b_gate", "b_mag", "r_mag"), ZERO)}
            del w["b_enc"]
        if "jumprelu" in arch:
            w["threshold"] = ZERO
        return w, {"architecture": arch, "d_in": D, "d_sae": D, **config}, {}

    return write


def _temporal(rows: Tensor) -> Any:
    w = {"W_enc": Q.T, "W_dec": rows, "b_dec": ZERO}
    for name in ("k_ctx", "q_target", "v_ctx", "c_proj"):
        w[f"attn_layers.0.{name}.weight"] = torch.eye(D)
        w[f"attn_layers.0.{name}.bias"] = ZERO
    sizes = {"d_in": D, "d_sae": D, "n_heads": 1, "n_attn_layers": 1, "bottleneck_factor": 1}
    config = {"architecture": "temporal", "tied_weights": False, "kval_topk": 4, "metadata": {}}
    return w, {**config, **sizes, "sae_lens_version": "6.0.0"}, {}


def _dictionary_learning(kind: str) -> Write:
    def write(rows: Tensor) -> Any:
        linear = {"encoder.weight": Q, "decoder.weight": rows.T}
        own = {
            "AutoEncoder": {**linear, "encoder.bias": ZERO, "bias": ZERO},
            "GatedAutoEncoder": {
                **linear,
                **dict.fromkeys(("decoder_bias", "r_mag", "gate_bias", "mag_bias"), ZERO),
            },
            "AutoEncoderTopK": {**linear, "encoder.bias": ZERO, "b_dec": ZERO},
            "JumpReluAutoEncoder": {
                "W_enc": Q.T, "W_dec": rows, "b_enc": ZERO, "b_dec": ZERO, "threshold": ZERO,
            },
        }  # fmt: skip
        return own[kind], {"trainer": {"dict_class": kind, "k": 4}}, {}

    return write


def _openai(rows: Tensor) -> Any:
    w = {"pre_bias": ZERO, "latent_bias": ZERO, "encoder.weight": Q, "decoder.weight": rows.T}
    return w, {"activation": "ReLU"}, {}


def _gemma_scope(rows: Tensor) -> Any:
    w = {"W_enc": Q.T, "W_dec": rows, "b_enc": ZERO, "b_dec": ZERO, "threshold": ZERO}
    return w, {}, {}


def _overcomplete(rows: Tensor) -> Any:
    w = {"dictionary._weights": rows, "encoder.weight": Q, "encoder.bias": ZERO}
    return w, {}, {"codes": "relu"}


def _crosscoder(rows: Tensor) -> Any:
    hooks = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    w = {
        "W_E": torch.stack([Q.T, Q.T]), "b_E": torch.zeros(2, D),
        "W_D": torch.stack([rows, rows]), "b_D": torch.zeros(2, D),
    }  # fmt: skip
    return w, {**OPENMOSS, "sae_type": "crosscoder", "hook_points": hooks}, {"at": "0"}


def _sparsify(rows: Tensor) -> Any:
    w = {"encoder.weight": Q, "encoder.bias": ZERO, "W_dec": rows, "b_dec": ZERO}
    return w, {"k": 4, "d_in": D, "num_latents": D}, {}


def _batch_topk(rows: Tensor) -> Any:
    w = {"W_enc": Q.T, "W_dec": rows, "b_enc": ZERO, "b_dec": ZERO}
    return w, {"act_size": D, "dict_size": D, "sae_type": "topk", "top_k": 4}, {}


def _llama_scope(rows: Tensor) -> Any:
    w = {"W_E": Q.T, "b_E": ZERO, "W_D": rows, "b_D": ZERO}
    return w, {**OPENMOSS, **HOOKS}, {}


WAYS: dict[str, tuple[str, Write]] = {
    **{
        f"sae_lens-{arch}": ("sae_lens", _sae_lens(arch, **config))
        for arch, config in (
            ("standard", {}),
            ("topk", {"k": 4}),
            ("abstopk", {"k": 4}),
            ("jumprelu", {}),
            ("gated", {}),
            ("transcoder", {"d_out": D, "apply_b_dec_to_input": False}),
        )
    },
    "sae_lens-temporal": ("sae_lens", _temporal),
    **{
        f"dictionary_learning-{kind}": ("dictionary_learning", _dictionary_learning(kind))
        for kind in ("AutoEncoder", "GatedAutoEncoder", "AutoEncoderTopK", "JumpReluAutoEncoder")
    },
    "openai": ("openai", _openai),
    "gemma_scope": ("gemma_scope", _gemma_scope),
    "overcomplete": ("overcomplete", _overcomplete),
    "crosscoder": ("crosscoder", _crosscoder),
    "sparsify": ("sparsify", _sparsify),
    "batch_topk": ("batch_topk", _batch_topk),
    "llama_scope": ("llama_scope", _llama_scope),
}


def built(way: str, rows: Tensor) -> Any:
    family, write = WAYS[way]
    tensors, config, settings = write(rows)
    given: Content = content(tensors, config, **settings)
    return registry.build(given, family, device="cpu", dtype=None)


@pytest.mark.parametrize("way", WAYS)
def test_a_square_decoder_that_is_turned_is_refused(way: str) -> None:
    with pytest.raises(DictionaryError, match=r"is square, and agrees with the encoder only when"):
        built(way, Q.T.contiguous())


@pytest.mark.parametrize("way", WAYS)
def test_one_that_lies_right_is_read(way: str) -> None:
    torch.testing.assert_close(built(way, Q).decoder_rows, Q)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_agrees_neither_way_is_read(way: str) -> None:
    """An untrained or retrained encoder says nothing of the decoder."""
    other = torch.linalg.qr(random(D, D, seed=5))[0].contiguous()
    torch.testing.assert_close(built(way, other).decoder_rows, other)
