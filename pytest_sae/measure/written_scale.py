"""How strongly a dictionary writes, against how strongly it should, on held-out texts.

measure(latents, texts, seed) -> WrittenScale
gather(latents, texts) -> ScaleSums
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.pooled import paired
from pytest_sae.activations.stream import ActivationBatch, run
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.metrics.written_scale import ScaleSums, WrittenScale, finish


def measure(latents: Latents, texts: Sequence[str], seed: int) -> WrittenScale:
    """Return the factor by which what the latents write fits the activations best.

    Over the valid tokens but the first of each text, which many models give a norm of its own.
    Nothing is encoded that another family has encoded.

    Args:
        latents: of the dictionary.
        texts: held out, each once.
        seed: of the bootstrap.
    """
    return finish(gather(latents, texts), seed)


def gather(latents: Latents, texts: Sequence[str]) -> ScaleSums:
    """Return the sums behind the factor.

    Args:
        latents: of the dictionary.
        texts: held out, each once.
    """
    dictionary, elsewhere = latents.dictionary, latents.written_elsewhere(texts)
    stream = latents.tokens(texts)
    run([stream] if elsewhere is None else [stream, elsewhere])
    sums = ScaleSums(len(texts), dictionary.d_out, dictionary.device)
    with torch.no_grad(), latents.store.work.timed("written scale"):
        for part, target in paired(latents.coded("scaling what is written", texts), elsewhere):
            _add(sums, part, target, dictionary)
    return sums


def _add(
    sums: ScaleSums, part: ActivationBatch, target: ActivationBatch, dictionary: Dictionary
) -> None:
    mask = part.batch.valid & (part.batch.valid.cumsum(1) > 1)
    if not mask.any():
        return
    assert part.codes is not None
    columns = (
        each.split(chunk_tokens(dictionary))
        for each in (part.x[mask], target.x[mask], part.batch.rows[mask.nonzero()[:, 0]])
    )
    codes = part.codes.dense(mask, dictionary)
    for tokens, wanted, rows, z in zip(*columns, codes, strict=True):
        x = tokens.to(dictionary.device, dictionary.dtype)
        sums.update(
            wanted.to(dictionary.device), _written(dictionary, x, z), rows.to(dictionary.device)
        )


def _written(dictionary: Dictionary, x: Tensor, z: Tensor) -> Tensor:
    rows = dictionary.decoder_rows
    if rows is None:
        return dictionary.reconstruct(x) - dictionary.const(x)
    return z.to(rows.dtype) @ rows
