"""Semi-nonnegative matrix factorisation: x ≈ F z with z ≥ 0, from the matrix F alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats.nonnegative import nonnegative_least_squares
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

NAME = "snmf"
KEYS = Keys()  # there is no configuration
_FEATURES, _CODES = "F", "G"


def recognise(content: Content) -> bool:
    """Whether there is F, alone or with the codes G of the tokens that it was fitted to."""
    names = set(content.tensors)
    return names == {_FEATURES} or names == {_FEATURES, _CODES}


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return the dictionary: z(x) = argmin over z ≥ 0 of |x - F z|², x̂ = F z.

    The factorisation itself has no encoder for new tokens; this one is exact, so that its latents
    do not depend on a tolerance or a start.

    Raises:
        DictionaryError: anything that `preflight` refuses, or an F that is transposed.
    """
    check_settings(content, NAME)
    features = _features(content)
    computing = computing_dtype({_FEATURES: features}, dtype)
    return from_rows(
        features.T.to(device=device, dtype=computing).contiguous(),
        declared(content, NAME),
        fingerprint({_FEATURES: features}, {"format": NAME, "dtype": str(computing)}),
    )


def from_rows(rows: Tensor, info: DictionaryInfo, name: str) -> AffineDictionary:
    """Return the dictionary whose latents are the exact non-negative codes over given rows.

    Args:
        rows: (d_sae, d_in).
        info: what it is called and where it belongs.
        name: its fingerprint.
    """
    return AffineDictionary(
        encode=lambda x: nonnegative_least_squares(x.to(rows.dtype), rows),
        rows=rows,
        bias=rows.new_zeros(rows.shape[1]),
        encoder_rows=None,
        info=info,
        fingerprint=name,
    )


def _features(content: Content) -> Tensor:
    source, tensors = content.source, content.tensors
    shape = tuple(tensors[_FEATURES].shape) if _FEATURES in tensors else ()
    if len(shape) != 2:
        raise DictionaryError(
            f"{source} has {f'F of the shape {shape}' if shape else 'no F'}. Expected the matrix F "
            "(d_in, d_sae)."
        )
    d_in, d_sae = shape
    codes = tuple(tensors[_CODES].shape) if _CODES in tensors else (0, d_sae)
    if len(codes) != 2 or codes[1] != d_sae:
        turned = "F is transposed" if codes[1:] == (d_in,) else "they do not belong together"
        raise DictionaryError(
            f"{source}: F has the shape {shape} and G {codes}: {turned}. Expected (d_in, d_sae) "
            "and (token, d_sae)."
        )
    preflight.shapes({_FEATURES: tensors[_FEATURES]}, {_FEATURES: shape}, source)
    preflight.finite({_FEATURES: tensors[_FEATURES]}, source)
    preflight.decoder(tensors[_FEATURES].T, source)
    return tensors[_FEATURES]
