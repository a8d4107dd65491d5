"""What a text's valid tokens add up to: mean, largest and last latents, means after ablations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from pytest_sae.activations.codes import chunk_tokens, entries
from pytest_sae.activations.segments import add_segments
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import Dictionary, Scaled
from pytest_sae.errors import DataError

VERSION = "1"  # part of a cache key: raise it when the means are computed otherwise

ENTRIES = 2**22  # latents of tokens that are added up at once, of whole texts

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pooled:
    """What linear probes and ablations of whole texts need, and no more.

    Args:
        x: (text, d_out) float32, mean activation over the valid tokens of what is written.
        z: (text, d_sae) float32, mean latents over the same tokens; no columns without dictionary.
        tokens: (text,) how many tokens each mean is over.
        z_max: (text, d_sae) float32, the largest value of each latent whose mean is not zero.
        z_last: (text, d_sae) float32, the latents of the last valid token.
        z_written: (text, d_sae) float32, mean of the latents times their token's scale, for a
            `Scaled` dictionary; `z` itself for all others.
    """

    x: Floats
    z: sp.csr_array
    tokens: npt.NDArray[np.int64]
    z_max: sp.csr_array
    z_last: sp.csr_array
    z_written: sp.csr_array


def pool(
    activations: Iterable[ActivationBatch],
    dictionary: Dictionary | None,
    n_texts: int,
    work: Work | None = None,
    written: Iterable[ActivationBatch] | None = None,
) -> Pooled:
    """Return mean activations and pooled latents of every text, each valid token encoded once.

    Args:
        activations: what the dictionary reads, in batches that hold every text exactly once.
        dictionary: encodes; None pools the activations alone.
        n_texts: how many texts there are.
        work: counters to add to.
        written: what `Pooled.x` is the mean of, in the same batches; None where it is what the
            dictionary reads.

    Raises:
        DataError: a text has no valid token; the message names its index.
    """
    work = work or Work()
    device = None if dictionary is None else dictionary.device
    tokens = np.zeros(n_texts, np.int64)
    x = np.zeros((n_texts, 0), np.float32)
    rows: list[npt.NDArray[np.int64]] = []
    latents: list[_Latents] = []
    with work.timed("pool"):
        for part, target in paired(activations, written):
            counts = _counts(part)
            index = part.batch.rows.numpy()
            if x.shape[1] == 0:
                x = np.zeros((n_texts, target.x.shape[-1]), np.float32)
            tokens[index] += counts.numpy()
            x[index] = _means(target, counts, device)
            if dictionary is not None:
                rows.append(index)
                latents += _pool_latents(part, dictionary, counts, work)
    _require_tokens(tokens)
    d_sae = 0 if dictionary is None else dictionary.d_sae
    order = np.argsort(np.concatenate(rows)) if rows else None
    shape = (n_texts, d_sae)
    z = _in_order([each.mean for each in latents], order, shape)
    largest = _in_order([each.largest for each in latents], order, shape)
    # The same places as the means: sharing them saves half of the memory.
    z_max = sp.csr_array((largest.data, z.indices, z.indptr), shape=shape)
    last = _in_order([each.last for each in latents], order, shape)
    scaled = [each.written for each in latents if each.written is not None]
    return Pooled(x, z, tokens, z_max, last, _in_order(scaled, order, shape) if scaled else z)


def ablated_means(
    activations: Iterable[ActivationBatch],
    dictionary: Dictionary,
    sets: Sequence[Tensor],
    written: Iterable[ActivationBatch] | None = None,
    only: npt.NDArray[np.int64] | None = None,
) -> Floats:
    """Return the mean activation of texts after ablating sets of latents, decoded explicitly.

    `x' = x - contribution(S)` at valid tokens, then their mean. It holds for every dictionary;
    where the decoder is affine, or affine but for a scale of the token, cumulative sums over
    `Pooled.z_written` give the same at no cost.

    Args:
        activations: what the dictionary reads; every text once. Nothing is encoded where a batch
            has its codes.
        dictionary: encodes and decodes.
        sets: long tensors of latent indices.
        written: the activations at the site that the dictionary writes to, in the same batches;
            None where it is the site that it reads.
        only: (text,) indices of the texts that are wanted, None for all; no other is decoded.

    Returns:
        (set, text, d_out) float32, in the order of `only`, or of all texts.
    """
    found = [
        (part.batch.rows[kept], _ablated(part, target, dictionary, sets, kept))
        for part, target in paired(activations, written)
        if (kept := _wanted(part, only)).any()
    ]
    rows = torch.cat([row for row, _ in found])
    by_text = torch.cat([mean for _, mean in found], dim=1)[:, rows.argsort()].float().numpy()
    if only is None:
        return by_text
    return by_text[:, np.searchsorted(rows.sort().values.numpy(), only)]


def encoded(
    part: ActivationBatch, dictionary: Dictionary, work: Work | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Encode a batch's valid tokens in pieces, in order, in the dictionary's dtype and device.

    Nothing is encoded where the batch has its codes already.

    Args:
        part: the batch.
        dictionary: encodes it.
        work: counts the encoding, None if nobody asks.

    Yields:
        x (token, d_in), z (token, d_sae), and each token's text, as its place in the batch.
    """
    if part.codes is None:
        (work or Work()).encoded(dictionary.fingerprint, part.batch)
    yield from _pieces(part, dictionary)


