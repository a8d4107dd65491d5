"""Controls of a dictionary that reads the earlier tokens: of what those do not say.

rest(dictionary, x) -> what is left to the latents
like(dictionary) -> a dictionary of the shape of the rest, for `controls` and `references`
OfRest(dictionary, inner) -> inner, with what the earlier tokens say left as it is
"""

from __future__ import annotations

import hashlib
from functools import partial

import torch
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Contextual, Dictionary, site_width


def rest(dictionary: Dictionary, x: Tensor) -> Tensor:
    """Return what stands at the site less all that no latent writes, (token, d_site).

    Args:
        dictionary: that is `Contextual`.
        x: (token, d_in) tokens in context.
    """
    return x[:, : site_width(dictionary)].to(dictionary.dtype) - dictionary.const(x)


def like(dictionary: Dictionary) -> AffineDictionary:
    """Return a dictionary of the shape and site of the rest, whose latents are always silent.

    Args:
        dictionary: that is `Contextual`.
    """
    zeros = partial(torch.zeros, device=dictionary.device, dtype=dictionary.dtype)
    width = site_width(dictionary)
    return AffineDictionary(
        lambda x: x.new_zeros(len(x), dictionary.d_sae),
        zeros(dictionary.d_sae, width),
        zeros(width),
        None,
        dictionary.info,
        dictionary.fingerprint,
    )


class OfRest(AffineDictionary):
    """A dictionary of the rest, beside what the earlier tokens say.

    So a control has all that the SAE takes from earlier tokens, and differs from it in its latents
    alone: what they are worth is what it shows.

    Args:
        of: the dictionary that it is a control of, `Contextual`.
        inner: reads and writes the rest.
    """

    def __init__(self, of: Dictionary, inner: AffineDictionary) -> None:
        super().__init__(
            lambda x: inner.encode(rest(of, x)),
            inner.decoder_rows,
            inner.const(inner.decoder_rows.new_zeros(1, inner.d_in))[0],
            None,
            inner.info,
            hashlib.sha256(f"{inner.fingerprint} {of.fingerprint}".encode()).hexdigest(),
            of.d_in,
        )
        assert isinstance(of, Contextual)
        self.d_site, self.in_context = of.d_site, of.in_context
        self.inner = inner
        self._of: Dictionary = of

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return super().reconstruct(x) + self._of.const(x)

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): what no latent of the dictionary writes, and the mean of the rest."""
        return super().const(x) + self._of.const(x)
