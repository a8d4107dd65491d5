"""Threads are given for a while, to torch and to linear algebra, and given back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from pytest_sae.session.threads import threads


def blas() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two() -> Iterator[None]:
    """Two threads before and after: where tests run with one, one would change nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(before)


def test_all_of_them_compute_with_as_many_and_are_given_back():
    before = torch.get_num_threads(), blas()
    assert before[0] == 2
    assert set(before[1]) == {2}, "numpy's linear algebra is not told of"
    with threads(1):
        assert torch.get_num_threads() == 1
        assert set(blas()) == {1}
    assert (torch.get_num_threads(), blas()) == before


def test_they_are_given_back_after_an_error():
    before = torch.get_num_threads(), blas()
    with pytest.raises(ZeroDivisionError), threads(1):
        _ = 1 / 0
    assert (torch.get_num_threads(), blas()) == before


def test_a_context_that_nobody_leaves_changes_nothing_when_it_is_collected():
    before = torch.get_num_threads(), blas()
    with threads(2):
        left = ExitStack()
        left.enter_context(threads(1))
        with threads(2):
            del left
            gc.collect()
            assert torch.get_num_threads() == 2
            assert set(blas()) == {2}
    assert (torch.get_num_threads(), blas()) == before
