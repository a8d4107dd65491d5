"""Weights without a configuration: the user says what their README says of how they compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sae.dictionaries.content import (
    Content,
    check_settings,
    declared,
    switch_setting,
    whole_setting,
)
from pytest_sae.dictionaries.formats import plain, qwen_scope
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "weights_only"
KEYS = Keys()
SETTINGS = ("activation", "k", "apply_b_dec_to_input")
_ACTIVATIONS = ("relu", "topk")
README = "README.md"
# Encoder, its bias, decoder, its bias. A Linear's weight lies as (out, in), a matrix called W as
# x W needs it.
_NAMES = (
    ("W_enc", "b_enc", "W_dec", "b_dec"),
    ("encoder.weight", "encoder.bias", "decoder.weight", "b_dec"),
    ("encoder.weight", "encoder.bias", "W_dec", "b_dec"),
    *(
        (f"{reads}.weight", f"{reads}.bias", f"{writes}.weight", f"{writes}.bias")
        for reads, writes in (("encoder", "decoder"), ("encoder_linear", "decoder_linear"))
    ),
)


def recognise(content: Content) -> bool:
    """Whether there is no configuration, and the tensors are one encoder and one decoder.

    Those with `decoder.bias` are dictionary_learning's too, which always computes the same; their
    family has to be forced here.
    """
    others = content.config or "decoder.bias" in content.tensors or qwen_scope.recognise(content)
    return not others and _named(content) is not None


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = select((x - centre) W_enc + b_enc), x̂ = z W_dec + b_dec, as the settings say.

    `activation` is relu, or topk with `k`; `apply_b_dec_to_input` says whether b_dec is subtracted
    from x first, and may be left out where b_dec is zero.

    Raises:
        DictionaryError: settings that are missing, or anything that `preflight` refuses.
    """
    check_settings(content, NAME, SETTINGS)
    names = _named(content)
    if not names:
        known = "; ".join(", ".join(each) for each in _NAMES)
        raise DictionaryError(
            f"{content.source} has the tensors {', '.join(sorted(content.tensors)) or 'none'}. "
            f"Expected an encoder, a decoder and their biases by one of these names: {known}."
        )
    encoder, latent, decoder, output = (content.tensors[name] for name in names)
    activation, k, centred = _said(content, output, len(latent))
    info = declared(content, f"{NAME}.{activation}", k=k, suggestion=_suggestion(content))
    weights = plain.Plain(
        reads=_upright(encoder, (len(latent), len(output)), names[0] != "W_enc"),
        writes=_upright(decoder, (len(latent), len(output)), names[2] == "W_dec"),
        latent=latent,
        output=output,
        centred=centred,
        k=k,
    )
    return plain.build(NAME, weights, info, device=device, dtype=dtype)


def _named(content: Content) -> tuple[str, str, str, str] | None:
    return next((names for names in _NAMES if content.tensors.keys() == set(names)), None)


def _upright(stored: Tensor, shape: tuple[int, int], as_stored: bool) -> Tensor:
    """A matrix as (d_sae, d_in); a square one as its name has it."""
    square = shape[0] == shape[1]
    return stored if (as_stored if square else tuple(stored.shape) == shape) else stored.T


def _said(content: Content, output: Tensor, d_sae: int) -> tuple[str, int | None, bool]:
    """Activation, k, and whether b_dec is subtracted from the input."""
    activation = content.settings.get("activation", "")
    k = whole_setting(content, "k", most=d_sae)
    centred = switch_setting(content, "apply_b_dec_to_input")
    needed = {"activation": activation in _ACTIVATIONS, "k": (activation == "topk") == bool(k)}
    needed["apply_b_dec_to_input"] = centred is not None or not bool(output.any())
    missing = [name for name, known in needed.items() if not known]
    if missing:
        raise DictionaryError(_asked(content, missing))
    return activation, k, bool(centred)


def _asked(content: Content, missing: list[str]) -> str:
    said = {**_suggested(content), **content.settings}
    example = {
        "activation": "topk|relu",
        "k": "32",
        "apply_b_dec_to_input": "true|false",
        "model": "OWNER/NAME",
        "site": "blocks.N.hook_resid_post",
    }
    if said.get("activation") == "relu":
        del example["k"]
        said.pop("k", "")
    line = ",".join(f"{name}={said.get(name, each)}" for name, each in example.items())
    names = ", ".join(sorted(content.tensors))
    return (
        f"{content.source} has weights alone ({names}), and no configuration beside them says how "
        f"they compute: {', '.join(missing)} is missing or does not fit. Expected what its README "
        f"or its authors' code says (k with topk alone): --sae={NAME},{line}:{content.source}"
    )


def _suggested(content: Content) -> dict[str, str]:
    """What the front matter of a README beside the weights says of the model."""
    base = content.beside.get(README, {}).get("base_model")
    base = base[0] if isinstance(base, list) and len(base) == 1 else base
    return {"model": base} if isinstance(base, str) and base else {}


def _suggestion(content: Content) -> str:
    return ",".join(f"{name}={value}" for name, value in _suggested(content).items())
