"""Rows that stand for all are the same rows, whatever their numbers are."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.metrics.row_sample import spread


@given(st.integers(2, 60), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_rows_do_not_depend_on_their_numbering(count: int, most: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 5, generator=generator)
    order = torch.randperm(count, generator=generator)
    lengths = torch.rand(count, 1, generator=generator) + 0.1
    found, renumbered = spread(rows, most), spread((rows * lengths)[order], most)
    assert sorted(order[renumbered].tolist()) == found.tolist()
    assert len(set(found.tolist())) == min(count, most)


def test_the_mean_over_the_rows_is_that_of_all_but_for_what_a_sample_misses() -> None:
    rows = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    values = rows.norm(dim=1)  # has nothing to do with where a row lies along a direction
    error = float(values[spread(rows, 400)].mean() - values.mean())
    assert abs(error) < 4 * float(values.std()) / 400**0.5
