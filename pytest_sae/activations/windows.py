"""Documents cut into windows of tokens, and what a dictionary's latents do in each of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from pytest_sae.activations.pooled import encoded
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import Dictionary

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of some documents: each token is in one of them, none crosses documents.

    A document of n tokens is cut into ceil(n / width) windows whose lengths differ by one token at
    most, so that no window is a scrap of a few tokens at a document's end.

    Args:
        document: (window,) which document.
        number: (window,) which of its windows, from 0.
        of_token: (token,) the window of each token.
        position: (token,) its place in that window.
    """

    document: Ints
    number: Ints
    of_token: Ints
    position: Ints


def cut(document: Ints, lengths: Ints, width: int) -> Windows:
    """Cut documents into windows of at most `width` tokens.

    Args:
        document: (text,) the index of each document.
        lengths: (text,) how many tokens it has; tokens come document after document.
        width: tokens per window at most.

    Returns:
        The windows in the order of the texts, and which of them each token is in.
    """
    counts = -(-lengths // width)
    text = np.repeat(np.arange(len(lengths)), lengths)
    rank = _within(lengths)
    number = rank * counts[text] // lengths[text]
    position = rank - first_token(number, lengths[text], width)
    before = np.cumsum(counts) - counts
    return Windows(np.repeat(document, counts), _within(counts), before[text] + number, position)


def first_token(number: Ints, length: Ints, width: int) -> Ints:
    """Return the first token of a document's window; for the number after the last, its length.

    Args:
        number: of the window in its document, from 0.
        length: tokens of the document.
        width: tokens per window at most.
    """
    return -(-number * length // -(-length // width))


def _within(counts: Ints) -> Ints:
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


@dataclass(frozen=True, eq=False)
class WindowCodes:
    """Where latents fire in the windows of one batch; only what is not zero is here.

    Args:
        windows: of the batch.
        peaks: (window, d_sae) float32, largest absolute activation, explicit entries only where
            the latent fires; indices sorted.
        pair: (firing,) for each firing of a latent at a token, its entry in `peaks.data`.
        position: (firing,) the token's place in its window.
        value: (firing,) float32.
    """

    windows: Windows
    peaks: sp.csr_array
    pair: Ints
    position: Ints
    value: Floats


def codes(part: ActivationBatch, dictionary: Dictionary, width: int, work: Work) -> WindowCodes:
    """Encode a batch once, and gather the firings of all latents in its windows.

    Args:
        part: the batch.
        dictionary: encodes it.
        width: tokens per window at most.
        work: counts the encoding.

    Returns:
        The windows, the peak of each latent in each of them, and every firing.
    """
    lengths = part.batch.valid.sum(1).numpy()
    windows = cut(part.batch.rows.numpy(), lengths, width)
    token, latent, value = firings(part, dictionary, work)
    pairs, pair = np.unique(
        windows.of_token[token] * dictionary.d_sae + latent, return_inverse=True
    )
    peaks = np.zeros(len(pairs), np.float32)
    np.maximum.at(peaks, pair, np.abs(value))
    row, column = np.divmod(pairs, dictionary.d_sae)
    shape = (len(windows.document), dictionary.d_sae)
    starts = np.searchsorted(row, np.arange(shape[0] + 1))
    table = sp.csr_array((peaks, column, starts), shape=shape)
    return WindowCodes(windows, table, pair, windows.position[token], value)


def firings(part: ActivationBatch, dictionary: Dictionary, work: Work) -> tuple[Ints, Ints, Floats]:
    """Encode a batch and find all that is not zero, token by token.

    Args:
        part: the batch.
        dictionary: encodes it.
        work: counts the encoding.

    Returns:
        (firing,) index of the valid token, (firing,) latent, (firing,) float32 value.
    """
    found, done = [], 0
    with torch.no_grad():
        for _, z, _ in encoded(part, dictionary, work):
            where = z.nonzero()
            value = z[where[:, 0], where[:, 1]].float().cpu().numpy()
            token, latent = where.cpu().numpy().T
            found.append((token + done, latent, value))
            done += len(z)
    tokens, latents, values = (np.concatenate(column) for column in zip(*found, strict=True))
    return tokens, latents, values


def text_hashes(texts: Sequence[str], seed: int) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Return a hash of each text and whether it belongs to the explaining half.

    Both depend on the seed and the text alone, not on its place.

    Args:
        texts: any.
        seed: of the halves.

    Returns:
        (text,) hashes, and (text,) True in the explaining half.
    """
    digests = [hashlib.sha256(json.dumps([seed, text]).encode()).digest() for text in texts]
    hashes = np.array([int.from_bytes(each[:8], "big") for each in digests], np.uint64)
    return hashes, np.array([each[8] % 2 == 0 for each in digests], np.bool_)


def priorities(hashes: Hashes, index: Ints) -> Hashes:
    """Return a hash of (hash, index) for each of them: windows of a text, latents of a window.

    Args:
        hashes: (n,) of what the indices are in.
        index: (n,) 0 or more.

    Returns:
        (n,).
    """
    return _mixed(hashes ^ _mixed(index.astype(np.uint64) + np.uint64(1)))


def _mixed(x: Hashes) -> Hashes:
    # The finaliser of SplitMix64 (Steele, Lea and Flood 2014); products wrap around by design.
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
