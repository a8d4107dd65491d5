"""Latents that are dense on the dictionary's device, as sparse rows on the host.

sparse_rows(z) -> (row, d_sae) sparse     Places.of(z).take(other) -> another at the same places
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Places:
    """Where a dense tensor is not zero, row by row.

    Args:
        row: (entry,) long, on its device.
        column: (entry,) long, likewise.
        starts: (row + 1,) where each row's entries begin.
        columns: (entry,) `column` on the host.
    """

    row: Tensor
    column: Tensor
    starts: NDArray[np.int32]
    columns: NDArray[np.int32]

    @classmethod
    def of(cls, dense: Tensor) -> Places:
        """Return the places of (row, column) that are not zero, in the order of rows."""
        row, column = dense.nonzero(as_tuple=True)
        starts = np.zeros(len(dense) + 1, np.int32)
        np.cumsum(row.bincount(minlength=len(dense)).cpu().numpy(), out=starts[1:])
        return cls(row, column, starts, column.int().cpu().numpy())

    def take(self, dense: Tensor) -> sparse.csr_array:
        """Return a tensor of the shape at these places: nothing else of it is copied."""
        values = dense[self.row, self.column].float().cpu().numpy()
        return sparse.csr_array((values, self.columns, self.starts), shape=tuple(dense.shape))


def sparse_rows(dense: Tensor) -> sparse.csr_array:
    """Return a dense (row, column) tensor as sparse float32 rows.

    What is not zero is found on the tensor's device: of a wide dictionary hardly anything is left
    to copy.

    Args:
        dense: on any device.
    """
    return Places.of(dense).take(dense)
