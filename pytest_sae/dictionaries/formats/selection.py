"""Which latents of a token are kept: the selections that families share, as pure functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Most elements of what an encoder makes beside its result, for one block of tokens.
BLOCK = 1 << 24


def top_k(z: Tensor, k: int) -> Tensor:
    """Keep the k largest latents of every token, set the others to zero.

    Args:
        z: (token, d_sae).
        k: from 1 to d_sae.

    Returns:
        (token, d_sae).
    """
    values, indices = z.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(z).scatter_(-1, indices, values)


def signed_top_k(z: Tensor, k: int) -> Tensor:
    """Keep the k latents of every token that are largest in size, with their signs.

    Args:
        z: (token, d_sae).
        k: from 1 to d_sae.

    Returns:
        (token, d_sae), the others zero.
    """
    indices = z.abs().topk(k, dim=-1, sorted=False).indices
    return torch.zeros_like(z).scatter_(-1, indices, z.gather(-1, indices))


def group_max(z: Tensor, groups: int) -> Tensor:
    """Keep the largest latent of each of `groups` runs of neighbouring latents.

    Args:
        z: (token, d_sae), d_sae a multiple of `groups`.
        groups: how many there are.

    Returns:
        (token, d_sae), the others zero.
    """
    parts = z.unflatten(-1, (groups, -1))
    values, indices = parts.max(dim=-1, keepdim=True)
    return torch.zeros_like(parts).scatter_(-1, indices, values).flatten(-2)


def above(z: Tensor, threshold: Tensor | float) -> Tensor:
    """Keep latents that exceed their threshold.

    Args:
        z: (token, d_sae).
        threshold: (d_sae,), or one for all.

    Returns:
        (token, d_sae), the others zero.
    """
    return z * (z > threshold)


def signed_above(z: Tensor, threshold: Tensor | float) -> Tensor:
    """Keep latents whose size exceeds the threshold, with their signs.

    Args:
        z: (token, d_sae).
        threshold: (d_sae,), or one for all; 0 or more.

    Returns:
        (token, d_sae), the others zero.
    """
    return z * (z.abs() > threshold)


def in_blocks(
    encode: Callable[[Tensor], Tensor], x: Tensor, width: int, d_sae: int, most: int = BLOCK
) -> Tensor:
    """Return encode(x), computed for so few tokens at a time that memory stays bounded.

    Args:
        encode: (token, d_in) to (token, d_sae), each token by itself.
        x: (token, d_in).
        width: elements that encode makes per token beside its result.
        d_sae: number of latents.
        most: elements of one block.
    """
    size = max(1, most // max(1, width))
    if len(x) <= size:
        return encode(x)
    z = x.new_empty(len(x), d_sae)
    for start in range(0, len(x), size):
        z[start : start + size] = encode(x[start : start + size])
    return z
