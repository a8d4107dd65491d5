"""Matching pursuit: greedy encoding, one atom after the other, of what the others have left."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_sae.dictionaries.formats.selection import in_blocks

_ITERATIONS = 10  # of projected gradient in each step, as overcomplete has by default


def matching_pursuit(x: Tensor, atoms: Tensor, steps: int) -> Tensor:
    """Return the codes of k greedy steps.

    Each step takes the atom with the largest product with the residual, adds that product to its
    code, whatever its sign, and subtracts the atom times it. Atoms may be taken again.

    Args:
        x: (token, d_in).
        atoms: (d_sae, d_in).
        steps: k, at most so many codes are non-zero.

    Returns:
        (token, d_sae).
    """
    return in_blocks(lambda part: _greedy(part, atoms, steps), x, 2 * len(atoms), len(atoms))


def _greedy(x: Tensor, atoms: Tensor, steps: int) -> Tensor:
    codes = x.new_zeros(len(x), len(atoms))
    residual = x
    for _ in range(steps):
        values, indices = (residual @ atoms.T).max(dim=1, keepdim=True)
        codes.scatter_add_(1, indices, values)
        residual = residual - values * atoms[indices[:, 0]]
    return codes


def orthogonal_pursuit(x: Tensor, atoms: Tensor, steps: int) -> Tensor:
    """Return the codes of k greedy steps with all chosen codes fitted anew, none negative.

    Each step takes the atom with the largest product with the residual among those not chosen, and
    then runs overcomplete's ten steps of projected gradient for the least squares of x on the
    chosen atoms, starting from the codes so far; the codes are those of that algorithm.

    Args:
        x: (token, d_in).
        atoms: (d_sae, d_in).
        steps: k, at most so many codes are non-zero.

    Returns:
        (token, d_sae).
    """
    width = 2 * len(atoms) + steps * atoms.shape[1]
    return in_blocks(lambda part: _refitted(part, atoms, steps), x, width, len(atoms))


def _refitted(x: Tensor, atoms: Tensor, steps: int) -> Tensor:
    chosen = torch.empty(len(x), 0, dtype=torch.long, device=x.device)
    codes = x.new_zeros(len(x), 0)
    residual = x
    for _ in range(steps):
        products = (residual @ atoms.T).scatter_(1, chosen, -torch.inf)
        chosen = torch.cat([chosen, products.argmax(dim=1, keepdim=True)], dim=1)
        codes = torch.cat([codes, codes.new_zeros(len(x), 1)], dim=1)
        codes = _descend(atoms[chosen], x, codes)
        residual = x - torch.bmm(codes[:, None], atoms[chosen])[:, 0]
    return x.new_zeros(len(x), len(atoms)).scatter_(1, chosen, codes)


def _descend(chosen: Tensor, x: Tensor, codes: Tensor) -> Tensor:
    """Projected gradient steps of |codes · chosen - x|², each token at its own rate."""
    gram = torch.bmm(chosen, chosen.mT)
    target = torch.bmm(chosen, x[:, :, None])[:, :, 0]
    rate = 1 / (gram.square().sum(dim=(1, 2)).sqrt() + 1e-8)
    for _ in range(_ITERATIONS):
        gradient = torch.bmm(gram, codes[:, :, None])[:, :, 0] - target
        codes = (codes - rate[:, None] * gradient).clamp(min=0)
    return codes
