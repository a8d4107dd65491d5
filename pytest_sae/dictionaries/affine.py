"""A dictionary from its parts: any encoder, a decoder x̂ = bias + z · rows, perhaps a skip."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.base import DictionaryInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class AffineDictionary:
    """A `Dictionary` with an affine decoder, for controls, notebooks and tests.

    Args:
        encode: (token, d_in) to latents (token, d_sae).
        rows: (d_sae, d_out), what one unit of each latent writes.
        bias: (d_out,), the reconstruction without any latent.
        encoder_rows: (d_sae, d_in), the direction each latent reads; None where there is no such
            thing, and then it reads what it writes.
        info: what it is called and where it belongs.
        fingerprint: sha256 of everything that it was made from.
        d_in: width of what it reads, where the encoder's rows do not say it.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        rows: Tensor,
        bias: Tensor,
        encoder_rows: Tensor | None,
        info: DictionaryInfo,
        fingerprint: str,
        d_in: int | None = None,
    ) -> None:
        self.info = info
        self.fingerprint = fingerprint
        self.d_sae, self.d_out = rows.shape
        self.d_in = d_in or (self.d_out if encoder_rows is None else encoder_rows.shape[1])
        self._encode = encode
        self._rows = rows
        self._bias = bias
        self._encoder_rows = encoder_rows

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._rows.device

    @property
    def dtype(self) -> torch.dtype:
        """The type it encodes in."""
        return self._rows.dtype

    @property
    def decoder_rows(self) -> Tensor:
        """(d_sae, d_out): what one unit of each latent writes."""
        return self._rows

    @property
    def encoder_rows(self) -> Tensor | None:
        """(d_sae, d_in): the direction each latent reads, None where there is no such thing."""
        return self._encoder_rows

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""
        return self._encode(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return self._bias + self.encode(x) @ self._rows

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): what ablating `latents` removes; the same for every x."""
        return z[:, latents].to(self.dtype) @ self._rows[latents]

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): the bias, once per token."""
        return self._bias.expand(len(x), -1)


class SkipDictionary(AffineDictionary):
    """A dictionary with a linear part x W_skipᵀ beside its latents.

    Args:
        skip: (d_out, d_in), None where there is none; the others are those of AffineDictionary.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        rows: Tensor,
        bias: Tensor,
        encoder_rows: Tensor,
        info: DictionaryInfo,
        fingerprint: str,
        skip: Tensor | None,
    ) -> None:
        super().__init__(encode, rows, bias, encoder_rows, info, fingerprint)
        self._skip = skip

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return super().reconstruct(x) + self._skipped(x)

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): the bias and the linear part, which no latent writes."""
        return super().const(x) + self._skipped(x)

    def _skipped(self, x: Tensor) -> Tensor | float:
        return 0.0 if self._skip is None else x.to(self.dtype) @ self._skip.T
