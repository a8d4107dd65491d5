"""How far half precision moves activations and latents from what float32 gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import batches

Encode = Callable[[Tensor], Tensor]

_PIECE = 64  # tokens encoded at once
_CONTEXT = 64


@dataclass(frozen=True)
class Precision:
    """The largest differences between a half-precision run and a float32 run.

    Args:
        dtype: of the half-precision run, such as `bfloat16`.
        tokens: how many valid tokens were compared.
        activation: largest |x16 - x32| of any entry.
        relative: largest |x16 - x32| / |x32| of any token, Euclidean norms.
        latent: largest |z16 - z32| of any entry, None without a dictionary.
        switched: share of the latents that are active in one of the two runs but not in both,
            of those active in either; None without a dictionary.
    """

    dtype: str
    tokens: int
    activation: float
    relative: float
    latent: float | None = None
    switched: float | None = None


@torch.no_grad()
def compare(
    half: LanguageModel,
    full: LanguageModel,
    site: Site,
    texts: Sequence[str],
    encode: tuple[Encode, Encode] | None = None,
    prepend_bos: bool = True,
) -> Precision:
    """Return what half precision changes at a site, on the valid tokens of a few texts.

    Args:
        half: in bfloat16 or float16.
        full: the same checkpoint in float32.
        site: of both.
        texts: a few are enough.
        encode: the dictionary's encode in half precision and in float32, (token, d) to
            (token, d_sae), each given the activations of its own run.
        prepend_bos: as in the run.
    """
    seen = [activations(model, site, texts, prepend_bos) for model in (half, full)]
    return differences(seen[0], seen[1], encode)


@torch.no_grad()
def differences(half: Tensor, full: Tensor, encode: tuple[Encode, Encode] | None) -> Precision:
    """Return what half precision changes.

    Args:
        half: (token, d) activations of the run in half precision.
        full: (token, d) activations of the same tokens in float32.
        encode: what makes latents (token, d_sae) of each of the two, None without a dictionary.
    """
    low, high = (x.to("cpu", torch.float64) for x in (half, full))
    apart = low - high
    relative = apart.norm(dim=1) / high.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    latent = switched = None
    if encode is not None:
        latent, switched = _latents(encode, half, full)
    return Precision(
        str(half.dtype).removeprefix("torch."),
        len(low),
        float(apart.abs().max()),
        float(relative.max()),
        latent,
        switched,
    )


def activations(
    model: LanguageModel, site: Site, texts: Sequence[str], prepend_bos: bool
) -> Tensor:
    """Return the activations of the texts' valid tokens at a site.

    Args:
        model: is run up to the site.
        site: what is read.
        texts: any length, cut to 64 tokens.
        prepend_bos: whether every text begins with BOS.

    Returns:
        (token, d).
    """
    parts = batches(texts, model.tokenizer, _CONTEXT, prepend_bos)
    return torch.cat([model.capture(part, [site])[site][part.valid] for part in parts])


def _latents(encode: tuple[Encode, Encode], half: Tensor, full: Tensor) -> tuple[float, float]:
    """The largest difference, and the share of active latents that are active in one alone."""
    largest, either, one = 0.0, 0, 0
    # Few tokens at a time: dense latents of all of them may be more than memory has room for.
    for pair in zip(half.split(_PIECE), full.split(_PIECE), strict=True):
        codes = (each(x) for each, x in zip(encode, pair, strict=True))
        low, high = (z.to("cpu", torch.float64) for z in codes)
        largest = max(largest, float((low - high).abs().max()))
        either += int(((low != 0) | (high != 0)).sum())
        one += int(((low != 0) ^ (high != 0)).sum())
    return largest, one / either if either else 0.0
