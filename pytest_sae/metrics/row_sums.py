"""What is summed along each row of a wide dictionary, without a float64 copy of all of it.

norms(rows) -> (row,)
inner(first, second) -> (row,)
"""

from __future__ import annotations

import torch
from torch import Tensor

_ELEMENTS = 2**20  # in float64 at once


def norms(rows: Tensor) -> Tensor:
    """Return each row's Euclidean norm.

    Args:
        rows: (row, d), of any type.

    Returns:
        (row,) float64, 0 or more, in the unit of the rows.

    >>> norms(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 0.0]
    """
    parts = rows.split(_block(rows))
    return torch.cat([torch.linalg.vector_norm(part.double(), dim=1) for part in parts])


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Return each row's inner product with the same row of another matrix.

    Args:
        first: (row, d).
        second: (row, d), or (d,) for the same vector beside all rows.

    Returns:
        (row,) float64.

    >>> inner(torch.eye(2), torch.tensor([[2.0, 1.0], [1.0, 3.0]])).tolist()
    [2.0, 3.0]
    """
    size = _block(first)
    others = second.expand_as(first).split(size)
    parts = zip(first.split(size), others, strict=True)
    return torch.cat([(one.double() * other.double()).sum(1) for one, other in parts])


def _block(rows: Tensor) -> int:
    return max(1, _ELEMENTS // max(1, rows.shape[1]))
