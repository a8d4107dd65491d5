"""Transcoders of transcoder_circuits, from their tensors alone.

Their own files pickle the configuration as an object, which is never opened: what is read is a
state_dict that was saved again, without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared, switch_setting
from pytest_sae.dictionaries.formats.sae_lens_keys import KEYS
from pytest_sae.dictionaries.formats.sae_lens_settings import ARGUMENTS, PROCESSED
from pytest_sae.dictionaries.formats.state_dict import unwrapped
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

__all__ = ["KEYS", "NAME", "SETTINGS", "build", "recognise"]

NAME = "transcoder_circuits"
SETTINGS = PROCESSED
_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "b_dec_out")


def recognise(content: Content) -> bool:
    """Whether the decoder has a bias of its own beside the one of the input."""
    return unwrapped(content).tensors.keys() >= set(_TENSORS)


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return the dictionary: z = relu(x W_enc + b_enc - b_dec W_enc), x̂ = z W_dec + b_dec_out.

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    check_settings(content, NAME, SETTINGS)
    content = unwrapped(content)
    _check(content)
    computing = computing_dtype(content.tensors, dtype)
    wide = torch.promote_types(computing, torch.float32)
    w = {name: t.to(wide) for name, t in content.tensors.items()}
    w["b_enc"] = w["b_enc"] - w["b_dec"] @ w["W_enc"]
    w = {name: t.to(device=device, dtype=computing) for name, t in w.items()}

    def encode(x: Tensor) -> Tensor:
        return torch.addmm(w["b_enc"], x.to(computing), w["W_enc"]).relu_()

    return AffineDictionary(
        encode=encode,
        rows=w["W_dec"],
        bias=w["b_dec_out"],
        encoder_rows=w["W_enc"].T,
        info=_info(content),
        fingerprint=fingerprint(content.tensors, {"format": NAME, "dtype": str(computing)}),
    )


def _info(content: Content) -> DictionaryInfo:
    """Their training calls HookedTransformer.from_pretrained, which processes the weights."""
    config = content.config
    info = declared(
        content,
        NAME,
        model=config.get("model_name"),
        hook_in=config.get("hook_point"),
        hook_out=config.get("out_hook_point"),
        context_size=config.get("context_size"),
    )
    given = {name: switch_setting(content, name) for name in PROCESSED}
    done = {name: value is not False for name, value in given.items()}
    return replace(info, trained_on={ARGUMENTS: done})


def _check(content: Content) -> None:
    w, source = content.tensors, content.source
    d_in, d_sae = preflight.matrix(w, "W_enc", source)
    _, d_out = preflight.matrix(w, "W_dec", source)
    expected: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_out),
        "b_dec": (d_in,),
        "b_dec_out": (d_out,),
    }
    preflight.shapes(w, expected, source)
    preflight.finite(w, source)
    preflight.decoder(w["W_dec"], source)
