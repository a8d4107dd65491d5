"""Contexts in which latents fire and do not fire, for many latents in one pass of the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from pytest_sae.activations.contexts import Context, LatentEvidence
from pytest_sae.activations.reservoir import Firings, Reservoir, WindowPool, empty_pool
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.activations.windows import (
    Hashes,
    Ints,
    WindowCodes,
    codes,
    firings,
    first_token,
    priorities,
    text_hashes,
)
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import Dictionary

_RESERVOIR = 8  # activating windows sampled for each one that is drawn from their quantiles
_BLOCK = 64  # latents compared with the pool at once
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class EvidenceSizes:
    """How many contexts of each kind a latent gets at most; see `LatentEvidence`.

    Args:
        width: tokens per context at most.
        top: strongest contexts, for explaining.
        samples: contexts over the quantiles of activation, for explaining.
        scored: contexts over the quantiles of activation, for scoring.
        random: silent contexts drawn at random, for scoring.
        hard: silent contexts with the latents that usually fire together with this one.
        pool: windows of the scoring half that silent contexts are drawn from.
    """

    width: int = 32
    top: int = 10
    samples: int = 5
    scored: int = 20
    random: int = 10
    hard: int = 10
    pool: int = 2048


def collect(
    stream: TokenActivations,
    dictionary: Dictionary,
    latents: Ints,
    sizes: EvidenceSizes,
    seed: int,
    work: Work | None = None,
    parts: Iterable[ActivationBatch] | None = None,
) -> list[LatentEvidence]:
    """Return the contexts of each latent, encoding every token of the corpus once.

    Documents are divided between explaining and scoring by a hash of (seed, text), so contexts of
    one never come from a document of the other. All draws are by hashes of (seed, text, window,
    latent): they do not depend on batches, the order of texts, or the other latents. Memory holds
    the windows that are kept, the pool, and which latents fire together with those asked for;
    nothing grows with the corpus.

    * Documents are cut into windows (`windows.cut`); a window's peak is the latent's largest
      absolute activation in it.
    * `top`: the largest peaks of the explaining half.
    * `samples`, `scored`: of a hash sample of activating windows, sorted by peak and divided into
      as many groups of equal size as contexts are wanted, one of each; strongest first. No window
      is both in `top` and in `samples`.
    * `random`: of the pool, a hash sample of the windows in which the latent is zero throughout.
    * `hard`: of the rest of those, the windows whose peaks of all latents have the largest cosine
      with the sum of them over the windows in which this latent fires.

    Args:
        stream: the corpus at the site that the dictionary reads.
        dictionary: encodes.
        latents: (J,) distinct indices.
        sizes: of the evidence.
        seed: of the halves and of the draws.
        work: counters to add to.
        parts: the stream's batches, where their progress is shown; None iterates the stream.

    Returns:
        One item for each latent in their order; one that never fires has no contexts.
    """
    work = work or Work()
    gathered = _Gathered(stream.texts, dictionary.d_sae, latents, sizes, seed)
    for part in stream if parts is None else parts:
        with work.timed("evidence"):
            gathered.add(codes(part, dictionary, sizes.width, work))
    with work.timed("evidence"):
        return gathered.finish(_Contexts(stream, sizes.width))


def densities(
    stream: Iterable[ActivationBatch], dictionary: Dictionary, work: Work | None = None
) -> npt.NDArray[np.float64]:
    """Return the share of valid tokens on which each latent is not zero.

    Args:
        stream: batches of activations.
        dictionary: encodes them.
        work: counts and times the encoding, None if nobody asks.

    Returns:
        (d_sae,), 0 to 1.
    """
    work = work or Work()
    fires, tokens = np.zeros(dictionary.d_sae), 0
    for part in stream:
        with work.timed("densities"):
            latent = firings(part, dictionary, work)[1]
            fires += np.bincount(latent, minlength=dictionary.d_sae)
            tokens += int(part.batch.valid.sum())
    return fires / tokens


class _Gathered:
    """All that is kept of the windows that have been seen."""

    def __init__(
        self, texts: Sequence[str], d_sae: int, latents: Ints, sizes: EvidenceSizes, seed: int
    ) -> None:
        self._hashes, self._explaining = text_hashes(texts, seed)
        self._latents = latents
        self._places = np.full(d_sae, -1)
        self._places[latents] = np.arange(len(latents))
        self._sizes = sizes
        count, width = len(latents), sizes.width
        # Windows of `top` are taken out of the samples afterwards.
        explained = _RESERVOIR * sizes.samples + sizes.top if sizes.samples else 0
        self._top = Reservoir(count, sizes.top, width, "strongest")
        self._samples = Reservoir(count, explained, width, "sampled")
        self._scored = Reservoir(count, _RESERVOIR * sizes.scored, width, "sampled")
        self._pool = empty_pool(d_sae)
        self._together = sp.csr_array((count, d_sae), dtype=np.float64)
        self._fires = np.zeros(count, np.int64)
        self._tokens = 0

    def add(self, found: WindowCodes) -> None:
        """Take in the windows of one batch."""
        windows = found.windows
        explaining = self._explaining[windows.document]
        priority = priorities(self._hashes[windows.document], windows.number)
        window = np.repeat(np.arange(len(priority)), np.diff(found.peaks.indptr))
        place = self._places[found.peaks.indices]
        pair = np.flatnonzero(place >= 0)
        for kept, half in (
            (self._top, explaining),
            (self._samples, explaining),
            (self._scored, ~explaining),
        ):
            self._offer(kept, found, pair[half[window[pair]]], window, priority)
        self._count(found, place, window, pair)
        scoring = np.flatnonzero(~explaining)
        more = WindowPool(windows.document, windows.number, priority, found.peaks).take(scoring)
        self._pool = self._pool.with_more(more, self._sizes.pool)

    def _offer(
        self, kept: Reservoir, found: WindowCodes, pair: Ints, window: Ints, priority: Hashes
    ) -> None:
        latent, peak = found.peaks.indices[pair].astype(np.int64), found.peaks.data[pair]
        hashes = priorities(priority[window[pair]], latent)
        chosen = np.flatnonzero(kept.wanted(self._places[latent], hashes, peak))
        pair = pair[chosen]
        row = np.full(found.peaks.nnz, -1)
        row[pair] = np.arange(len(pair))
        firing = np.flatnonzero(row[found.pair] >= 0)
        values = np.zeros((len(pair), self._sizes.width), np.float32)
        values[row[found.pair[firing]], found.position[firing]] = found.value[firing]
        document, number = found.windows.document, found.windows.number
        kept.offer(
            Firings(
                self._places[latent[chosen]],
                document[window[pair]],
                number[window[pair]],
                hashes[chosen],
                peak[chosen],
                values,
            )
        )

    def _count(self, found: WindowCodes, place: Ints, window: Ints, pair: Ints) -> None:
        shape = (len(self._latents), found.peaks.shape[0])
        active = sp.csr_array((np.ones(len(pair)), (place[pair], window[pair])), shape=shape)
        self._together = self._together + active @ found.peaks.astype(np.float64)
        firing = place[found.pair]
        self._fires += np.bincount(firing[firing >= 0], minlength=shape[0])
        self._tokens += len(found.windows.of_token)

    def finish(self, contexts: _Contexts) -> list[LatentEvidence]:
        """Draw every latent's contexts from what was kept."""
        sizes = self._sizes
        kept = [each.best() for each in (self._top, self._samples, self._scored)]
        drawn = list(zip(*(_by_latent(each, len(self._latents)) for each in kept), strict=True))
        chosen = [
            (top, _spread(_without(samples, top), sizes.samples), _spread(scored, sizes.scored))
            for top, samples, scored in drawn
        ]
        silent = list(self._silent())
        contexts.need(
            document
            for firing, quiet in zip(chosen, silent, strict=True)
            for document in (
                *(each for pairs in firing for each in pairs.document),
                *(each for pool in quiet for each in self._pool.document[pool]),
            )
        )
        return [
            LatentEvidence(
                int(latent),
                float(self._fires[place] / self._tokens),
                *(contexts.firing(pairs) for pairs in chosen[place]),
                *(contexts.silent(self._pool, quiet) for quiet in silent[place]),
            )
            for place, latent in enumerate(self._latents)
        ]

    def _silent(self) -> Iterator[tuple[Ints, Ints]]:
        """Give, for each latent, the windows of the pool for `random` and for `hard`."""
        pool = self._pool
        columns = sp.csc_array(pool.peaks)
        unit = _normalised(pool.peaks)
        for start in range(0, len(self._latents), _BLOCK):
            block = self._latents[start : start + _BLOCK]
            rows = self._together[start : start + _BLOCK]
            cosines = (unit @ _normalised(rows).toarray().T).T
            for latent, cosine, total in zip(block, cosines, rows.sum(1), strict=True):
                if total == 0:
                    yield (_NONE, _NONE)
                    continue
                firing = columns.indices[columns.indptr[latent] : columns.indptr[latent + 1]]
                quiet = np.setdiff1d(np.arange(len(pool.priority)), firing)
                hashes = priorities(pool.priority[quiet], np.full(len(quiet), latent))
                random = quiet[np.argsort(hashes)[: self._sizes.random]]
                rest = np.setdiff1d(quiet, random)
                # The pool is in the order of its priorities: they break ties, which rounding keeps.
                order = np.argsort(-cosine[rest].round(9), kind="stable")
                yield random, rest[order[: self._sizes.hard]]


