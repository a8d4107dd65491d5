"""What to say of a sae_lens SAE whose input normalisation is not folded into its weights."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.formats.sae_lens_checkpoint import SCALER
from pytest_sae.dictionaries.formats.sae_lens_settings import NORM_FACTOR, NORMALISATION, SCALED

_UNIT = 0.02  # by which rows of length 1 differ from it in half precision
_WHITENED = "covariance_whitening"


def explain(content: Content, normalisation: object, known: Sequence[str]) -> str:
    """Return why a normalisation is not computed, and the lines that work.

    Args:
        content: of the SAE.
        normalisation: as it declares it.
        known: the kinds that are computed from each token alone.
    """
    says = f"{content.source} declares {NORMALISATION} = {normalisation!r}"
    kinds = " or ".join(("none", *known))
    if normalisation == SCALED:
        return f"{says}: {_scaled(content)}"
    if normalisation == _WHITENED:
        return (
            f"{says}: it is a checkpoint of before the end of training, when the whitening of its "
            f"input is folded into the weights. Expected {kinds}: take what training saved at its "
            "end, or load the checkpoint as sae_lens' TrainingSAE, call fold_activation_whitening("
            "mean, matrix, inverse_matrix) with the tensors of activation_whitening.safetensors "
            "beside it and save_inference_model(), and pass that directory."
        )
    return (
        f"{says}, which no version of sae_lens computes. Expected {kinds}, or {SCALED} with its "
        f"factor ({NORM_FACTOR}): correct the configuration, or say --sae=sae_lens,{NORMALISATION}="
        f"none:{content.source} where nothing was done."
    )


def _scaled(content: Content) -> str:
    """Of a factor of the whole data set: whether it is folded already, and where to find it."""
    source = content.source
    if SCALER in content.beside:
        begun = f"{SCALER} beside it has no scaling_factor: it is from before that was estimated. "
        return (
            f"{begun}Expected the number: take a later checkpoint, or say --sae=sae_lens,"
            f"{NORM_FACTOR}=F:{source}"
        )
    return (
        "its weights are for activations times a factor, unless that is folded already: the "
        "runners of sae_lens 3 folded it at the end of training and saved this setting all the "
        f"same.{_lengths(content)} Expected one of the two lines, the wrong one of which shows in "
        f"explained_variance: --sae=sae_lens,{NORMALISATION}=none:{source} for what a finished "
        f"training saved, or --sae=sae_lens,{NORM_FACTOR}=F:{source} with F = √d over the mean "
        "norm of the activations (sae_lens' table of releases has it as norm_scaling_factor)."
    )


def _lengths(content: Content) -> str:
    rows = content.tensors.get("W_dec")
    if rows is None or rows.dim() != 2 or not rows.is_floating_point():
        return ""
    mean = float(rows.double().norm(dim=1).mean())
    state = "unfolded" if abs(mean - 1) < _UNIT else "folded"
    return (
        " Training mostly keeps decoder rows of length 1, and folding makes them 1 / F: here they "
        f"have {mean:.3g} on average, as if it were {state}."
    )
