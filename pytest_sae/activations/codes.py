"""What a dictionary makes of a batch's tokens, kept sparse so that each is encoded once.

Codes.of(part, dictionary, work) -> Codes      # one encode of every token of the batch
codes.dense(mask, dictionary) -> (token, d_sae) in pieces
reconstructed(x, dictionary) -> (token, d_out)
entries(x, dictionary) -> pieces, with (counts, latent, value) of what is not zero
Keeper(Room(bytes)).coded(parts, dictionary, work) -> batches with their codes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pytest_sae.activations.stream import ActivationBatch
    from pytest_sae.activations.work import Work
    from pytest_sae.dictionaries.base import Dictionary

# Latents encoded at once. On the CPU one allocation that fits the caches is encoded up to 1.5 times
# faster than a whole batch; a GPU wants large matrices.
_CHUNK_BYTES = {"cpu": 4 * 2**20, "cuda": 2**30}
KEPT_BYTES = 2**30  # of a dictionary's codes; what is less sparse is encoded again


def chunk_tokens(dictionary: Dictionary) -> int:
    """Return how many tokens are encoded at once."""
    budget = _CHUNK_BYTES.get(dictionary.device.type, _CHUNK_BYTES["cpu"])
    return max(64, budget // (dictionary.d_sae * 4))


@dataclass(frozen=True, eq=False)
class Codes:
    """The latents of a batch's tokens that are not zero, on the CPU in the dictionary's dtype.

    Args:
        attention: (text, pos) bool, the tokens that are here, text after text.
        starts: (token + 1,) long, where each token's entries begin.
        latents: (entry,) int32.
        values: (entry,).
        d_sae: number of latents.
    """

    attention: Tensor
    starts: Tensor
    latents: Tensor
    values: Tensor
    d_sae: int

    @classmethod
    def of(cls, part: ActivationBatch, dictionary: Dictionary, work: Work) -> Codes:
        """Encode every token of a batch, special tokens too, padding excepted."""
        attention = part.batch.attention
        counts, latents, values = [], [], []
        for _, count, latent, value in entries(part.x[attention], dictionary):
            counts.append(count)
            latents.append(latent)
            values.append(value)
        work.encoded(dictionary.fingerprint, part.batch)
        starts = torch.cat([torch.zeros(1, dtype=torch.long), torch.cat(counts).cumsum(0)])
        return cls(attention, starts, torch.cat(latents), torch.cat(values), dictionary.d_sae)

    @property
    def nbytes(self) -> int:
        """Bytes that keeping them takes."""
        return self.starts.nbytes + self.latents.nbytes + self.values.nbytes

    def dense(self, mask: Tensor, dictionary: Dictionary) -> Iterator[Tensor]:
        """Give (token, d_sae) for the tokens of a mask in pieces, on the dictionary's device.

        Args:
            mask: (text, pos) bool, a part of `attention`.
            dictionary: what they were encoded by.
        """
        for tokens in mask[self.attention].nonzero()[:, 0].split(chunk_tokens(dictionary)):
            row, latent, value = self.entries(tokens)
            z = torch.zeros(
                len(tokens), self.d_sae, dtype=self.values.dtype, device=dictionary.device
            )
            z[row.to(z.device), latent.to(z.device)] = value.to(z.device)
            yield z

    def entries(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (place among `tokens`, latent, value) of all that is not zero, token by token."""
        counts = self.starts[tokens + 1] - self.starts[tokens]
        row = torch.repeat_interleave(torch.arange(len(tokens)), counts)
        within = torch.arange(len(row)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        entry = self.starts[tokens][row] + within
        return row, self.latents[entry].long(), self.values[entry]


def entries(x: Tensor, dictionary: Dictionary) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Encode tokens in pieces of `chunk_tokens`; only what is not zero leaves the device.

    Args:
        x: (token, d_in).
        dictionary: encodes.

    Yields:
        A piece as it was encoded, and on the CPU how many latents of each token are not zero, which
        they are (int32), and their values, token by token.
    """
    for part in x.split(chunk_tokens(dictionary)):
        with torch.no_grad():
            piece = part.to(dictionary.device, dictionary.dtype)
            z = dictionary.encode(piece)
            token, latent = z.nonzero(as_tuple=True)
            value = z[token, latent].cpu()
            counts = torch.bincount(token, minlength=len(z)).cpu()
        yield piece, counts, latent.to(torch.int32).cpu(), value


def reconstructed(x: Tensor, dictionary: Dictionary) -> Tensor:
    """Return the reconstructions of tokens, (token, d_out), in pieces of `chunk_tokens`.

    Args:
        x: (token, d_in).
        dictionary: encodes and decodes.
    """
    read = x.to(dictionary.device, dictionary.dtype)
    return torch.cat(
        [dictionary.reconstruct(piece) for piece in read.split(chunk_tokens(dictionary))]
    )


class Room:
    """How many bytes of codes may still be kept, by all who share it.

    Args:
        left: bytes.
    """

    def __init__(self, left: int = KEPT_BYTES) -> None:
        self.left = left


class Keeper:
    """Codes of one text set, made in the first pass over it and kept if there is room for them.

    Args:
        room: shared with other text sets; where it is too small every pass encodes again, in the
            same pieces and so to the same bits, which `Work` tells.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._kept: list[Codes] | None = None

    def coded(
        self, parts: Iterable[ActivationBatch], dictionary: Dictionary, work: Work
    ) -> Iterator[ActivationBatch]:
        """Give each batch with its codes.

        Args:
            parts: the same batches in the same order every time.
            dictionary: encodes.
            work: counters to add to.
        """
        if self._kept is not None:
            for part, codes in zip(parts, self._kept, strict=True):
                yield replace(part, codes=codes)
            return
        made: list[Codes] = []
        size = 0
        for part in parts:
            with work.timed("encode"):
                codes = Codes.of(part, dictionary, work)
            size += codes.nbytes
            made.append(codes)
            if size > self._room.left:
                made.clear()
            yield replace(part, codes=codes)
        if size <= self._room.left:
            self._kept = made
            self._room.left -= size
            work.bytes_kept += size
