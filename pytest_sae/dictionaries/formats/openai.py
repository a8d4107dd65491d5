"""OpenAI's sparse_autoencoder: one state dict, a TopK that works on layer-normalised tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared, whole_setting
from pytest_sae.dictionaries.formats.normalise import LayerNorm
from pytest_sae.dictionaries.formats.normalised import Normalised
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import top_k
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "openai"
# All that stands among its tensors; the rest is known from the code that trained it.
KEYS = Keys(used=("activation",), inside={"activation_state_dict": Keys(used=("k", "postact_fn"))})
_NEEDED = ("pre_bias", "latent_bias", "encoder.weight")
# Kept for training alone.
_STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
_AFTER = ("ReLU", "Identity")


def recognise(content: Content) -> bool:
    """Whether the tensors have the names of its Autoencoder."""
    return content.tensors.keys() >= set(_NEEDED)


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = act((n(x) - pre_bias) W_encᵀ + latent_bias), x̂ = (z W_decᵀ + pre_bias) std + mean.

    n is the layer norm, used exactly where the activation is TopK (as its own loader has it), so
    what a latent writes scales with the token's std. A decoder that is not stored is tied.

    Raises:
        DictionaryError: anything that `preflight` refuses, or an unknown activation.
    """
    check_settings(content, NAME, ("k",))
    stored = _weights(content)
    _check(stored, content.source)
    activation, k, after = _activation(content, len(stored["latent_bias"]))
    computing = computing_dtype(stored, dtype)
    w = {name: t.to(device=device, dtype=computing) for name, t in stored.items()}
    options = {"activation": activation, "k": k, "after": after}
    dictionary = AffineDictionary(
        encode=_encoder(w, k, after),
        rows=w["decoder.weight"].T,
        bias=w["pre_bias"],
        encoder_rows=w["encoder.weight"],
        info=declared(content, f"{NAME}.{activation.lower()}", k=k),
        fingerprint=fingerprint(stored, {"format": NAME, "dtype": str(computing), **options}),
    )
    return dictionary if k is None else Normalised(dictionary, LayerNorm())


def _weights(content: Content) -> dict[str, Tensor]:
    """What it computes with: without statistics, and with a decoder where that is tied."""
    w = {name: t for name, t in content.tensors.items() if name not in _STATISTICS}
    twin = w.pop("decoder.linear.weight", None)
    preflight.matrix(w, "encoder.weight", content.source)
    encoder = w["encoder.weight"]
    if twin is not None and not (twin.shape == encoder.shape and bool((twin == encoder).all())):
        raise DictionaryError(
            f"{content.source}: decoder.linear.weight is tied to encoder.weight and differs from "
            "it. Expected the same numbers: save it again."
        )
    w.setdefault("decoder.weight", encoder.T)
    return w


def _check(w: Mapping[str, Tensor], source: str) -> None:
    d_sae, d_in = w["encoder.weight"].shape
    shapes = {
        "pre_bias": (d_in,),
        "latent_bias": (d_sae,),
        "encoder.weight": (d_sae, d_in),
        "decoder.weight": (d_in, d_sae),
    }
    preflight.shapes(w, shapes, source)
    preflight.finite(w, source)
    preflight.decoder(w["decoder.weight"].T, source)
    upright(w["encoder.weight"], w["decoder.weight"].T, "decoder.weight", source)


def _activation(content: Content, d_sae: int) -> tuple[str, int | None, str]:
    """Name of the activation, k where that is TopK, and what follows the selection."""
    name = content.config.get("activation", "ReLU")
    if name in _AFTER and "k" not in content.settings:
        return name, None, name
    if name not in ("TopK", *_AFTER):
        raise DictionaryError(
            f"{content.source} declares the activation {name!r}. Expected TopK, "
            f"{' or '.join(_AFTER)}: its library knows no other."
        )
    if name != "TopK":
        raise DictionaryError(
            f"{content.source} is given a k, and has the activation {name}. Expected TopK."
        )
    state = content.config.get("activation_state_dict")
    state = state if isinstance(state, Mapping) else {}
    after = state.get("postact_fn", "ReLU")
    if after not in _AFTER:
        raise DictionaryError(
            f"{content.source} declares postact_fn = {after!r}. Expected {' or '.join(_AFTER)}."
        )
    given = whole_setting(content, "k", most=d_sae)
    stored = preflight.count(state, "k", content.source, most=d_sae) if "k" in state else given
    if stored is None or given not in (None, stored):
        raise DictionaryError(
            f"{content.source} stores k = {state.get('k')} and is given k = {given}. Expected "
            f"one number from 1 to {d_sae}: say --sae={NAME},k=...:{content.source} only where "
            "the file says nothing."
        )
    return name, stored, after


def _encoder(w: Mapping[str, Tensor], k: int | None, after: str) -> Callable[[Tensor], Tensor]:
    def encode(x: Tensor) -> Tensor:
        x = x.to(w["pre_bias"].dtype) - w["pre_bias"]
        before = linear(x, w["encoder.weight"], w["latent_bias"])
        kept = before if k is None else top_k(before, k)
        return kept.relu() if after == "ReLU" else kept

    return encode