def _by_latent(pairs: Firings, latents: int) -> Iterator[Firings]:
    bounds = np.searchsorted(pairs.latent, np.arange(latents + 1))
    for start, end in pairwise(bounds):
        yield pairs.take(slice(start, end))


def _without(pairs: Firings, others: Firings) -> Firings:
    return pairs.take(~np.isin(pairs.priority, others.priority))


def _spread(pairs: Firings, count: int) -> Firings:
    """Sort by peak, divide into groups of equal size and take the lowest priority of each."""
    order = np.lexsort((pairs.priority, -pairs.peak))
    groups = min(count, len(order))
    parts = np.array_split(order, groups) if groups else []
    return pairs.take(np.array([part[np.argmin(pairs.priority[part])] for part in parts], np.int64))


def _normalised(rows: sp.csr_array) -> sp.csr_array:
    rows = rows.astype(np.float64)
    norms = np.sqrt(rows.multiply(rows).sum(1))
    scale = np.divide(1.0, norms, out=np.zeros(len(norms)), where=norms > 0)
    return sp.csr_array(sp.diags_array(scale) @ rows)


class _Contexts:
    """Windows as they stand in their documents."""

    def __init__(self, stream: TokenActivations, width: int) -> None:
        self._stream = stream
        self._width = width
        self._pieces: dict[int, tuple[str, ...]] = {}
        self._known: dict[tuple[int, int], Context] = {}

    def need(self, documents: Iterable[int]) -> None:
        """Get the pieces of the documents from which contexts will be taken."""
        wanted = sorted({int(document) for document in documents})
        self._pieces = dict(zip(wanted, self._stream.pieces(wanted), strict=True))

    def firing(self, pairs: Firings) -> tuple[Context, ...]:
        """Return the contexts of windows in which a latent fires."""
        where = zip(pairs.document.tolist(), pairs.number.tolist(), strict=True)
        silent = [self._context(document, number) for document, number in where]
        return tuple(
            Context(context.document, context.pieces, tuple(values[: len(context.pieces)]))
            for context, values in zip(silent, pairs.values.tolist(), strict=True)
        )

    def silent(self, pool: WindowPool, windows: Ints) -> tuple[Context, ...]:
        """Return windows of the pool as contexts in which nothing fires."""
        where = zip(pool.document[windows].tolist(), pool.number[windows].tolist(), strict=True)
        return tuple(self._context(document, number) for document, number in where)

    def _context(self, document: int, number: int) -> Context:
        if (document, number) not in self._known:
            own = self._pieces[document]
            bounds = np.array([number, number + 1])
            start, end = first_token(bounds, np.array(len(own)), self._width).tolist()
            silent = (0.0,) * (end - start)
            self._known[document, number] = Context(document, own[start:end], silent)
        return self._known[document, number]
