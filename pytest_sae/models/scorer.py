"""How surprising a text is to a causal language model after a prefix, for many pairs at once.

    losses(model, [(prefix, text), ...]) -> (pair,) mean loss per token of the text, nats

Prefix and text are tokenized apart and then joined, so that whatever the prefix the loss is over
the very same tokens, and losses after two prefixes can be subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pytest_sae.errors import DataError, ModelError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch, grouped
from pytest_sae.numbers.bootstrap import Floats

_LOGITS = 2**25  # held at once: 128 MiB in float32, whatever the vocabulary

Pair = tuple[str, str]


@dataclass(frozen=True, order=True)
class _Row:
    """Ids of BOS, prefix and text; the text begins at `start`. Sorts by length."""

    length: int
    start: int
    ids: tuple[int, ...]


def losses(model: LanguageModel, pairs: Sequence[Pair]) -> Floats:
    """Return the mean loss of each text's tokens, given what stands before it.

    Equal pairs are run once; batches depend on the set of pairs alone, not on their order.

    Args:
        model: any causal language model with its tokenizer.
        pairs: prefix and text; BOS (EOS where there is none) is put in front.

    Returns:
        (pair,) in nats per token, lower where the prefix makes the text less surprising.

    Raises:
        DataError: a text without any token.
        ModelError: prefix and text together are longer than the model's context.
    """
    rows = _rows(model, pairs)
    found: dict[_Row, float] = {}
    for batch in grouped(sorted(set(rows)), lambda row: row.length, max(1, _LOGITS // model.vocab)):
        found.update(zip(batch, _run(model, batch), strict=True))
    return np.array([found[row] for row in rows])


def _rows(model: LanguageModel, pairs: Sequence[Pair]) -> list[_Row]:
    distinct = sorted({part for pair in pairs for part in pair})
    ids = dict(zip(distinct, _tokenized(model, distinct), strict=True))
    begin = _begin(model)
    rows = []
    for prefix, text in pairs:
        before = (*begin, *ids[prefix])
        _check(model, before, ids[text], text)
        rows.append(_Row(len(before) + len(ids[text]), len(before), (*before, *ids[text])))
    return rows


def _tokenized(model: LanguageModel, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    encoded = model.tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    return list(encoded["input_ids"])


def _begin(model: LanguageModel) -> tuple[int, ...]:
    tokenizer = model.tokenizer
    found = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return () if found is None else (found,)


def _check(model: LanguageModel, before: Sequence[int], text: Sequence[int], words: str) -> None:
    if not text:
        raise DataError(f"the scorer {model.name} makes no token of the context {words[:60]!r}")
    if not before:
        raise ModelError(
            f"the scorer {model.name} has neither BOS nor EOS, so that nothing stands before a "
            "text without prefix: pick another scorer model"
        )
    limit = getattr(model.hf.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and len(before) + len(text) > limit:
        raise ModelError(
            f"an explanation of {len(before)} tokens and a context of {len(text)} do not fit into "
            f"the {limit} positions of the scorer {model.name}: pick one with a longer context"
        )


def _run(model: LanguageModel, rows: Sequence[_Row]) -> list[float]:
    lengths = torch.tensor([row.length for row in rows])
    starts = torch.tensor([row.start for row in rows])
    place = torch.arange(int(lengths.max()))
    attention = place < lengths[:, None]
    ids = torch.zeros(attention.shape, dtype=torch.long)
    ids[attention] = torch.tensor([token for row in rows for token in row.ids])
    logits = model.logits(Batch(ids, attention, attention, torch.arange(len(rows))))
    per_token = _losses(logits, ids)
    counted = (attention & (place >= starts[:, None]))[:, 1:]
    means = (per_token * counted).sum(1) / counted.sum(1)
    return [float(mean) for mean in means]


def _losses(logits: Tensor, ids: Tensor) -> Tensor:
    """(text, pos, vocab) and (text, pos) to the loss of each token but the first, float64."""
    ahead = logits[:, :-1].float().flatten(0, 1)
    found = cross_entropy(ahead, ids[:, 1:].flatten().to(ahead.device), reduction="none")
    return found.double().cpu().reshape(ids.shape[0], -1)
