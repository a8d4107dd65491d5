"""Quantised latents and the code words that they get: zero is a symbol of its own.

symbols(values, steps) -> (symbols, the values they stand for)
sums = CodeBookSums(d_sae); sums.update(latents, symbols, tokens); sums.book() -> CodeBook
CodeBook .entropies() .lengths(latents, symbols)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

_BITS = 40  # of a symbol in a key; the latent stands above
_ORIGIN, _MASK = 2 ** (_BITS - 1), 2**_BITS - 1
_WAITING = 2**22  # distinct keys of batches before they are merged


def symbols(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symbol of each latent's value, and the value it stands for.

    Zero is a symbol of its own, 0, and stands for zero. Others are numbered away from zero,
    `sign(v) (1 + floor(|v| / step))`, and stand for the middle of their step.

    Args:
        values: (...) latents.
        steps: (...) of the same shape, or one that broadcasts; more than 0.

    Returns:
        int64 symbols and values, both (...).

    >>> found, stood_for = symbols(torch.tensor([0.0, 0.2, 1.7, -1.2]), torch.tensor(1.0))
    >>> found.tolist(), stood_for.tolist()
    ([0, 1, 2, -2], [0.0, 0.5, 1.5, -1.5])
    """
    place = (values.abs() / steps).floor()
    sign = values.sign()
    return (sign * (place + 1)).long(), sign * (place + 0.5) * steps


@dataclass(frozen=True, eq=False)
class CodeBook:
    """How often each latent takes each symbol but zero.

    Args:
        latents: (entry,) ascending, a latent's symbols stand together.
        symbols: (entry,).
        counts: (entry,) tokens.
        tokens: of the stream.
        d_sae: number of latents.
    """

    latents: Tensor
    symbols: Tensor
    counts: Tensor
    tokens: int
    d_sae: int

    @property
    def zeros(self) -> Tensor:
        """(d_sae,) on how many tokens each latent is zero."""
        fires = torch.zeros(self.d_sae, dtype=torch.long, device=self.counts.device)
        fires.index_add_(0, self.latents, self.counts)
        return self.tokens - fires

    def entropies(self) -> Tensor:
        """Return `H_j` of each latent's symbols in bits, (d_sae,) float64; zero is one of them."""
        shares = self.counts.double() / self.tokens
        silent = self.zeros.double() / self.tokens
        bits: Tensor = -torch.special.xlogy(silent, silent) / log(2)
        return bits.index_add_(0, self.latents, -shares * shares.log2())

    def lengths(self, latents: Tensor, symbols: Tensor) -> tuple[Tensor, float]:
        """Return what code words cost beyond silence, and what a silent token costs, in bits.

        Sent with the ideal code of this book, a token costs the second plus the first summed over
        its active latents; the mean over the stream is the sum of the entropies.

        Args:
            latents: (active,) of the stream that the book was made of.
            symbols: (active,).
        """
        silent = -(self.zeros.double() / self.tokens).clamp_min(0.5 / self.tokens).log2()
        # With a latent that is never zero, silence costs what is cancelled in every token.
        own = -(self.counts.double() / self.tokens).log2() - silent[self.latents]
        place = torch.searchsorted(_keys(self.latents, self.symbols), _keys(latents, symbols))
        return own[place], float(silent.sum())


class CodeBookSums:
    """Symbols counted over a stream, batch by batch.

    Args:
        d_sae: number of latents.
    """

    def __init__(self, d_sae: int) -> None:
        self._d_sae = d_sae
        self._tokens = 0
        self._parts: list[tuple[Tensor, Tensor]] = []

    def update(self, latents: Tensor, symbols: Tensor, tokens: int) -> None:
        """Add a batch.

        Args:
            latents: (active,) indices of the latents that are not zero.
            symbols: (active,) theirs.
            tokens: of the batch, those without an active latent too.
        """
        self._tokens += tokens
        keys, counts = _keys(latents, symbols).unique(return_counts=True)
        self._parts.append((keys, counts))
        if sum(len(part[0]) for part in self._parts) > _WAITING:
            self._parts = [self._merged()]

    def book(self) -> CodeBook:
        """Return the counts so far."""
        keys, counts = self._merged()
        return CodeBook(keys >> _BITS, (keys & _MASK) - _ORIGIN, counts, self._tokens, self._d_sae)

    def _merged(self) -> tuple[Tensor, Tensor]:
        if not self._parts:
            return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
        keys, place = torch.cat([keys for keys, _ in self._parts]).unique(return_inverse=True)
        counts = torch.cat([counts for _, counts in self._parts])
        return keys, torch.zeros_like(keys).index_add_(0, place, counts)


def _keys(latents: Tensor, symbols: Tensor) -> Tensor:
    keys: Tensor = (latents << _BITS) + symbols.clamp(1 - _ORIGIN, _ORIGIN - 1) + _ORIGIN
    return keys
