"""Dictionaries that say the same in other words: no metric may tell them from the original.

renumbered(dictionary, order)      # latents in another order
rescaled(dictionary, factors)      # latents in other units, decoder rows inversely
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo


class _Reworded:
    """A dictionary behind a change of what its latents are called, or of their units.

    Args:
        of: the dictionary.
        forth: its latents (token, d_sae) to those of the equivalent one.
        back: the other way round.
        originals: long indices of the equivalent's latents to those of the original.
        units: (d_sae,), one unit of an equivalent latent, in units of the original's.
        name: of the change, for the fingerprint.
    """

    def __init__(
        self,
        of: Dictionary,
        forth: Callable[[Tensor], Tensor],
        back: Callable[[Tensor], Tensor],
        originals: Callable[[Tensor], Tensor],
        units: Tensor,
        name: str,
    ) -> None:
        self.info: DictionaryInfo = of.info
        self.d_in, self.d_out, self.d_sae = of.d_in, of.d_out, of.d_sae
        self.fingerprint = hashlib.sha256(f"{name} of {of.fingerprint}".encode()).hexdigest()
        self._of, self._forth, self._back, self._originals = of, forth, back, originals
        self._units = units

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._of.device

    @property
    def dtype(self) -> torch.dtype:
        """The type it encodes in."""
        return self._of.dtype

    @property
    def decoder_rows(self) -> Tensor | None:
        """(d_sae, d_out), None if not affine."""
        rows = self._of.decoder_rows
        return None if rows is None else self._own(rows) * self._units[:, None].to(rows)

    @property
    def encoder_rows(self) -> Tensor | None:
        """(d_sae, d_in), None where there is no such thing."""
        rows = self._of.encoder_rows
        return None if rows is None else self._own(rows) / self._units[:, None].to(rows)

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""
        return self._forth(self._of.encode(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out): what the original gives."""
        return self._of.reconstruct(x)

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): what ablating `latents` removes."""
        return self._of.contribution(x, self._back(z), self._originals(latents))

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): what no latent writes."""
        return self._of.const(x)

    def _own(self, rows: Tensor) -> Tensor:
        return rows[self._originals(torch.arange(self.d_sae, device=rows.device))]


def renumbered(dictionary: Dictionary, order: Tensor) -> Dictionary:
    """Return the dictionary with its latents in another order.

    Args:
        dictionary: any.
        order: (d_sae,) a permutation: latent i of the result is latent order[i] of the original.
    """
    order = order.to(dictionary.device)
    inverse = torch.argsort(order)
    return _Reworded(
        dictionary,
        lambda z: z[:, order],
        lambda z: z[:, inverse],
        lambda latents: order[latents],
        torch.ones(dictionary.d_sae, device=dictionary.device),
        f"order {order.tolist()}",
    )


def rescaled(dictionary: Dictionary, factors: Tensor) -> Dictionary:
    """Return the dictionary with each latent multiplied, and its decoder row divided, by a factor.

    Args:
        dictionary: any.
        factors: (d_sae,) positive; powers of two lose no bit.
    """
    factors = factors.to(dictionary.device, dictionary.dtype)
    return _Reworded(
        dictionary,
        lambda z: z * factors,
        lambda z: z / factors,
        lambda latents: latents,
        1 / factors,
        f"factors {factors.tolist()}",
    )
