"""OpenMOSS' Llama Scope and what its library saved later: SAEs and transcoders.

They are trained on activations scaled to a mean norm of √d, or each token to that norm. Mean norms
are folded here, and the thresholds are left where each generation has them: Llama Scope's
(`jump_relu_threshold`) counts in the model's own scale, later ones (`log_jumprelu_threshold`) in
the scale of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats import openmoss
from pytest_sae.dictionaries.formats.normalise import ConstantNorm
from pytest_sae.dictionaries.formats.normalised import Normalised
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import above, top_k
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "llama_scope"
KEYS = openmoss.KEYS
SETTINGS = ("norm_in", "norm_out")
# The library's names since 2026, by those of Llama Scope; the latter are transposed.
_NEWER = {
    "W_E": "encoder.weight",
    "b_E": "encoder.bias",
    "W_D": "decoder.weight",
    "b_D": "decoder.bias",
    "W_E_glu": "encoder_glu.weight",
    "b_E_glu": "encoder_glu.bias",
}


@dataclass(frozen=True)
class _Config:
    """What the configuration says, checked.

    Args:
        enter: what the model's activations are multiplied by on the way in.
        leave: what the output is divided by.
        threshold: in the model's own scale, None where the weights hold thresholds.
        by_norm: whether latents are selected by their size times their decoder row's norm.
        centred: whether the decoder's bias is subtracted from what is read.
        by_token: whether each token is scaled to the norm √d, and back, by itself.
    """

    d_in: int
    activation: str
    k: int | None
    threshold: float | None
    enter: float
    leave: float
    by_norm: bool
    centred: bool
    by_token: bool


def recognise(content: Content) -> bool:
    """Whether the configuration is that of the library, and the weights those of an SAE."""
    names = content.tensors.keys()
    weights = names >= {"encoder.weight", "decoder.weight"} or names >= {"W_E", "W_D"}
    return weights and openmoss.configured(content) and not openmoss.reads_several(content)


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = select(s x W_E + b_E) / s, x̂ = z W_D s / t + b_D / t.

    s = √d / (mean norm of the input), t = √d / (mean norm of the output). A GLU encoder multiplies
    the pre-activation by sigmoid(s x W_glu + b_glu). Latents are selected by their size times the
    norm of their decoder row where sparsity_include_decoder_norm is set; Llama Scope then also
    reports them times that norm, with decoder rows of norm 1. Token-wise, x is x √d / ‖x‖, s and t
    are 1, and x̂ is multiplied by ‖x‖ / √d.

    Raises:
        DictionaryError: anything that `preflight` refuses, and factors that are not given.
    """
    check_settings(content, NAME, SETTINGS)
    config = _read(content)
    w = _named(content)
    _check(content, config, w)
    computing = computing_dtype(w, dtype)
    folded = _folded(config, w, torch.promote_types(computing, torch.float32))
    folded = {name: t.to(device=device, dtype=computing) for name, t in folded.items()}
    options = {"format": NAME, "dtype": str(computing), **asdict(config)}
    reads, writes = content.config.get("hook_point_in"), content.config.get("hook_point_out")
    dictionary = AffineDictionary(
        encode=_encoder(config, folded),
        rows=folded["rows"],
        bias=folded["bias"],
        encoder_rows=folded["W_E"].T,
        info=declared(
            content,
            f"{NAME}.{config.activation}",
            model=content.config.get("model_name"),
            hook_in=reads,
            hook_out=None if writes == reads else writes,
            k=config.k if config.activation == "topk" else None,
        ),
        fingerprint=fingerprint(w, options),
    )
    return Normalised(dictionary, ConstantNorm()) if config.by_token else dictionary


def _read(content: Content) -> _Config:
    config, source = content.config, content.source
    kind = config.get("sae_type", "sae")
    if kind not in ("sae", "transcoder"):
        raise DictionaryError(
            f"{source} is of the type {kind!r}. Expected an SAE, a transcoder, or what has a "
            "family of its own (crosscoder, clt): what mixes tokens has no latents of one token."
        )
    for name in ("use_decoder_bias", "apply_decoder_bias_to_pre_encoder", "use_glu_encoder"):
        preflight.flag(config, name, source)
    preflight.flag(config, "sparsity_include_decoder_norm", source)
    preflight.configured(config, NAME, source)
    d_in = preflight.count(config, "d_model", source)
    activation = openmoss.activation(content, ("relu", "jumprelu", "topk"))
    enter, leave = _factors(content, d_in)
    return _Config(
        d_in=d_in,
        activation=activation,
        k=preflight.count(config, "top_k", source) if activation == "topk" else None,
        threshold=_threshold(content) if activation == "jumprelu" else None,
        enter=enter,
        leave=leave,
        by_norm=config.get("sparsity_include_decoder_norm", True),
        centred=config.get("apply_decoder_bias_to_pre_encoder", False),
        by_token=openmoss.by_token(content),
    )


