"""A dictionary of normalised tokens: x̂ = inner(n(x)) · scale(x) + shift(x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats.normalise import Normalisation

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Normalised:
    """A `Dictionary` whose tokens are normalised one by one before it, and back after it.

    Args:
        inner: the dictionary of normalised tokens, with fixed decoder rows.
        normalisation: what is done to each token, and undone.
    """

    def __init__(self, inner: Dictionary, normalisation: Normalisation) -> None:
        self.info = inner.info
        self.fingerprint = inner.fingerprint
        self.d_in, self.d_out, self.d_sae = inner.d_in, inner.d_out, inner.d_sae
        assert inner.decoder_rows is not None
        self._rows = inner.decoder_rows
        self._inner = inner
        self._normalisation = normalisation

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._inner.device

    @property
    def dtype(self) -> torch.dtype:
        """The type it encodes in."""
        return self._inner.dtype

    @property
    def decoder_rows(self) -> None:
        """None: what a latent writes varies with the token's scale."""
        return

    @property
    def scaled_rows(self) -> Tensor:
        """(d_sae, d_out): what one unit of each latent writes of a normalised token."""
        return self._rows

    def token_scale(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, 1): what was divided by."""
        return self._normalisation.scale(x.to(self.dtype))

    @property
    def encoder_rows(self) -> Tensor | None:
        """(d_sae, d_in): the direction each latent reads."""
        return self._inner.encoder_rows

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""
        return self._inner.encode(self._enter(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return self._leave(x, self._inner.reconstruct(self._enter(x)))

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): what the inner one says, times the token's scale."""
        written = self._inner.contribution(self._enter(x), z, latents)
        return written * self.token_scale(x)

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): the inner one's, brought back to the token's scale and mean."""
        return self._leave(x, self._inner.const(self._enter(x)))

    def _enter(self, x: Tensor) -> Tensor:
        return self._normalisation.enter(x.to(self.dtype))

    def _leave(self, x: Tensor, y: Tensor) -> Tensor:
        x = x.to(self.dtype)
        return y * self._normalisation.scale(x) + self._normalisation.shift(x)
