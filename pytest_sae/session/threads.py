"""How many threads compute: torch's, and those of numpy's and scipy's linear algebra.

threads(count)                          # a context; gives them back when it is left
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads, within.

    Sums of floats depend on their number. And linear algebra left alone takes a thread per core in
    every worker: on small matrices they mostly wait for each other.

    Args:
        count: at least one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)
