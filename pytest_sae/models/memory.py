"""How much of a batch fits a device: found before, and halved where it was too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_sae.errors import ModelError
from pytest_sae.models.tokenize import TOKENS_PER_BATCH, Batch

if TYPE_CHECKING:
    from pytest_sae.models.model import LanguageModel

_MOST_TOKENS = 16 * TOKENS_PER_BATCH
_SHARE = 1 / 8  # of a GPU's memory that one batch's outputs may take; weights and SAE need the rest
_COPIES = 3  # of the outputs, in float32, that are there at a time


def tokens_per_batch(model: LanguageModel) -> int:
    """Return how many tokens, padding included, a model is given at a time.

    On a GPU as many as its whole memory has room for the outputs of: not the memory that is free,
    so that a card of the same kind makes the same batches, and the same values, every time.

    Args:
        model: where it is loaded to.
    """
    if model.device.type != "cuda":
        return TOKENS_PER_BATCH
    total = torch.cuda.get_device_properties(model.device).total_memory
    outputs = model.vocab if model.predicts else int(model.hf.config.get_text_config().hidden_size)
    fitting = int(_SHARE * total / (4 * _COPIES * outputs))
    rounded: int = 2 ** (max(fitting, 1).bit_length() - 1)
    return min(max(rounded, TOKENS_PER_BATCH), _MOST_TOKENS)


def in_halves(run: Callable[[slice], list[Tensor]], batch: Batch) -> list[Tensor]:
    """Run a batch, in halves where the device has no memory for the whole, and these in theirs.

    Args:
        run: gives tensors (text, ...) for a part of the batch's texts.
        batch: what is run.

    Returns:
        What `run` gives for all of the batch's texts.

    Raises:
        ModelError: there is no memory for a single text.
    """
    return _of(run, batch, 0, batch.shape[0])


def _of(run: Callable[[slice], list[Tensor]], batch: Batch, start: int, stop: int) -> list[Tensor]:
    try:
        return run(slice(start, stop))
    except torch.OutOfMemoryError as error:
        if stop - start == 1:
            raise _too_long(batch, error) from None
    # Outside of the handler, which would keep alive what took the memory.
    middle = (start + stop) // 2
    halves = [_of(run, batch, start, middle), _of(run, batch, middle, stop)]
    return [torch.cat(parts) for parts in zip(*halves, strict=True)]


def _too_long(batch: Batch, error: torch.OutOfMemoryError) -> ModelError:
    told = str(error).split("\n")[0]
    return ModelError(
        f"no memory for the model and one text of {batch.shape[1]} tokens on its device ({told}). "
        "Expected room for that: use --sae-model-dtype=bfloat16, a GPU that nothing else uses, or "
        "a suite with a shorter context"
    )
