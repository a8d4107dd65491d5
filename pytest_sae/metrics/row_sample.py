"""Which rows stand for all where comparing all with all would take too long.

spread(rows, most) -> (row,) indices, ascending
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_sae.metrics.row_sums import inner, norms
from pytest_sae.numbers.bootstrap import generator


def spread(rows: Tensor, most: int) -> Tensor:
    """Return rows whose directions lie at even distances along a fixed random one.

    Neither how rows are numbered nor how long they are changes which.

    Args:
        rows: (row, d).
        most: how many at most.

    Returns:
        (row,) long, ascending, on the rows' device: all of them where there are no more than
        `most`.

    >>> turned = torch.linspace(0, 1, 5)
    >>> len(spread(torch.stack([turned.cos(), turned.sin()], 1), 3))
    3
    >>> spread(torch.eye(3), 4).tolist()
    [0, 1, 2]
    """
    if len(rows) <= most:
        return torch.arange(len(rows), device=rows.device)
    along = torch.from_numpy(generator(0, "row sample").normal(size=rows.shape[1]))
    projections = inner(rows, along.to(rows.device)) / norms(rows).clamp_min(1e-12)
    order = projections.argsort(stable=True)
    places = torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long()
    return order[places.to(rows.device)].sort().values
