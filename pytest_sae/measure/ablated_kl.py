"""What ablating latents does to the model's output, on a few texts.

ablated_kl(latents, corpus, most, sets) -> (set,) nats per token
why_not(latents) -> reason, empty if it can be done
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations import behaviour as splicing
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.pooled import encoded, paired
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, below, run
from pytest_sae.metrics import behaviour
from pytest_sae.models.absent import why_silent
from pytest_sae.numbers.bootstrap import Floats


def why_not(latents: Latents) -> str:
    """Return why there is no output to compare, empty if there is one."""
    return "" if latents.model.predicts else why_silent(latents.model)


def ablated_kl(
    latents: Latents, corpus: Sequence[str], most: int, sets: Sequence[NDArray[np.int64]]
) -> Floats:
    """Return KL(untouched || ablated) of the next token, mean over predictions, per set of latents.

    On a few of the held-out texts, which are run and encoded for other figures anyway.

    Args:
        latents: of the dictionary, on a model that predicts.
        corpus: distinct texts.
        most: how many of them are run on, those that are batched first.
        sets: latent indices.

    Returns:
        (set,) nats per token.
    """
    read, written = latents.tokens(corpus), latents.written(corpus)
    under = below(written)
    run(list({each.site: each for each in (read, written, under) if each is not None}.values()))
    coded = latents.coded("ablating latents", corpus)
    parts = paired(coded, written if latents.reads_apart else None)
    wanted = [torch.from_numpy(each) for each in sets]
    total, tokens, left = np.zeros(len(sets)), 0, most
    with torch.no_grad(), latents.store.work.timed("splice"):
        for (part, target), stream in splicing.with_stream(parts, under):
            # To the end, though few are run on: a pass that is broken off is not kept.
            few = slice(0, max(0, left))
            left -= len(target.batch.rows)
            if few.stop == 0:
                continue
            there = replace(target, x=target.x.to(latents.dictionary.device))
            some = ActivationBatch(target.batch.take(few), there.x[few])
            tokens += int(behaviour.predictions(some.batch.valid).sum())
            for place, new in enumerate(_ablated(latents, part, there, wanted)):
                total[place] += _kl(
                    written, some, new[few], None if stream is None else stream[few]
                )
    return total / max(tokens, 1)


def _ablated(
    latents: Latents, part: ActivationBatch, target: ActivationBatch, sets: Sequence[Tensor]
) -> Iterator[Tensor]:
    """Per set, (text, pos, d_out): the batch without what the set contributes."""
    dictionary = latents.dictionary
    gone: list[list[Tensor]] = [[] for _ in sets]
    # Piece by piece: the dense latents of a whole batch are more than memory has room for.
    for x, z, _ in encoded(part, dictionary, latents.store.work):
        for pieces, wanted in zip(gone, sets, strict=True):
            pieces.append(dictionary.contribution(x, z, wanted.to(dictionary.device)))
    for pieces in gone:
        new = target.x.clone()
        new[target.batch.valid] -= torch.cat(pieces).to(new.dtype)
        yield new


def _kl(
    written: TokenActivations, target: ActivationBatch, new: Tensor, stream: Tensor | None
) -> float:
    total = 0.0
    for seen in splicing.compare(written, target, new, stream):
        mask = behaviour.predictions(seen.batch.valid)
        total += float(behaviour.kl(seen.clean, seen.spliced, mask).sum())
    return total
