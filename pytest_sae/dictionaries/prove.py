"""The self-check at load time: the shortcut that all erasure metrics rest on is proven."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary, Scaled
from pytest_sae.errors import DictionaryError

_SCALES = (0.3, 1.0, 10.0)  # root mean squares of activations, from embeddings to late layers
_TOKENS = 16
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@torch.inference_mode()
def prove(dictionary: Dictionary) -> None:
    """Check `reconstruct(x) = const(x) + contribution(encode(x), all)`, and that parts add up.

    The inputs are Gaussian tokens of three scales, and tokens along the encoder's own directions
    so that latents fire; errors are relative to the token's largest term.

    Raises:
        DictionaryError: one of the identities does not hold, or an output is not finite.
    """
    x = _inputs(dictionary)
    z = dictionary.encode(x)
    everything = torch.arange(dictionary.d_sae, device=z.device)
    shuffled = everything[_permutation(dictionary.d_sae, z.device)]
    half = dictionary.d_sae // 2
    whole = dictionary.contribution(x, z, everything)
    parts = [dictionary.contribution(x, z, part) for part in (shuffled[:half], shuffled[half:])]
    const, reconstructed = dictionary.const(x), dictionary.reconstruct(x)
    terms = (whole, const, reconstructed, *parts)
    size = torch.stack([term.abs().amax(dim=1) for term in terms]).amax(dim=0)
    _equal(dictionary, "reconstruct(x)", reconstructed, const + whole, size)
    _equal(dictionary, "the contributions of two halves", parts[0] + parts[1], whole, size)
    rows = dictionary.decoder_rows
    if rows is not None:
        _equal(dictionary, "z times decoder_rows", z.to(rows.dtype) @ rows, whole, size)
    elif isinstance(dictionary, Scaled):
        written = dictionary.token_scale(x) * (z.to(dictionary.dtype) @ dictionary.scaled_rows)
        _equal(dictionary, "token_scale times z times scaled_rows", written, whole, size)


def _inputs(dictionary: Dictionary) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(_TOKENS, dictionary.d_in, generator=generator)
    rows = dictionary.encoder_rows
    if rows is not None:
        some = _permutation(dictionary.d_sae, torch.device("cpu"))[:_TOKENS]
        along = torch.nn.functional.normalize(rows[some.to(rows.device)].float().cpu(), dim=1)
        directions = torch.cat([directions, along * math.sqrt(dictionary.d_in)])
    x = torch.cat([scale * directions for scale in _SCALES])
    return x.to(device=dictionary.device, dtype=dictionary.dtype)


def _permutation(size: int, device: torch.device) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(1)).to(device)


def _equal(dictionary: Dictionary, name: str, left: Tensor, right: Tensor, size: Tensor) -> None:
    errors = (left.double() - right.double()).abs().amax(dim=1)
    error = float((errors / size.double().clamp(min=1e-30)).max())
    if not error <= _TOLERANCE[dictionary.dtype]:  # written so that NaN is caught too
        raise DictionaryError(
            f"{dictionary.info.source} ({dictionary.info.family}): {name} differs from const plus "
            f"the contributions of all latents by {error:.2g} of their size. Expected at most "
            f"{_TOLERANCE[dictionary.dtype]:g}: ablating latents would be measured wrongly, so "
            "this dictionary needs a family of its own; report it with its configuration."
        )
