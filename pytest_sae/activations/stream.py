"""A text set's activations at one site, computed once and read back batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from pytest_sae.activations.codes import Codes
from pytest_sae.activations.pieces import pieces
from pytest_sae.activations.store import CacheEntry, Store, Tensors, Writer
from pytest_sae.models import model as models
from pytest_sae.models import tf32, tokenize
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import TOKENS_PER_BATCH, Batch, batches

VERSION = "1"  # part of the key: raise it when shards hold something else

_SHARD_BYTES = 64 * 2**20
_PARTS = ("ids", "attention", "valid", "rows", "x")


@dataclass(frozen=True, eq=False)
class ActivationBatch:
    """Some texts and their activations at a site.

    Args:
        batch: the texts' tokens, on the CPU.
        x: (text, pos, d) in the model's dtype, on the CPU, padding and special tokens included.
        codes: what a dictionary made of them, where that was kept; None where it was not.
    """

    batch: Batch
    x: Tensor
    codes: Codes | None = None

    @property
    def x_valid(self) -> Tensor:
        """(token, d): the valid tokens, text after text."""
        return self.x[self.batch.valid]

    @property
    def text_of_token(self) -> Tensor:
        """(token,) long: for each row of `x_valid`, its text's place in the batch."""
        return self.batch.valid.nonzero()[:, 0]


@dataclass(eq=False)
class TokenActivations:
    """The activations of texts at a site; iterate as often as needed, the model runs once.

    Args:
        model: run up to the site only.
        site: what is read.
        texts: each once; `ActivationBatch.batch.rows` are indices into them.
        context: tokens per text at most.
        prepend_bos: whether every text begins with BOS.
        store: where the activations are kept, on disk or in memory.
        tokens_per_batch: size of a batch, padding included.
    """

    model: LanguageModel
    site: Site
    texts: Sequence[str]
    context: int
    prepend_bos: bool
    store: Store
    tokens_per_batch: int = TOKENS_PER_BATCH

    made: ClassVar[bool] = False  # whether they are there without any run of the model

    def __iter__(self) -> Iterator[ActivationBatch]:
        entry = self.store.find(self.key)
        if entry is None:
            run([self])
            entry = self.store.find(self.key)
        assert entry is not None
        yield from _unpacked(entry)

    @cached_property
    def text_key(self) -> dict[str, object]:
        """All that decides the batches and what the model makes of them, but for the site."""
        return {
            "step": "activations",
            "code": [VERSION, models.VERSION, tokenize.VERSION],
            "model": self.model.fingerprint,
            "dtype": str(self.model.dtype),
            # The same weights give other bits on other devices.
            "device": self.model.device.type,
            **tf32.as_key(self.model),
            "tokenizer": self.model.tokenizer_fingerprint,
            "texts": fingerprint(self.texts),
            "context": self.context,
            "prepend_bos": self.prepend_bos,
            "tokens_per_batch": self.tokens_per_batch,
        }

    @cached_property
    def key(self) -> dict[str, object]:
        """All that decides the activations; builtins only."""
        return {**self.text_key, "module": self.site.module, "reads": self.site.reads}

    @cached_property
    def batches(self) -> list[Batch]:
        """The texts' batches, without running the model."""
        return batches(
            self.texts, self.model.tokenizer, self.context, self.prepend_bos, self.tokens_per_batch
        )

    def pieces(self, documents: Sequence[int]) -> list[tuple[str, ...]]:
        """Return what the valid tokens of some texts stand for, by index; see `pieces.pieces`."""
        texts = [self.texts[document] for document in documents]
        return pieces(texts, self.model.tokenizer, self.context, self.prepend_bos)


def run(streams: Sequence[TokenActivations]) -> None:
    """Make the activations of several sites that are not cached yet, in one pass of the model.

    Args:
        streams: of the same model, texts, sizes and store; they differ in their site.

    Raises:
        ValueError: they differ in anything else.
    """
    if all(stream.made for stream in streams):
        return
    first = streams[0]
    if any(s.text_key != first.text_key or s.store is not first.store for s in streams):
        raise ValueError("streams that are made in one pass must share model, texts and store")
    with first.store.making([stream.key for stream in streams]) as missing:
        wanted = {s.site.tensor: s for s in streams if s.key in missing}
        if wanted:
            with first.store.work.timed("model"):
                _capture(list(wanted.values()))


def below(activations: TokenActivations) -> TokenActivations | None:
    """Return the stream before the site's block, which a splice inside a block needs.

    None for a site that needs none. Made in one pass with the site's own by `run([both])`.
    """
    site = activations.model.stream_below(activations.site)
    return None if site is None else replace(activations, site=site)


def fingerprint(texts: Iterable[str]) -> str:
    """Return a sha256 of texts and their order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text).encode() + b"\n")
    return digest.hexdigest()


def _capture(streams: list[TokenActivations]) -> None:
    model, work = streams[0].model, streams[0].store.work
    with ExitStack() as stack:
        shards = [
            _Shards(stack.enter_context(stream.store.writing(stream.key))) for stream in streams
        ]
        for batch in streams[0].batches:
            seen = model.capture(batch, [stream.site for stream in streams])
            work.ran(model.fingerprint, [stream.site.tensor for stream in streams], batch)
            for stream, shard in zip(streams, shards, strict=True):
                shard.add(ActivationBatch(batch, seen[stream.site].cpu()))
        for shard in shards:
            shard.flush()


class _Shards:
    """Whole batches, collected to shards of a size that is read and written quickly."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._pending: list[ActivationBatch] = []

    def add(self, part: ActivationBatch) -> None:
        self._pending.append(part)
        if sum(p.x.nbytes for p in self._pending) >= _SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            self._writer.add(_packed(self._pending))
            self._pending = []


def _packed(parts: list[ActivationBatch]) -> Tensors:
    tensors: Tensors = {}
    for number, part in enumerate(parts):
        columns = (part.batch.ids, part.batch.attention, part.batch.valid, part.batch.rows, part.x)
        tensors |= {f"{number}.{name}": c for name, c in zip(_PARTS, columns, strict=True)}
    return tensors


def _unpacked(entry: CacheEntry) -> Iterator[ActivationBatch]:
    for shard in entry:
        for number in range(len(shard) // len(_PARTS)):
            ids, attention, valid, rows, x = (shard[f"{number}.{name}"] for name in _PARTS)
            yield ActivationBatch(Batch(ids, attention, valid, rows), x)
