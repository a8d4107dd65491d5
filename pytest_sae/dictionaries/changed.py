"""A dictionary with something else in place of its encoder or of its decoder rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from pytest_sae.dictionaries.base import Contextual, Dictionary, DictionaryInfo, Scaled

if TYPE_CHECKING:
    from torch import Tensor


class ChangedDictionary:
    """A `Dictionary` that is another one in all but what is changed.

    What no latent writes stays as it is, also where that passes the input on (a skip) or is
    predicted from earlier tokens.

    Args:
        of: the dictionary.
        info: what it is called.
        fingerprint: sha256 of everything that it was made from.
        encode: (token, d_in) to latents (token, d_sae), None for its own.
        rows: (d_sae, d_out) in place of its decoder rows, None for its own decoder.
    """

    def __init__(
        self,
        of: Dictionary,
        info: DictionaryInfo,
        fingerprint: str,
        *,
        encode: Callable[[Tensor], Tensor] | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.info = info
        self.fingerprint = fingerprint
        self.d_in, self.d_out, self.d_sae = of.d_in, of.d_out, of.d_sae
        self.device, self.dtype = of.device, of.dtype
        self.decoder_rows = of.decoder_rows if rows is None else rows
        self.encoder_rows, self.const = of.encoder_rows, of.const
        self._encode = encode or of.encode
        self._contribution = of.contribution if rows is None else self._written
        self._all = torch.arange(of.d_sae, device=of.device)
        if isinstance(of, Scaled) and rows is None:
            self.scaled_rows, self.token_scale = of.scaled_rows, of.token_scale
        if isinstance(of, Contextual):
            self.d_site, self.in_context = of.d_site, of.in_context

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""
        return self._encode(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return self.const(x) + self.contribution(x, self.encode(x), self._all)

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): what ablating `latents` removes."""
        return self._contribution(x, z, latents)

    def _written(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        rows = self.decoder_rows
        assert rows is not None
        return z[:, latents].to(rows.dtype) @ rows[latents]