def _threshold(content: Content) -> float | None:
    if "log_threshold" in openmoss.weights(content):
        return None
    value = content.config.get("jump_relu_threshold")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        preflight.thresholds(torch.tensor([float(value)]), content.source)
        return float(value)
    raise DictionaryError(
        f"{content.source} declares act_fn = 'jumprelu' and jump_relu_threshold = {value!r}, and "
        f"has no {openmoss.LOG_THRESHOLDS[0]}. Expected a number of 0 or more: add it to "
        "hyperparams.json."
    )


def _factors(content: Content, d_in: int) -> tuple[float, float]:
    """√d over the mean norms of input and output."""
    reads = content.config.get("hook_point_in")
    writes = content.config.get("hook_point_out", reads)
    if openmoss.by_token(content) and writes == reads:
        return 1.0, 1.0
    into = openmoss.factor(content, d_in, reads, "norm_in", "in")
    out = into if writes == reads else openmoss.factor(content, d_in, writes, "norm_out", "out")
    return into, out


def _named(content: Content) -> dict[str, Tensor]:
    """The tensors under the library's newer names, in their orientation."""
    tensors = openmoss.weights(content)
    named: dict[str, Tensor] = {}
    for new, old in _NEWER.items():
        if old in tensors:
            stored = tensors.pop(old)
            named[new] = stored.T if stored.dim() == 2 else stored
    return {**named, **tensors}


def _check(content: Content, config: _Config, w: Mapping[str, Tensor]) -> None:
    d_sae = openmoss.latents(content, config.d_in)
    if config.k is not None:
        preflight.count(content.config, "top_k", content.source, most=d_sae)
    wide, latents = (config.d_in, d_sae), (d_sae,)
    expected: dict[str, tuple[int, ...]] = {"W_E": wide, "b_E": latents, "W_D": wide[::-1]}
    if content.config.get("use_decoder_bias", True):
        expected["b_D"] = (config.d_in,)
    if content.config.get("use_glu_encoder"):
        expected |= {"W_E_glu": wide, "b_E_glu": latents}
    if config.activation == "jumprelu" and config.threshold is None:
        expected["log_threshold"] = latents
    preflight.shapes(w, expected, content.source)
    preflight.finite(w, content.source)
    preflight.decoder(w["W_D"], content.source)
    if content.config.get("hook_point_in") == content.config.get("hook_point_out"):
        upright(w["W_E"].T, w["W_D"], "the decoder", content.source)


def _folded(config: _Config, w: Mapping[str, Tensor], wide: torch.dtype) -> dict[str, Tensor]:
    """The weights in the model's own scale.

    `score` is what a latent is multiplied by where latents are selected.
    """
    w = {name: t.to(wide) for name, t in w.items()}
    rows = w["W_D"] * (config.enter / config.leave)
    bias = w.get("b_D", torch.zeros(config.d_in, dtype=wide))
    score = rows.norm(dim=1) if config.by_norm else torch.ones_like(w["b_E"])
    folded = {
        "W_E": w["W_E"],
        "b_E": w["b_E"] / config.enter,
        "rows": rows,
        "bias": bias / config.leave,
        "centre": bias / config.enter,
        "score": score,
    }
    if "W_E_glu" in w:
        folded |= {"W_E_glu": w["W_E_glu"] * config.enter, "b_E_glu": w["b_E_glu"]}
    if config.threshold is not None:
        return _unit_rows(folded, config.threshold)
    if "log_threshold" in w:
        trained = score / (config.enter / config.leave) if config.by_norm else score
        folded["threshold"] = w["log_threshold"].exp() / (trained * config.enter)
    return folded


def _unit_rows(folded: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Latents times `score`, the form in which one threshold serves all of them."""
    score = folded["score"]
    return {
        **folded,
        "W_E": folded["W_E"] * score,
        "b_E": folded["b_E"] * score,
        "rows": folded["rows"] / score.clamp(min=1e-30)[:, None],
        "threshold": torch.full_like(score, threshold),
    }


def _encoder(config: _Config, w: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    weight = w["W_E"]

    def encode(x: Tensor) -> Tensor:
        x = x.to(weight.dtype)
        x = x - w["centre"] if config.centred else x
        before = torch.addmm(w["b_E"], x, weight)
        if "W_E_glu" in w:
            before = before * torch.sigmoid(torch.addmm(w["b_E_glu"], x, w["W_E_glu"]))
        if config.activation == "jumprelu":
            return above(before, w["threshold"])
        if config.activation == "relu":
            return before.relu_()
        return before * (top_k(before.relu() * w["score"], config.k or 1) > 0)

    return encode
