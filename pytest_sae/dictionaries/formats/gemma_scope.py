"""Gemma Scope 1 and 2: JumpReLU SAEs and transcoders, all that is known read from their arrays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import SkipDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.sae_lens_settings import NORM_FACTOR, norm_factor
from pytest_sae.dictionaries.formats.selection import above
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import (
    computing_dtype,
    fingerprint,
    folded,
    without_unit_scale,
)
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

NAME = "gemma_scope"
SETTINGS = (NORM_FACTOR,)
KEYS = Keys(
    used=("model_name", "hf_hook_point_in", "hf_hook_point_out"),
    # The arrays say all of these.
    harmless=("architecture", "width", "l0", "affine_connection", "type"),
)
_NEEDED = frozenset({"w_enc", "w_dec", "b_enc", "b_dec", "threshold"})
_OPTIONAL = frozenset({"affine_skip_connection", "scaling_factor"})
# Keys of other formats with the same arrays.
_OTHERS = frozenset({"d_sae", "d_in", "metadata", "trainer", "d_model", "act_size"})
_SITES = {
    "res": "hook_resid_post",
    "resid_post": "hook_resid_post",
    "att": "attn.hook_z",
    "attn_out": "attn.hook_z",
    "mlp": "hook_mlp_out",
    "mlp_out": "hook_mlp_out",
}


def recognise(content: Content) -> bool:
    """Whether the arrays are those of a JumpReLU dictionary, and no other format declares them."""
    names = {name.lower() for name in content.tensors}
    known = _NEEDED <= names <= _NEEDED | _OPTIONAL and len(names) == len(content.tensors)
    return known and not _OTHERS & content.config.keys()


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = relu(p) · [p > threshold], p = x W_enc + b_enc, x̂ = z W_dec + b_dec (+ x A).

    A is the affine connection of some transcoders of the second release; it belongs to no latent.
    The setting `norm_factor` is f where it was trained on f x: the dictionaries of embeddings were
    on those that the model has not multiplied by √d yet, and then x̂ is over f, its bias too.

    Raises:
        DictionaryError: anything that `preflight` refuses, or a factor of a transcoder.
    """
    check_settings(content, NAME, SETTINGS)
    stored = {_key(name): tensor for name, tensor in content.tensors.items()}
    w = without_unit_scale(stored)
    _check(w, content.source)
    factor = _factor(content, w)
    computing = computing_dtype(w, dtype)
    on_device = {
        name: t.to(device=device, dtype=computing) for name, t in folded(w, factor).items()
    }
    scaled = {} if factor is None else {NORM_FACTOR: factor}
    skip = on_device.get("affine_skip_connection")
    return SkipDictionary(
        encode=lambda x: _encode(on_device, x.to(computing)),
        rows=on_device["W_dec"],
        bias=on_device["b_dec"],
        encoder_rows=on_device["W_enc"].T,
        info=_info(content),
        fingerprint=fingerprint(w, {"format": NAME, "dtype": str(computing), **scaled}),
        skip=None if skip is None else skip.T,
    )


def _key(name: str) -> str:
    return f"W_{name[2:].lower()}" if name.lower() in ("w_enc", "w_dec") else name


def _factor(content: Content, w: dict[str, Tensor]) -> float | None:
    """What its input was multiplied by in training; that of another site's output is not known."""
    factor = norm_factor(content)
    other = "affine_skip_connection" in w or len(w["b_dec"]) != len(w["W_enc"])
    if factor is not None and (other or "site_out" in content.settings):
        raise DictionaryError(
            f"{content.source} is given {NORM_FACTOR}={factor:g}, and writes another site than it "
            "reads, whose factor nothing says. Expected none: leave it out."
        )
    return factor


def _encode(w: dict[str, Tensor], x: Tensor) -> Tensor:
    before = x @ w["W_enc"] + w["b_enc"]
    return above(before, w["threshold"]).relu()


def _check(w: dict[str, Tensor], source: str) -> None:
    d_in, d_sae = preflight.matrix(w, "W_enc", source)
    _, d_out = preflight.matrix(w, "W_dec", source)
    shapes = {
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_out),
        "b_enc": (d_sae,),
        "b_dec": (d_out,),
        "threshold": (d_sae,),
    }
    if "affine_skip_connection" in w:
        shapes["affine_skip_connection"] = (d_in, d_out)
    preflight.shapes(w, shapes, source)
    preflight.finite(w, source)
    preflight.decoder(w["W_dec"], source)
    if d_in == d_out:
        upright(w["W_enc"].T, w["W_dec"], "W_dec", source)
    preflight.thresholds(w["threshold"], source)


def _info(content: Content) -> DictionaryInfo:
    config = content.config
    return declared(
        content,
        f"{NAME}.jumprelu",
        model=_model(config.get("model_name")),
        hook_in=_hook(config.get("hf_hook_point_in")),
        hook_out=_hook(config.get("hf_hook_point_out")),
        suggestion=_suggested(content.weights.resolve().as_posix()),
    )


def _model(name: object) -> object:
    """The Hugging Face name; the configurations leave out its owner and say v3 for 3."""
    if not isinstance(name, str) or "/" in name or not name:
        return name
    name = name.replace("-v3", "-3")
    return "google/" + (name.replace("-pt", "") if "270m" in name else name)


def _hook(point: object) -> object:
    """`model.layers.5.output` is the module's path, `...self_attn.o_proj.input` hook_z."""
    if not isinstance(point, str):
        return point
    heads = re.fullmatch(r"model\.layers\.(\d+)\.self_attn\.o_proj\.input", point)
    return f"blocks.{heads[1]}.attn.hook_z" if heads else point.removesuffix(".output")


def _suggested(path: str) -> str:
    """Settings that the names of directories suggest, such as gemma-scope-2b-pt-res/layer_12."""
    layer = re.search(r"layer_(\d+)", path)
    release = re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|att|mlp)\b", path)
    kind = release[3] if release else next((k for k in _SITES if f"/{k}/" in path), None)
    found = []
    if release:
        found.append(f"model=google/gemma-2-{release[1]}" + ("-it" if release[2] == "it" else ""))
    if layer:
        found.append(f"site=blocks.{layer[1]}.{_SITES[kind] if kind else 'hook_resid_post'}")
    return ",".join(found)
