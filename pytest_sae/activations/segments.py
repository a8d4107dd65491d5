"""Sums over the tokens of each text, where the tokens are, and the same bits every time."""

from __future__ import annotations

import torch
from torch import Tensor


def add_segments(sums: Tensor, values: Tensor, segment: Tensor) -> None:
    """Add each row of `values` to the row of `sums` that `segment` names, in place.

    Args:
        sums: (text, column).
        values: (token, column) on the same device.
        segment: (token,) long, likewise.
    """
    if values.device.type == "cpu":
        sums.index_add_(0, segment, values)
        return
    # index_add_ is atomic, hence not reproducible, on a GPU; a product with a 0/1 matrix is.
    present, place = segment.unique(return_inverse=True)
    texts = torch.arange(len(present), device=values.device)
    sums[present] += (texts[:, None] == place).to(values.dtype) @ values
