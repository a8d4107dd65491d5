"""The model's predictions with something else at a site, from cached activations upwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from pytest_sae.activations.store import Tensors, digest
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch

VERSION = "1"  # part of every cache key: raise it when the logits are computed otherwise

T = TypeVar("T")
Replace = Callable[[Tensor, Batch], Tensor]
Reduce = Callable[[Tensor, Batch], Tensor]

LOGIT_BYTES = 256 * 2**20  # of one logits tensor; about six times that is needed in all


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of some texts, clean and with something else at the site; all on one device.

    Args:
        batch: ids, masks and row numbers of these texts.
        clean: (text, pos, vocab) of the untouched model.
        spliced: (text, pos, vocab) with the replaced activations.
    """

    batch: Batch
    clean: Tensor
    spliced: Tensor


def predictions(
    activations: TokenActivations,
    replace: Replace,
    below: Iterable[ActivationBatch] | None = None,
    logit_bytes: int = LOGIT_BYTES,
) -> Iterator[Predictions]:
    """Run only the layers above the site, with its activations and with replaced ones.

    Special tokens and padding keep their activation, whatever `replace` says about them.

    Args:
        activations: at the site that is written.
        replace: (x (text, pos, d), batch) to the activations to put there.
        below: for a site inside a block, the stream before that block (`stream.below`), in the
            same batches; without it the whole model is run for such a site.
        logit_bytes: how large one tensor of logits may be; batches are cut into fewer texts.

    Returns:
        The logits of some texts at a time, clean and with the replacement.
    """
    for part, stream in with_stream(activations, below):
        yield from compare(activations, part, replaced(part, replace), stream, logit_bytes)


def compare(
    activations: TokenActivations,
    part: ActivationBatch,
    new: Tensor,
    stream: Tensor | None = None,
    logit_bytes: int = LOGIT_BYTES,
) -> Iterator[Predictions]:
    """Give the logits of one batch, clean and with other activations at the site.

    Args:
        activations: at the site; names the model.
        part: the batch.
        new: (text, pos, d) to put at the site.
        stream: (text, pos, d) the stream before the site's block, where a splice needs it.
        logit_bytes: how large one tensor of logits may be; the batch is cut into fewer texts.
    """
    pairs = zip(
        _untouched(activations, part, stream, logit_bytes),
        _logits(activations, part, new, stream, logit_bytes),
        strict=True,
    )
    for (batch, clean), (_, spliced) in pairs:
        yield Predictions(batch, clean, spliced)


def replaced(part: ActivationBatch, replace: Replace) -> Tensor:
    """Return what `replace` gives at valid tokens, the activations elsewhere.

    Args:
        part: the batch.
        replace: (x (text, pos, d), batch) to the activations to put there.

    Returns:
        (text, pos, d).
    """
    new = replace(part.x, part.batch).to(part.x)
    return torch.where(part.batch.valid[..., None], new, part.x)


def constant(value: Tensor) -> Replace:
    """Put one vector (d,) in place of every valid token: `site_mean`, or zeros."""
    return lambda x, batch: value.to(x).expand_as(x)


def zeros(x: Tensor, batch: Batch) -> Tensor:
    """Put zeros in place of every valid token.

    Args:
        x: (text, pos, d) activations.
        batch: their tokens; not looked at.

    Returns:
        Zeros of the shape of x; `replaced` puts them at valid tokens alone.
    """
    return torch.zeros_like(x)


def site_mean(activations: TokenActivations) -> Tensor:
    """Return the mean activation (d,) over all valid tokens, float64, cached."""

    def make() -> Tensors:
        total, count = torch.zeros((), dtype=torch.float64), 0
        for part in activations:
            total = total + part.x_valid.double().sum(0)
            count += int(part.batch.valid.sum())
        return {"mean": total / count}

    key = {"step": "site_mean", "code": VERSION, "activations": activations.key}
    return activations.store.get(key, make)["mean"]


def ablated_sums(
    activations: TokenActivations,
    reduce: Reduce,
    version: str,
    below: Iterable[ActivationBatch] | None = None,
) -> Tensors:
    """Return sums per text with the site ablated, which no dictionary changes: cached for all.

    Args:
        activations: at the site.
        reduce: (logits (text, pos, vocab), batch) to sums per text, (text,) or (text, column).
        version: names what `reduce` computes; part of the cache key.
        below: as in `predictions`.

    Returns:
        `mean_ablated` and `zero_ablated`, each shaped as `reduce` does, float64, in the order of
        the texts.
    """

    def make() -> Tensors:
        mean = constant(site_mean(activations))
        found: Tensors = {}
        for part, stream in with_stream(activations, below):
            variants = {"mean_ablated": replaced(part, mean), "zero_ablated": replaced(part, zeros)}
            for name, x in variants.items():
                for batch, logits in _logits(activations, part, x, stream, LOGIT_BYTES):
                    sums = reduce(logits, batch).double().cpu()
                    shape = (len(activations.texts), *sums.shape[1:])
                    whole = found.setdefault(name, torch.zeros(shape, dtype=torch.float64))
                    whole[batch.rows.cpu()] = sums
        return found

    key = {
        "step": "behaviour",
        "code": [VERSION, version],
        "activations": activations.key,
        "full": below is None,
    }
    return activations.store.get(key, make)


def with_stream(
    activations: Iterable[T], below: Iterable[ActivationBatch] | None
) -> Iterator[tuple[T, Tensor | None]]:
    """Give each batch (or pair of batches) with the stream before the site's block.

    Args:
        activations: batches, or pairs of batches.
        below: the stream before the site's block in the same batches, None if it is not needed.

    Returns:
        The batch, and (text, pos, d) or None.
    """
    if below is None:
        yield from ((part, None) for part in activations)
        return
    for part, under in zip(activations, below, strict=True):
        yield part, under.x


def _untouched(
    activations: TokenActivations, part: ActivationBatch, stream: Tensor | None, logit_bytes: int
) -> Iterator[tuple[Batch, Tensor]]:
    """The clean half of a splice, which no dictionary changes: kept for all, where it is small."""
    about = digest(activations.key), stream is None
    model, held = activations.model, activations.store.held
    for some in _slices(part, model, logit_bytes):
        batch = part.batch.take(some).to(model.device)
        key = (*about, *batch.rows.tolist())
        logits = held.get(key)
        if logits is None:
            under = None if stream is None else stream[some]
            logits = model.logits_from(batch, activations.site, part.x[some], under)
            activations.store.work.spliced("replace")
            held.keep(key, logits)
        yield batch, logits


def _slices(part: ActivationBatch, model: LanguageModel, logit_bytes: int) -> Iterator[slice]:
    texts, positions = part.batch.shape
    size = max(1, logit_bytes // (positions * model.vocab * 4))
    yield from (slice(start, start + size) for start in range(0, texts, size))


def _logits(
    activations: TokenActivations,
    part: ActivationBatch,
    x: Tensor,
    stream: Tensor | None,
    logit_bytes: int,
) -> Iterator[tuple[Batch, Tensor]]:
    model = activations.model
    for some in _slices(part, model, logit_bytes):
        batch = part.batch.take(some).to(model.device)
        under = None if stream is None else stream[some]
        yield batch, model.logits_from(batch, activations.site, x[some], under)
        activations.store.work.spliced("replace")
