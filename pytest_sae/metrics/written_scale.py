"""By how much what a dictionary writes would have to be multiplied to fit the activations best.

    sums = ScaleSums(n_texts, d, device)
    sums.update(x, written, text_rows)          # once per batch
    finish(sums, seed) -> WrittenScale

The least squares slope `sum (x - mean x).(w - mean w) / sum |w - mean w|^2` of the activations on
what the latents write, `w = x_hat - const`: 1 where reconstructions are as strong as they should
be, above 1 for latents that are shrunk (L1), 0 for rows that have nothing to do with what is there.
Both are taken about their means, so that a constant that everything has in common explains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pytest_sae.numbers.bootstrap import Floats, generator, influence, resample


class ScaleSums:
    """Running sums over a token stream, in float64 and per text.

    Args:
        n_texts: how many texts the stream has.
        d: width of x and of what is written.
        device: where the batches are; the sums stay there.
    """

    def __init__(self, n_texts: int, d: int, device: torch.device | str = "cpu") -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.products = zeros(n_texts, 3)  # tokens, x.w, w.w
        self.sums = zeros(n_texts, 2, d)  # of x, of w

    def update(self, x: Tensor, written: Tensor, text_rows: Tensor) -> None:
        """Add a batch of tokens.

        Args:
            x: (token, d) activations.
            written: (token, d) what the latents write there.
            text_rows: (token,) long, index of each token's text.
        """
        x, written = x.double(), written.double()
        products = [torch.ones_like(x[:, 0]), (x * written).sum(1), written.square().sum(1)]
        self.products.index_add_(0, text_rows, torch.stack(products, 1))
        self.sums.index_add_(0, text_rows, torch.stack([x, written], 1))


@dataclass(frozen=True)
class WrittenScale:
    """The factor, and how it would vary with other texts.

    Args:
        value: 0 where nothing is written.
        draws: (draw,) the value, then one per bootstrap replicate over texts.
        influence: what each text adds to the error of the value.
        texts: how many it rests on.
    """

    value: float
    draws: Floats
    influence: tuple[float, ...]
    texts: int

    def at_most(self, most: float) -> WrittenScale:
        """Return the factor where it is smaller than a bound, the bound where it is not.

        Args:
            most: the bound, of every replicate too.

        >>> scale = WrittenScale(2.0, np.array([2.0, 0.5]), (0.75,), 1).at_most(1.0)
        >>> scale.value, scale.draws.tolist(), scale.influence
        (1.0, [1.0, 0.5], (0.0,))
        """
        influence = self.influence if self.value < most else (0.0,) * len(self.influence)
        draws = np.minimum(self.draws, most)
        return replace(self, value=min(self.value, most), draws=draws, influence=influence)


def finish(sums: ScaleSums, seed: int) -> WrittenScale:
    """Return the factor.

    Args:
        sums: what `update` has gathered.
        seed: of the bootstrap; the same for every dictionary, so that differences are paired.

    Returns:
        The factor: 1 where what is written is as strong as it should be, more where it is too weak.

    >>> sums = ScaleSums(n_texts=2, d=1)
    >>> x, written = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [1.0]])
    >>> sums.update(x, written, torch.tensor([0, 1]))
    >>> finish(sums, seed=0).value
    2.0
    """
    kept = (sums.products[:, 0] > 0).cpu().numpy()
    products, totals = sums.products.cpu().numpy()[kept], sums.sums.cpu().numpy()[kept]
    texts = len(products)
    counts = resample(texts, generator(seed, "written scale")).with_sample().counts
    draws = _factor(counts @ products, np.einsum("rt,tsd->rsd", counts, totals))
    slopes = _slopes(products, totals, float(draws[0]))
    return WrittenScale(float(draws[0]), draws, influence(slopes), texts)


def _factor(products: Floats, totals: Floats) -> Floats:
    """(draw, 3) products and (draw, 2, d) sums to the factor of every draw."""
    tokens, inner, square = products.T
    x, written = totals[:, 0], totals[:, 1]
    variance = square - np.square(written).sum(1) / tokens
    shared = inner - (x * written).sum(1) / tokens
    # What is left of a constant is rounding, which is nothing that is written.
    there = variance > 1e-12 * square
    return np.where(there, shared / np.where(there, variance, 1.0), 0.0)


def _slopes(products: Floats, totals: Floats, factor: float) -> Floats:
    """(text,) derivatives of the factor by the weight of each text."""
    tokens, inner, square = products.T
    x, written = (totals.sum(0) / tokens.sum())[:, :, None]
    own_x, own_written = totals[:, 0], totals[:, 1]
    shared = inner - own_x @ written[:, 0] - own_written @ x[:, 0] + tokens * (x * written).sum()
    variance = square - 2 * own_written @ written[:, 0] + tokens * np.square(written).sum()
    whole = variance.sum()
    return (shared - factor * variance) / whole if whole > 0 else np.zeros(len(tokens))
