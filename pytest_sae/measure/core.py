"""The `core` family of one dictionary: one encode of the corpus serves every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_sae.activations import behaviour as splicing
from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.pooled import paired
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, below, run
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import DictionaryError
from pytest_sae.measure.given import Given
from pytest_sae.measure.splice_sums import SpliceSums, Unspliced
from pytest_sae.metrics import behaviour, core, weights
from pytest_sae.metrics.token_groups import GROUPS, token_groups
from pytest_sae.models.absent import why_silent
from pytest_sae.numbers.estimate import Estimate

FAR = 3.0  # an L0 off by this factor from the declared k is another dictionary's
_ELSEWHERE = "it reads and writes at different sites, whose directions are not comparable"


def measure(given: Given) -> list[Estimate]:
    """Return reconstruction, sparsity, behaviour and weight figures; see `metrics`.

    What a transcoder reconstructs is compared with, and spliced in place of, the activations at
    the site that it writes. An encoder model predicts no next token: its behaviour figures are
    not applicable.

    Args:
        given: to measure from.
    """
    latents, corpus, seed = given.latents, given.corpus("reconstruction"), given.seed
    sums, behaved = gather(latents, corpus.texts)
    figures = core.finish(sums, seed)
    check_sparsity(latents.dictionary, figures)
    if behaved is None:
        figures += behaviour.without_predictions(why_silent(latents.model))
    else:
        figures += behaviour.finish(behaved, seed)
    return [*figures, *_weights(latents)]


def gather(
    latents: Latents, texts: Sequence[str], make: Callable[..., core.CoreSums] = core.CoreSums
) -> tuple[core.CoreSums, behaviour.BehaviourSums | None]:
    """Return the sums that every figure of a stream is made of, in one pass and one encode.

    Args:
        latents: of the dictionary.
        texts: of the stream.
        make: what adds the sums up.

    Returns:
        Of the stream, and of the model's predictions; None for a model that makes none.
    """
    streams = _Streams.of(latents, texts)
    dictionary = latents.dictionary
    sums = make(
        len(texts),
        dictionary.d_out,
        dictionary.d_sae,
        dictionary.device,
        splicing.site_mean(streams.written),
    )
    predicted = SpliceSums.of(len(texts)) if latents.model.predicts else Unspliced()
    work = latents.store.work
    with torch.no_grad():
        for (part, target), residual in streams.batches(latents):
            part, target = _moved(part, target, dictionary.device)
            with work.timed("reconstruct"):
                new = _reconstruct(part, target, dictionary, sums)
            with work.timed("splice"):
                predicted.add(streams.written, target, new, residual)
    return sums, predicted.sums(streams.written, streams.under)


@dataclass(frozen=True)
class _Streams:
    """The corpus at the sites that are needed, made in one pass of the model.

    Args:
        read: by the dictionary.
        written: what its reconstruction replaces; `read` itself for an autoencoder.
        under: the stream before the written site's block, where a splice needs it.
    """

    read: TokenActivations
    written: TokenActivations
    under: TokenActivations | None

    @classmethod
    def of(cls, latents: Latents, texts: Sequence[str]) -> _Streams:
        read, written = latents.tokens(texts), latents.written(texts)
        under = below(written) if latents.model.predicts else None
        wanted = {each.site: each for each in (read, written, under) if each is not None}
        run(list(wanted.values()))
        return cls(read, written, under)

    def batches(
        self, latents: Latents
    ) -> Iterator[tuple[tuple[ActivationBatch, ActivationBatch], Tensor | None]]:
        """Give each batch as it is read and as it is written, with the stream under it."""
        shown = latents.coded("splicing reconstructions", self.read.texts)
        elsewhere = self.written if latents.reads_apart else None
        return splicing.with_stream(paired(shown, elsewhere), self.under)


def _weights(latents: Latents) -> list[Estimate]:
    dictionary = latents.dictionary
    decoder, encoder = dictionary.decoder_rows, dictionary.encoder_rows
    both = (
        weights.weight_estimates(decoder, None, _ELSEWHERE)
        if latents.writes_elsewhere
        else weights.weight_estimates(decoder, encoder)
    )
    return [*both, weights.encoder_estimate(encoder)]


def check_sparsity(dictionary: Dictionary, figures: list[Estimate]) -> None:
    """Refuse a dictionary that is not nearly as sparse as it declares.

    A TopK checkpoint read as a ReLU, or activations of another scale than in training, give
    plausible numbers; the number of active latents gives them away.

    Args:
        dictionary: what declares it.
        figures: of it, with its `l0`.

    Raises:
        DictionaryError: it declares a k, and several times as many or as few are active.
    """
    k, l0 = dictionary.info.k, next(each.value for each in figures if each.metric == "l0")
    if k is None or l0 is None or k / FAR <= l0 <= k * FAR:
        return
    raise DictionaryError(
        f"{dictionary.info.source} ({dictionary.info.family}) declares k={k}, but {l0:.1f} latents "
        "are active per token on these texts. Expected about as many as declared: was it trained "
        "on another site, another scale of the activations, or saved as another architecture?"
    )


def _moved(
    part: ActivationBatch, target: ActivationBatch, device: torch.device
) -> tuple[ActivationBatch, ActivationBatch]:
    """Return what is read and what is written with their activations on a device, sent once."""
    there = replace(part, x=part.x.to(device))
    return there, there if target is part else replace(target, x=target.x.to(device))


def _reconstruct(
    part: ActivationBatch, target: ActivationBatch, dictionary: Dictionary, sums: core.CoreSums
) -> Tensor:
    """Add a batch to the sums; return (text, pos, d_out) with reconstructions at valid tokens."""
    new = target.x.clone()
    groups = token_groups(part.batch.valid, part.batch.attention)
    for name in GROUPS:
        mask = groups[name]
        if not mask.any():
            continue
        x, places = part.x[mask], part.batch.rows[mask.nonzero()[:, 0]]
        y = x if target is part else target.x[mask]
        pieces = []
        columns = (each.split(chunk_tokens(dictionary)) for each in (x, y, places))
        assert part.codes is not None
        codes = part.codes.dense(mask, dictionary)
        for tokens, wanted, rows, z in zip(*columns, codes, strict=True):
            tokens = tokens.to(dictionary.dtype)
            wanted = tokens if y is x else wanted.to(dictionary.dtype)
            y_hat = _decoded(dictionary, tokens, z)
            sums.update(wanted, y_hat, z, rows.to(dictionary.device), name)
            pieces.append(y_hat.to(y.dtype))
        if name != "special":
            new[mask] = torch.cat(pieces)
    return new


def _decoded(dictionary: Dictionary, x: Tensor, z: Tensor) -> Tensor:
    """Return the reconstruction, from the latents where the decoder is affine.

    That the two ways agree is proven when a dictionary is loaded.
    """
    rows = dictionary.decoder_rows
    if rows is None:
        return dictionary.reconstruct(x)
    return dictionary.const(x) + z.to(rows.dtype) @ rows
