"""Description length of one dictionary's codes, from latents that are encoded already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.moments import Moments, moments
from pytest_sae.activations.segments import add_segments
from pytest_sae.metrics import mdl
from pytest_sae.metrics.codebook import CodeBook, CodeBookSums, symbols
from pytest_sae.numbers.bootstrap import Floats, Resamples, generator, resample
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined


def measure(latents: Latents, texts: Sequence[str], seed: int) -> list[Estimate]:
    """Return mdl, mdl.latents and mdl.residual at every error of `mdl.ERRORS`.

    Not applicable to a dictionary whose latents do not write fixed rows, and to one that writes
    elsewhere than it reads: what it adds to its latents' sum may depend on its input, which
    nobody would have sent.

    Args:
        latents: of the dictionary; the corpus is encoded once for all families.
        texts: the corpus.
        seed: of the bootstrap over texts.
    """
    why_not = _why_not(latents)
    if why_not:
        return [
            not_applicable(name, why_not, {"error": error})
            for error in mdl.ERRORS
            for name in mdl.NAMES
        ]
    mean, covariance = moments(latents.tokens(texts))
    values, _ = _eigen(covariance)
    if values.sum() <= 1e-12 * float(mean.square().sum()):
        reason = "the activations have no variance on this stream"
        return [undefined(n, reason, {"error": e}) for e in mdl.ERRORS for n in mdl.NAMES]
    sent = [_Sent.of(latents, values, mean, error) for error in mdl.ERRORS]
    with torch.no_grad(), latents.store.work.timed("describe"):
        for piece in _pieces(latents, texts):
            for each in sent:
                each.add(piece)
        tables = [_Lengths.of(each, len(texts)) for each in sent]
        for piece in _pieces(latents, texts):
            for table in tables:
                table.add(piece)
    resamples = resample(len(texts), generator(seed, mdl.METRIC))
    return [each for table in tables for each in table.estimates(values, resamples)]


def _why_not(latents: Latents) -> str:
    if latents.dictionary.decoder_rows is None:
        return "the dictionary has no fixed decoder rows"
    return "it reads and writes at different sites" if latents.writes_elsewhere else ""


def _eigen(covariance: Tensor) -> tuple[Floats, Tensor]:
    """Return eigenvalues (d,), none below zero, and eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(covariance)
    return values.clamp_min(0).cpu().numpy(), vectors


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some valid tokens: what was read, and the latents that are not zero, token after token."""

    x: Tensor
    const: Tensor
    starts: Tensor
    latents: Tensor
    values: Tensor
    rows: Tensor  # (token,) each token's text


def _pieces(latents: Latents, texts: Sequence[str]) -> Iterator[_Piece]:
    dictionary = latents.dictionary
    decoder = dictionary.decoder_rows
    assert decoder is not None
    writes = torch.linalg.vector_norm(decoder, dim=1).cpu() > 0
    for part in latents.coded("describing latents", texts):
        assert part.codes is not None
        attended = part.batch.attention.nonzero()
        valid = part.batch.valid[part.batch.attention].nonzero()[:, 0]
        for tokens in valid.split(chunk_tokens(dictionary)):
            token, latent, value = part.codes.entries(tokens)
            kept = writes[latent]  # a latent that writes nothing need not be sent
            counts = torch.bincount(token[kept], minlength=len(tokens))
            text, position = attended[tokens].T
            x = part.x[text, position].to(dictionary.device, dictionary.dtype)
            yield _Piece(
                x,
                dictionary.const(x),
                (counts.cumsum(0) - counts).to(x.device),
                latent[kept].to(x.device),
                value[kept].to(x.device),
                part.batch.rows[text].to(x.device),
            )


class _Sent:
    """A stream as it arrives at one error: the code book, and the moments of what is missing."""

    def __init__(self, decoder: Tensor, mean: Tensor, step: float, error: float) -> None:
        norms = torch.linalg.vector_norm(decoder, dim=1)
        self.decoder, self.error = decoder, error
        # No step is used where nothing is written.
        self.steps = step / torch.where(norms > 0, norms, 1.0)
        self.sums = CodeBookSums(len(decoder))
        self.moments = Moments(torch.zeros_like(mean, device=decoder.device))

    @classmethod
    def of(cls, latents: Latents, spectrum: Floats, mean: Tensor, error: float) -> _Sent:
        decoder = latents.dictionary.decoder_rows
        assert decoder is not None
        return cls(decoder, mean, mdl.step(spectrum, error), error)

    def arrived(self, piece: _Piece) -> tuple[Tensor, Tensor]:
        """Return the symbols of a piece, and the residual (token, d) that its latents leave."""
        marks, values = symbols(piece.values, self.steps[piece.latents].to(piece.values.dtype))
        sums = embedding_bag(
            piece.latents,
            self.decoder,
            piece.starts,
            mode="sum",
            per_sample_weights=values.to(self.decoder.dtype),
        )
        return marks, piece.x - piece.const - sums

    def add(self, piece: _Piece) -> None:
        marks, residual = self.arrived(piece)
        self.sums.update(piece.latents, marks, len(piece.x))
        self.moments.add(residual)


class _Lengths:
    """Bits of each text in the code that the whole stream has given."""

    def __init__(
        self, sent: _Sent, book: CodeBook, spectrum: Floats, axes: Tensor, texts: int
    ) -> None:
        self._sent, self._book, self._spectrum, self._axes = sent, book, spectrum, axes
        shape = (texts, len(spectrum) + 2)
        self._table = torch.zeros(shape, dtype=torch.float64, device=axes.device)

    @classmethod
    def of(cls, sent: _Sent, texts: int) -> _Lengths:
        spectrum, axes = _eigen(sent.moments.covariance)
        return cls(sent, sent.sums.book(), spectrum, axes, texts)

    def add(self, piece: _Piece) -> None:
        marks, residual = self._sent.arrived(piece)
        words, silent = self._book.lengths(piece.latents, marks)
        tokens = len(piece.x)
        ends = torch.cat([piece.starts[1:], piece.starts.new_tensor([len(words)])])
        running = torch.cat([words.new_zeros(1), words.cumsum(0)])
        bits = running[ends] - running[piece.starts] + silent
        about = residual.double() - self._sent.moments.mean
        ones = torch.ones(tokens, 1, dtype=torch.float64, device=bits.device)
        columns = torch.cat([(about @ self._axes).square(), ones, bits[:, None]], dim=1)
        add_segments(self._table, columns, piece.rows)

    def estimates(self, variances: Floats, resamples: Resamples) -> list[Estimate]:
        table, error = self._table.cpu().numpy(), self._sent.error
        described = mdl.DescriptionLength(error, self._book, variances, self._spectrum)
        left = mdl.described_bits(self._spectrum, error * float(variances.sum()), table[:, :-1])
        return mdl.estimates(
            described, np.column_stack([table[:, -1], left]), table[:, -2], resamples
        )