def _pieces(
    part: ActivationBatch, dictionary: Dictionary
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    size = chunk_tokens(dictionary)
    pieces = [
        (x.to(dictionary.device, dictionary.dtype), segment.to(dictionary.device))
        for x, segment in zip(part.x_valid.split(size), part.text_of_token.split(size), strict=True)
    ]
    if part.codes is None:
        yield from ((x, dictionary.encode(x), segment) for x, segment in pieces)
        return
    kept = part.codes.dense(part.batch.valid, dictionary)
    yield from ((x, z, segment) for (x, segment), z in zip(pieces, kept, strict=True))


def paired(
    activations: Iterable[ActivationBatch], written: Iterable[ActivationBatch] | None
) -> Iterator[tuple[ActivationBatch, ActivationBatch]]:
    """Give each batch that is read with that which is written: itself, where `written` is None.

    Args:
        activations: batches of what is read.
        written: the same batches at the site that is written, None if it is the same site.
    """
    if written is None:
        yield from ((part, part) for part in activations)
    else:
        yield from zip(activations, written, strict=True)


@dataclass(frozen=True, eq=False)
class _Latents:
    """Some texts: (text, d_sae) each."""

    mean: sp.csr_array
    largest: sp.csr_array
    last: sp.csr_array
    written: sp.csr_array | None


def _pool_latents(
    part: ActivationBatch, dictionary: Dictionary, counts: Tensor, work: Work
) -> Iterator[_Latents]:
    """Give the batch's texts in blocks: never dense, however wide the dictionary is."""
    if part.codes is None:
        work.encoded(dictionary.fingerprint, part.batch)
    ends = counts.cumsum(0)
    held, seen, first = _Entries.none(dictionary), 0, 0
    for size, piece in _entries(part, dictionary):
        held, seen = held.joined(piece.later(seen)), seen + size
        complete = int((ends <= seen).sum())
        if complete == len(ends) or (len(held.token) >= ENTRIES and complete > first):
            block, held = held.cut(int(ends[complete - 1]))
            yield _block(block, ends[first - 1] if first else 0, counts[first:complete], dictionary)
            first = complete


@dataclass(frozen=True, eq=False)
class _Entries:
    """What is not zero, token by token: (entry,) each."""

    token: Tensor
    latent: Tensor
    value: Tensor
    written: Tensor | None  # the value times its token's scale

    @classmethod
    def none(cls, dictionary: Dictionary) -> _Entries:
        none = torch.zeros(0)
        written = none if isinstance(dictionary, Scaled) else None
        return cls(none.long(), none.int(), none, written)

    def later(self, tokens: int) -> _Entries:
        return replace(self, token=self.token + tokens)

    def joined(self, more: _Entries) -> _Entries:
        return self._each(lambda name: torch.cat([getattr(self, name), getattr(more, name)]))

    def cut(self, token: int) -> tuple[_Entries, _Entries]:
        place = int(torch.searchsorted(self.token, token))
        return (
            self._each(lambda name: getattr(self, name)[:place]),
            self._each(lambda name: getattr(self, name)[place:]),
        )

    def _each(self, made: Callable[[str], Tensor]) -> _Entries:
        scaled = None if self.written is None else made("written")
        return _Entries(made("token"), made("latent"), made("value"), scaled)


def _entries(part: ActivationBatch, dictionary: Dictionary) -> Iterator[tuple[int, _Entries]]:
    """Give the valid tokens' latents in pieces, with how many tokens a piece has."""
    kept = part.codes is not None
    pieces = _kept(part, dictionary) if kept else entries(part.x_valid, dictionary)
    for x, counts, latent, value in pieces:
        token, written = torch.arange(len(x)).repeat_interleave(counts), None
        if isinstance(dictionary, Scaled):
            with torch.no_grad():
                scale = dictionary.token_scale(x)[:, 0].cpu()
            written = (value * scale[token]).float()
        yield len(x), _Entries(token, latent, value.float(), written)


def _kept(
    part: ActivationBatch, dictionary: Dictionary
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    assert part.codes is not None
    valid = part.batch.valid[part.batch.attention].nonzero()[:, 0]
    size = chunk_tokens(dictionary)
    for x, tokens in zip(part.x_valid.split(size), valid.split(size), strict=True):
        token, latent, value = part.codes.entries(tokens)
        counts = token.bincount(minlength=len(tokens))
        yield x.to(dictionary.device, dictionary.dtype), counts, latent, value


def _block(held: _Entries, start: Tensor | int, counts: Tensor, dictionary: Dictionary) -> _Latents:
    """Add up the latents of some texts, each text's tokens in their order."""
    ends = counts.cumsum(0) + start
    text = torch.searchsorted(ends, held.token, right=True)
    keys, place = torch.unique(text * dictionary.d_sae + held.latent, return_inverse=True)
    largest = torch.full((len(keys),), -torch.inf).scatter_reduce_(0, place, held.value, "amax")
    # Zero is among the values of a latent that is silent on one of the tokens.
    silent = torch.bincount(place, minlength=len(keys)) < counts[keys // dictionary.d_sae]
    largest = torch.where(silent, largest.clamp_min(0), largest)
    last = held.token == ends[text] - 1

    def mean(values: Tensor) -> Tensor:
        sums = torch.zeros(len(keys)).index_add_(0, place, values)
        return sums / counts[keys // dictionary.d_sae]

    def table(keys: Tensor, values: Tensor, kept: Tensor) -> sp.csr_array:
        row, column = keys[kept] // dictionary.d_sae, keys[kept] % dictionary.d_sae
        starts = np.concatenate([[0], torch.bincount(row, minlength=len(counts)).cumsum(0)])
        data = values[kept].numpy(), column.int().numpy(), starts.astype(np.int32)
        return sp.csr_array(data, shape=(len(counts), dictionary.d_sae))

    means = mean(held.value)
    written = None if held.written is None else mean(held.written)
    own = text[last] * dictionary.d_sae + held.latent[last]
    return _Latents(
        table(keys, means, means != 0),
        table(keys, largest, means != 0),
        table(own, held.value[last], held.value[last] != 0),
        None if written is None else table(keys, written, written != 0),
    )


def _means(
    part: ActivationBatch, counts: Tensor, device: torch.device | None
) -> npt.NDArray[np.float64]:
    """(text, d): of a batch's valid tokens, summed in float64 on the device."""
    values = part.x_valid.to(device).double()
    sums = values.new_zeros(len(counts), values.shape[1])
    add_segments(sums, values, part.text_of_token.to(device))
    means: npt.NDArray[np.float64] = (sums.cpu() / counts[:, None]).numpy()
    return means


def _counts(part: ActivationBatch) -> Tensor:
    return part.batch.valid.sum(1)


def _wanted(part: ActivationBatch, only: npt.NDArray[np.int64] | None) -> Tensor:
    if only is None:
        return torch.ones(len(part.batch.rows), dtype=torch.bool)
    return torch.isin(part.batch.rows, torch.from_numpy(only))


def _ablated(
    part: ActivationBatch,
    target: ActivationBatch,
    dictionary: Dictionary,
    sets: Sequence[Tensor],
    kept: Tensor,
) -> Tensor:
    """(set, text, d_out) float64: means of a batch's texts that are kept."""
    counts = _counts(part)[kept]
    device = dictionary.device
    shape = (len(sets), len(counts), dictionary.d_out)
    sums = torch.zeros(shape, dtype=torch.float64, device=device)
    some = ActivationBatch(part.batch.only(kept), part.x, part.codes)
    place = (kept.cumsum(0) - 1).to(device)
    removed = [latents.to(device) for latents in sets]
    wanted = target.x[some.batch.valid].split(chunk_tokens(dictionary))
    with torch.no_grad():
        for y, (x, z, text) in zip(wanted, _pieces(some, dictionary), strict=True):
            there = y.to(device)
            for each, latents in zip(sums, removed, strict=True):
                left = there - dictionary.contribution(x, z, latents).to(there.dtype)
                add_segments(each, left.double(), place[text])
    return sums.cpu() / counts[:, None]


def _in_order(
    latents: list[sp.csr_array], order: npt.NDArray[np.int64] | None, shape: tuple[int, int]
) -> sp.csr_array:
    if order is None:
        return sp.csr_array(shape, dtype=np.float32)
    return sp.csr_array(sp.vstack(latents, format="csr")[order])


def _require_tokens(tokens: npt.NDArray[np.int64]) -> None:
    empty = np.flatnonzero(tokens == 0)
    if len(empty):
        raise DataError(
            f"{len(empty)} texts have no valid token (the first is text {empty[0]}): remove them "
            "from the task"
        )
