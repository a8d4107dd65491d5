"""Hypothesis strategies for dictionaries, activations and changes that no metric may notice.

@given(dictionary=dictionaries(), x=activations(16), data=st.data())

Needs hypothesis, which the `test` extra brings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.synthetic.dictionaries import ARCHITECTURES, random_dictionary

_SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def dictionaries(
    draw: st.DrawFn,
    d_in: int = 16,
    architectures: Sequence[str] = ARCHITECTURES,
    d_sae: st.SearchStrategy[int] | None = None,
) -> Dictionary:
    """Random dictionaries of any architecture.

    Args:
        draw: from hypothesis.
        d_in: width of what they read and write.
        architectures: those that may come.
        d_sae: numbers of latents; 2 to 4 times d_in by default.
    """
    size = draw(st.integers(2, 4 * d_in) if d_sae is None else d_sae)
    return random_dictionary(
        draw(st.sampled_from(architectures)),
        d_in,
        size,
        draw(_SEEDS),
        k=draw(st.integers(1, min(8, size))),
    )


@st.composite
def activations(
    draw: st.DrawFn, d: int = 16, tokens: st.SearchStrategy[int] | None = None
) -> Tensor:
    """Activations (token, d) of any scale: Gaussian around a mean, some tokens zero or repeated.

    Args:
        draw: from hypothesis.
        d: their width.
        tokens: how many; 1 to 40 by default.
    """
    count = draw(st.integers(1, 40) if tokens is None else tokens)
    generator = torch.Generator().manual_seed(draw(_SEEDS))
    x = torch.randn(count, d, generator=generator) + torch.randn(d, generator=generator)
    x = draw(st.sampled_from([0.01, 1.0, 30.0])) * x
    for row in draw(st.sets(st.integers(0, count - 1), max_size=2)):
        x[row] = 0 if draw(st.booleans()) else x[0]
    return x


def orders(size: int) -> st.SearchStrategy[Tensor]:
    """Permutations (size,) of latents, texts or tokens."""
    return _SEEDS.map(
        lambda seed: torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    )


def factors(size: int) -> st.SearchStrategy[Tensor]:
    """Positive factors (size,), powers of two from 1/8 to 8: units that lose no bit."""
    return _SEEDS.map(lambda seed: _powers(size, seed))


def _powers(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 ** torch.randint(-3, 4, (size,), generator=generator)
