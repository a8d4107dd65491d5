"""What a run has cost so far: model passes, encodes, bytes, seconds."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sae.models.tokenize import Batch


@dataclass
class Work:
    """Counters for the report, owned by whoever drives the run.

    Args:
        model_passes: batches run through the model up to a site.
        model_tokens: valid tokens in those batches.
        model_texts: texts in them.
        model_repeats: texts among them whose site had been read before: 0 unless work is wasted.
        upper_passes: batches run through the layers above a site, by what they were run for:
            spliced runs, which no metric shares with another.
        encode_passes: batches encoded by a dictionary.
        encoded_tokens: valid tokens in those batches.
        encoded_texts: texts in them.
        encoded_repeats: texts among them that this dictionary had encoded before.
        cache_hits: entries found in the cache.
        cache_misses: entries that had to be made.
        bytes_written: into the cache.
        bytes_read: from the cache.
        bytes_kept: of sparse latents in memory, over all dictionaries.
        seconds: wall time by stage.
    """

    model_passes: int = 0
    model_tokens: int = 0
    model_texts: int = 0
    model_repeats: int = 0
    upper_passes: dict[str, int] = field(default_factory=dict)
    encode_passes: int = 0
    encoded_tokens: int = 0
    encoded_texts: int = 0
    encoded_repeats: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_written: int = 0
    bytes_read: int = 0
    bytes_kept: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen: set[int] = set()

    def ran(self, model: str, sites: Sequence[str], batch: Batch) -> None:
        """Count a batch run through a model, with all sites that were read in that one pass."""
        self.model_passes += 1
        self.model_tokens += int(batch.valid.sum())
        self.model_texts += len(batch.rows)
        self.model_repeats += sum(self._repeats((model, site), batch) for site in sites)

    def spliced(self, stage: str) -> None:
        """Count a batch run through the layers above a site."""
        self.upper_passes[stage] = self.upper_passes.get(stage, 0) + 1

    def encoded(self, dictionary: str, batch: Batch) -> None:
        """Count a batch encoded by a dictionary, which its fingerprint names."""
        self.encode_passes += 1
        self.encoded_tokens += int(batch.valid.sum())
        self.encoded_texts += len(batch.rows)
        self.encoded_repeats += self._repeats(dictionary, batch)

    def _repeats(self, what: Hashable, batch: Batch) -> int:
        """Return how many of a batch's texts were seen under this name, and remember them."""
        lengths = batch.attention.sum(1).tolist()
        marks = {
            # A recording may lack token ids: then a text is told by its place.
            hash((what, ids[:length].numpy().tobytes() if ids.any() else row))
            for row, ids, length in zip(batch.rows.tolist(), batch.ids.cpu(), lengths, strict=True)
        }
        before = len(self._seen)
        self._seen |= marks
        return len(batch.rows) - (len(self._seen) - before)

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
