"""Sums along rows are those of a float64 copy, made of a few rows at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_sae.metrics import row_sums
from pytest_sae.metrics.row_sums import inner, norms

ROWS = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
OTHERS = torch.randn(50, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("elements", [1, 30, 2**20])
def test_rows_are_summed_in_float64_however_many_at_once(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sums, "_ELEMENTS", elements)
    wide, others = ROWS.numpy().astype(np.float64), OTHERS.numpy().astype(np.float64)
    np.testing.assert_allclose(norms(ROWS), np.sqrt((wide**2).sum(1)), rtol=1e-14)
    np.testing.assert_allclose(inner(ROWS, OTHERS), (wide * others).sum(1), rtol=1e-12)
    np.testing.assert_allclose(inner(ROWS, OTHERS[0]), wide @ others[0], rtol=1e-12)
