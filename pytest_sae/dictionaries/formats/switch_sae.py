"""Switch SAEs: a router sends each token to one expert, whose latents alone can be active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import (
    Content,
    check_settings,
    declared,
    switch_setting,
    whole_setting,
)
from pytest_sae.dictionaries.formats.dictionary_learning import belonging
from pytest_sae.dictionaries.formats.dictionary_learning_keys import BUFFER, TRAINER
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import top_k
from pytest_sae.dictionaries.formats.state_dict import unwrapped
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

NAME = "switch_sae"
SETTINGS = ("k", "experts", "heaviside")
# A trainer of dictionary_learning's, whose keys may stand alone.
_TRAINER = TRAINER.together(Keys(used=("experts", "heaviside"), harmless=("lb_alpha",)))
KEYS = _TRAINER.together(Keys(inside={"trainer": _TRAINER, "buffer": BUFFER}))


def recognise(content: Content) -> bool:
    """Whether there is a router beside encoder and decoder."""
    names = unwrapped(content).tensors.keys()
    return names >= {"encoder.weight", "router.weight", "decoder"}


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return the dictionary: z = topk(relu((x - b_dec) W_encᵀ) · p of the latent's expert).

    p is softmax((x - b_router) W_routerᵀ) for the token's best expert, or 1 with `heaviside`, and 0
    for all other experts; x̂ = z decoder + b_dec. The trained class applies the top-k in forward
    alone, which is what its reconstruction is made of, so it belongs to the encoding here.

    Raises:
        DictionaryError: anything that `preflight` refuses, and k, experts or heaviside missing.
    """
    check_settings(content, NAME, SETTINGS)
    content = unwrapped(content)
    trainer = content.config.get("trainer", content.config)
    trainer = trainer if isinstance(trainer, Mapping) else {}
    k, experts, heaviside = _options(content, trainer)
    _check(content, k, experts)
    computing = computing_dtype(content.tensors, dtype)
    w = {name: t.to(device=device, dtype=computing) for name, t in content.tensors.items()}
    options = {"format": NAME, "k": k, "heaviside": heaviside, "dtype": str(computing)}
    return AffineDictionary(
        encode=_encoder(w, k, heaviside),
        rows=w["decoder"],
        bias=w["b_dec"],
        encoder_rows=w["encoder.weight"],
        info=_info(content, trainer, k),
        fingerprint=fingerprint(content.tensors, options),
    )


def _options(content: Content, trainer: Mapping[str, Any]) -> tuple[int, int, bool]:
    k = whole_setting(content, "k") or trainer.get("k")
    experts = whole_setting(content, "experts") or trainer.get("experts")
    heaviside = switch_setting(content, "heaviside")
    heaviside = trainer.get("heaviside") if heaviside is None else heaviside
    given = {"k": k, "experts": experts, "heaviside": heaviside}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise DictionaryError(
            f"{content.source} is a Switch SAE, whose file does not say {' and '.join(missing)}. "
            "Expected all of k, experts and heaviside as they were in training: "
            f"--sae={NAME},k=64,experts=8,heaviside=false:{content.source}"
        )
    preflight.flag(given, "heaviside", content.source)
    experts = preflight.count(given, "experts", content.source)
    return preflight.count(given, "k", content.source), experts, bool(heaviside)


def _info(content: Content, trainer: Mapping[str, Any], k: int) -> DictionaryInfo:
    reads, writes = belonging(content, _site(trainer))
    model = trainer.get("lm_name")
    return declared(content, NAME, model=model, hook_in=reads, hook_out=writes, k=k)


def _site(trainer: Mapping[str, Any]) -> str | None:
    """The module that its trainer hooked; the layer alone means the residual stream after it."""
    name, layer = trainer.get("submodule_name"), trainer.get("layer")
    if isinstance(name, str) and name:
        return name
    return f"blocks.{layer}.hook_resid_post" if isinstance(layer, int) else None


def _check(content: Content, k: int, experts: int) -> None:
    d_sae, d_in = preflight.matrix(content.tensors, "encoder.weight", content.source)
    routes, _ = preflight.matrix(content.tensors, "router.weight", content.source)
    if routes != experts or d_sae % experts:
        raise DictionaryError(
            f"{content.source} is given experts = {experts}, and has a router to {routes} and "
            f"{d_sae} latents. Expected experts={routes}, a divisor of the number of latents."
        )
    preflight.count({"k": k}, "k", content.source, most=d_sae)
    expected = {
        "encoder.weight": (d_sae, d_in),
        "router.weight": (experts, d_in),
        "decoder": (d_sae, d_in),
        "b_dec": (d_in,),
        "b_router": (d_in,),
    }
    preflight.shapes(content.tensors, expected, content.source)
    preflight.finite(content.tensors, content.source)
    preflight.decoder(content.tensors["decoder"], content.source)
    upright(
        content.tensors["encoder.weight"], content.tensors["decoder"], "decoder", content.source
    )


def _encoder(w: Mapping[str, Tensor], k: int, heaviside: bool) -> Callable[[Tensor], Tensor]:
    weight = w["encoder.weight"]
    experts = len(w["router.weight"])
    size = len(weight) // experts

    def encode(x: Tensor) -> Tensor:
        x = x.to(weight.dtype)
        routed = linear(x - w["b_router"], w["router.weight"]).softmax(dim=-1)
        chance, expert = routed.max(dim=-1)
        z = x.new_zeros(len(x), len(weight))
        # Only the expert's own latents can be active, so that only they are computed.
        for each in expert.unique().tolist():
            tokens = (expert == each).nonzero()[:, 0]
            part = slice(each * size, (each + 1) * size)
            before = linear(x[tokens] - w["b_dec"], weight[part]).relu_()
            if not heaviside:
                before *= chance[tokens, None]
            z[tokens, part] = top_k(before, min(k, size))
        return z

    return encode
