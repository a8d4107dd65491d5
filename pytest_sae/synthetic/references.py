"""The ends of the scale: a dictionary that knows the truth, and one that is cut.

oracle(world, samples) -> AffineDictionary       # all true features, on tokens it was given
cut(dictionary, x, kept) -> AffineDictionary     # all but the most used latents silenced
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.errors import DictionaryError

Known = tuple[Tensor, Tensor]  # (token, d) activations and (token, F) what they are made of


class Truth(Protocol):
    """What is true of a world: `synthetic.worlds.World` has it."""

    @property
    def rows(self) -> Tensor:
        """(F, d) the true feature directions."""

    @property
    def bias(self) -> Tensor:
        """(d,) what every activation has in common."""

    @property
    def fingerprint(self) -> str:
        """Of all that decides them."""


def oracle(world: Truth, known: Sequence[Known]) -> AffineDictionary:
    """Return the dictionary of all true features of a world.

    Its decoder is the truth. It encodes by looking a token up among those that it was given, so
    that its latents are exactly the features, with no error of any encoder.

    Args:
        world: whose features they are.
        known: tokens that it may be asked about, with their features.

    Raises:
        DictionaryError: when it encodes a token that it was not given.
    """
    book = _Lookup(
        torch.cat([x.reshape(-1, x.shape[-1]) for x, _ in known]),
        torch.cat([truth.reshape(-1, truth.shape[-1]) for _, truth in known]),
    )
    info = DictionaryInfo("oracle", "synthetic.oracle", None, None, None)
    name = hashlib.sha256(f"oracle {world.fingerprint}".encode()).hexdigest()
    return AffineDictionary(book, world.rows, world.bias, world.rows, info, name)


class _Lookup:
    """Finds tokens by a hash of their coordinates, and makes sure by the coordinates."""

    def __init__(self, x: Tensor, truth: Tensor) -> None:
        keys, order = _keys(x).sort(stable=True)
        self._keys, self._x, self._truth = keys, x[order], truth[order]

    def __call__(self, x: Tensor) -> Tensor:
        places = torch.searchsorted(self._keys, _keys(x)).clamp(max=len(self._keys) - 1)
        if not torch.equal(self._x[places], x.to(self._x)):
            raise DictionaryError(
                "the oracle knows the features of the tokens that it was made with, and was asked "
                "about others. Make it with every sample that it will see."
            )
        return self._truth[places]


def _keys(x: Tensor) -> Tensor:
    """(token,): of all coordinates, since tokens of one feature may agree in any few of them."""
    generator = torch.Generator().manual_seed(0)
    odd = 2 * torch.randint(2**61, (x.shape[1],), generator=generator) + 1
    positive = x.float() + 0.0  # 0 and -0 are equal, and their bits are not
    return (positive.contiguous().view(torch.int32).long() * odd.to(x.device)).sum(1)


def cut(dictionary: Dictionary, x: Tensor, kept: int) -> AffineDictionary:
    """Return a dictionary with all but its most used latents silenced.

    Use is the mean of `|z_j| |d_j|`, what a latent writes.

    Args:
        dictionary: with an affine decoder.
        x: (token, d_in) activations that tell how much each latent is used.
        kept: how many latents stay.

    Raises:
        DictionaryError: no affine decoder, or more to keep than there are.
    """
    rows = dictionary.decoder_rows
    if rows is None or not 0 < kept <= dictionary.d_sae:
        raise DictionaryError(
            f"{dictionary.info.source} cannot be cut to {kept} latents: expected an affine decoder "
            f"and 1 to {dictionary.d_sae} latents."
        )
    with torch.no_grad():
        used = dictionary.encode(x).abs().mean(0) * rows.norm(dim=1)
    stays = torch.zeros_like(used)
    stays[used.topk(kept).indices] = 1
    nothing = torch.zeros(1, dictionary.d_in, dtype=rows.dtype, device=rows.device)
    return AffineDictionary(
        lambda tokens: dictionary.encode(tokens) * stays,
        rows,
        dictionary.const(nothing)[0],
        dictionary.encoder_rows,
        replace(dictionary.info, family="control.cut", k=None),
        hashlib.sha256(f"cut {dictionary.fingerprint} {kept}".encode()).hexdigest(),
    )
