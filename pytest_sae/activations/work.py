"""What a run has cost so far: model passes, encodes, bytes, seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field


@dataclass
class Work:
    """Counters for the report, owned by whoever drives the run.

    Args:
        model_passes: batches run through the model up to a site.
        model_tokens: valid tokens in those batches.
        upper_passes: batches run through the layers above a site.
        encode_passes: batches encoded by a dictionary.
        encoded_tokens: valid tokens in those batches.
        cache_hits: entries found in the cache.
        cache_misses: entries that had to be made.
        bytes_written: into the cache.
        bytes_read: from the cache.
        seconds: wall time by stage.
    """

    model_passes: int = 0
    model_tokens: int = 0
    upper_passes: int = 0
    encode_passes: int = 0
    encoded_tokens: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_written: int = 0
    bytes_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall time of a block of code to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed

    def record(self) -> dict[str, object]:
        """Return the counters as plain builtins."""
        return asdict(self)
