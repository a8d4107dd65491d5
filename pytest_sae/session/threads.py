"""How many threads compute: torch's, and those of numpy's and scipy's linear algebra.

threads(count)                          # a context; gives them back when it is left
"""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits


class threads:  # noqa: N801 - a context, named as it reads
    """Compute with so many threads, within.

    Sums of floats depend on their number. And linear algebra left alone takes a thread per core in
    every worker: on small matrices they mostly wait for each other.

    No generator: one that is collected, with a session that nobody closed, would give threads back
    in the middle of the next one.

    Args:
        count: at least one.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(self._count)
        self._limits = threadpool_limits(self._count)

    def __exit__(self, *_: object) -> None:
        self._limits.restore_original_limits()
        torch.set_num_threads(self._before)
