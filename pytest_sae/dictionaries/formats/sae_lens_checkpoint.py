"""What sae_lens' checkpoints have and finished SAEs have not, brought to the form of the latter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.formats.sae_lens_settings import NORM_FACTOR, NORMALISATION, SCALED
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

#: What training writes beside a checkpoint: the factor that finishing folds into the weights.
SCALER = "activation_scaler.json"
#: Architectures that finishing saves as JumpReLU.
BATCH_TOP_K = ("batchtopk", "matryoshka_batchtopk")
_THRESHOLD = "topk_threshold"


def finished(content: Content) -> Content:
    """Return a checkpoint as the SAE that sae_lens would have saved of it.

    The factor of `activation_scaler.json` becomes the setting `norm_factor`. BatchTopK becomes the
    JumpReLU of its running threshold, and where its latents compete by the norms of what they
    write these are folded into the weights.

    Args:
        content: of a checkpoint; any other is returned as it is.

    Raises:
        DictionaryError: a factor that is none or that the configuration denies, or a threshold
            that was never estimated.
    """
    content = _with_factor(content)
    if content.config.get("architecture") in BATCH_TOP_K and _THRESHOLD in content.tensors:
        return _with_threshold(content)
    return content


def _with_factor(content: Content) -> Content:
    scaler = content.beside.get(SCALER, {})
    factor = scaler.get("scaling_factor")
    if factor is None or NORM_FACTOR in content.settings:
        return content
    number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
    if not number or not 0 < factor < math.inf:
        raise DictionaryError(
            f"{content.source}: {SCALER} says scaling_factor = {factor!r}. Expected the positive "
            "number that activations were multiplied by in training, or null: copy the file of "
            "the checkpoint again."
        )
    declared = content.settings.get(NORMALISATION, content.config.get(NORMALISATION))
    if declared != SCALED:
        raise DictionaryError(
            f"{content.source} declares {NORMALISATION} = {declared!r}, and {SCALER} beside it "
            f"says scaling_factor = {factor:g}. Expected {SCALED} or no factor: remove the file if "
            f"the factor is folded into the weights already, else say "
            f"--sae=sae_lens,{NORMALISATION}={SCALED}:{content.source}"
        )
    return replace(content, settings={**content.settings, NORM_FACTOR: repr(float(factor))})


def _with_threshold(content: Content) -> Content:
    tensors = dict(content.tensors)
    threshold = tensors.pop(_THRESHOLD).double()
    if threshold.numel() != 1 or not 0 < threshold.item() < math.inf:
        raise DictionaryError(
            f"{content.source} has {_THRESHOLD} = {threshold.flatten()[:4].tolist()}. Expected a "
            "number above 0: the checkpoint is from before the threshold was estimated; take a "
            "later one."
        )
    if content.config.get("rescale_acts_by_decoder_norm", True):
        factor = float(content.settings.get(NORM_FACTOR, 1))
        threshold = threshold / factor
        tensors = _by_norm(tensors, factor)
    if "b_enc" in tensors:
        tensors["threshold"] = tensors["b_enc"] * 0 + threshold.to(tensors["b_enc"].dtype)
    return replace(content, config=_inference(content.config), tensors=tensors)


def _by_norm(tensors: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Weights with decoder rows of length 1 once the factor is folded as well."""
    if not {"W_enc", "b_enc", "W_dec"} <= tensors.keys() or tensors["W_dec"].dim() != 2:
        return tensors  # which of them is missing is said with the shapes
    norms = tensors["W_dec"].norm(dim=1).clamp(min=1e-8) / factor
    return {
        **tensors,
        "W_enc": tensors["W_enc"] * norms,
        "b_enc": tensors["b_enc"] * norms,
        "W_dec": tensors["W_dec"] / norms[:, None],
    }


def _inference(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that finishing writes, with what training was in its metadata."""
    metadata = config.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    details = metadata.get("training_architecture_details")
    details = details if isinstance(details, Mapping) else {}
    kept = {name: config[name] for name in ("k", "matryoshka_widths") if name in config}
    named = {
        "training_architecture": config["architecture"],
        "training_architecture_details": {**details, **kept},
    }
    left = {n: value for n, value in config.items() if n != "rescale_acts_by_decoder_norm"}
    return {**left, "architecture": "jumprelu", "metadata": {**metadata, **named}}
