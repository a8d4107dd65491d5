"""How much memory a run takes, from counts alone; and what `--sae-memory` leaves to be kept.

Texts.of(latents, tasks) -> Texts            # counts
Needed.of(dictionary, texts) -> Needed
needed.steps() -> {step: bytes}              # beside what the process held before
kept_bytes(limit, sae, needed, held) -> bytes of codes that may be kept
resident() -> bytes that this process holds

No step holds a block of d_sae x d_sae, or of texts x tokens x d_sae. What is left grows with d_sae
alone (weights, some tokens' dense latents, a figure for every latent) or with what is not zero
(codes, means of texts).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_sae.activations.codes import KEPT_BYTES, chunk_tokens
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.pooled import ENTRIES
from pytest_sae.data.tasks import Tasks
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import OptionError
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.tokenize import TOKENS_PER_BATCH
from pytest_sae.session.loaded import peak_memory

ENTRY = 8  # bytes of a latent that is not zero: which, and its value
_DENSE = 3  # copies of a piece's dense latents: before the selection, after it, and where not zero
_PROVEN = 96  # tokens on which a dictionary is proven when it is loaded
_FIXED = 128 * 2**20  # blocks of a fixed size (cosines, logits, codes that are added up), libraries
_BATCH = TOKENS_PER_BATCH
_SORTED = 64  # bytes of a latent that is not zero, with its text, its key and copies of them
_SYMBOLS = 2**22  # of quantised latents, that are counted at once for each of three errors
_PAIRS = 2**26  # of latents whose firing together is counted
_ASSUMED = 64  # latents of a token that are not zero, where nothing says how many


@dataclass(frozen=True)
class Texts:
    """How much of what is read.

    Args:
        corpus_tokens: of the held-out texts.
        pooled_texts: distinct texts of which means are kept.
        pooled_tokens: of them.
        probes: most probes that are fitted together on the latents of a table's texts.
    """

    corpus_tokens: int = 0
    pooled_texts: int = 0
    pooled_tokens: int = 0
    probes: int = 0

    @classmethod
    def of(cls, latents: Latents, tasks: Tasks) -> Texts:
        """Count what a run reads; no model is run.

        Args:
            latents: of any dictionary, whose batches are counted.
            tasks: of the run.
        """
        corpus, labelled = tasks.corpus, erasure_texts(tasks)
        pooled = [labelled, tasks.preferences.texts if tasks.preferences else ()]
        return cls(
            _tokens(latents, corpus.texts) if corpus else 0,
            sum(map(len, pooled)),
            sum(_tokens(latents, texts) for texts in pooled),
            max([2, *(len(task.classes) for task in tasks.tpp)]),
        )


@dataclass(frozen=True)
class Needed:
    """What memory is needed for.

    Args:
        d_sae: latents.
        weights: bytes of decoder and encoder.
        piece: tokens that are encoded at once.
        itemsize: bytes of a number of the dictionary's type.
        active: latents of a token that are not zero.
        texts: that are read.
    """

    d_sae: int
    weights: int
    piece: int
    itemsize: int
    active: int
    texts: Texts

    @classmethod
    def of(cls, dictionary: Dictionary, texts: Texts) -> Needed:
        """Return what a dictionary needs on some texts.

        Args:
            dictionary: ready to encode.
            texts: that are read.
        """
        d_sae, size = dictionary.d_sae, dictionary.dtype.itemsize
        return cls(
            d_sae,
            d_sae * (dictionary.d_in + dictionary.d_out) * size,
            chunk_tokens(dictionary),
            size,
            min(dictionary.info.k or _ASSUMED, d_sae),
            texts,
        )

    @property
    def dense(self) -> int:
        """Bytes of the latents of a piece while they are dense."""
        return _DENSE * self.piece * self.d_sae * self.itemsize

    @property
    def codes(self) -> int:
        """Bytes that keeping the corpus' codes takes."""
        return ENTRY * self.active * self.texts.corpus_tokens

    def together(self, entries: int) -> int:
        """Bytes of so many latents that are not zero while they are sorted, matched or added up."""
        return _SORTED * min(entries, self.active * _BATCH)

    @property
    def means(self) -> int:
        """Bytes of the pooled latents: mean and largest where not zero, the last token's."""
        entries = min(self.active * self.texts.pooled_tokens, self.d_sae * self.texts.pooled_texts)
        return 12 * entries + ENTRY * self.active * self.texts.pooled_texts

    @property
    def per_latent(self) -> int:
        """Bytes of figures that every latent has, in float64, for all probes of a table."""
        return 8 * self.d_sae * (8 + 4 * self.texts.probes)

    def steps(self) -> dict[str, int]:
        """Return the bytes that each kind of step holds at most beside what was held before it."""
        pairs = min(1024 * self.d_sae, _PAIRS)
        corpus = self.together(self.active * self.texts.corpus_tokens) + self.codes
        pooled = self.together(min(ENTRIES, self.active * self.texts.pooled_tokens)) + self.means
        symbols = 3 * _SORTED * min(_SYMBOLS, self.active * self.texts.corpus_tokens)
        return {
            "load": self.weights + _DENSE * _PROVEN * self.d_sae * self.itemsize,
            "encode": self.weights + self.dense + _FIXED,
            "core": 2 * self.weights + self.dense + corpus + _FIXED,
            "probes": self.weights + self.dense + self.per_latent + pooled + _FIXED,
            "structure": 2 * self.weights + 8 * pairs + 64 * self.d_sae + corpus + symbols + _FIXED,
        }

    @property
    def least(self) -> int:
        """Bytes without which the dictionary cannot be measured, though no codes are kept."""
        return max(
            each - (self.codes if name in _KEEPING else 0) for name, each in self.steps().items()
        )


_KEEPING = ("core", "structure")


def kept_bytes(limit: int, sae: str, needed: Needed, held: int) -> int:
    """Return how many bytes of codes may be kept: what a limit leaves, and a GiB at most.

    Half of it for the dictionary itself, half for one that is measured beside it.

    Args:
        limit: of the process, as --sae-memory says; 0 for none.
        sae: name, for the message.
        needed: of the dictionary.
        held: by the process, before the dictionary.

    Raises:
        OptionError: it cannot be measured within the limit.
    """
    if not limit:
        return KEPT_BYTES
    left = limit - held - needed.least
    if left < 0:
        raise OptionError(
            f"--sae-memory={_gib(limit)} cannot be kept: {sae} with {needed.d_sae:,} latents needs "
            f"{_gib(needed.least)}, of which {_gib(needed.weights)} are its weights, beside "
            f"{_gib(held)} that the process holds with its model. Expected at least "
            f"{_gib(limit - left)}."
        )
    return min(left // 2, KEPT_BYTES)


def resident() -> int:
    """Return the bytes that this process holds; where that is not told, what it held at most."""
    table = Path("/proc/self/statm")
    if not table.exists():
        return peak_memory()
    return int(table.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _tokens(latents: Latents, texts: Sequence[str]) -> int:
    if not texts or isinstance(latents.model, AbsentModel):
        return len(texts) * latents.context  # at most
    return sum(int(batch.attention.sum()) for batch in latents.tokens(texts).batches)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
