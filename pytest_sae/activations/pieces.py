"""The parts of a text that its tokens stand for, cut so that joined they are the text again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pytest_sae.models.tokenize import tokenize

Span = tuple[int, int]

_REPLACEMENT = "\ufffd"  # what decoding gives for the bytes of a character that is not complete


def pieces(
    texts: Sequence[str], tokenizer: Any, context: int, prepend_bos: bool
) -> list[tuple[str, ...]]:
    """Return the pieces of each text's valid tokens, in the order of `Batch.valid`.

    A piece reaches from where its token starts to where the next one does, so that white space
    between tokens is not lost. Where tokens share a character (bytes of an emoji), the first of
    them has it and the others have "". Where the tokenizer says nothing usable about offsets,
    pieces are what each token adds to the decoded text.

    Args:
        texts: distinct or not.
        tokenizer: of transformers, fast or slow.
        context: tokens per text at most, as the texts were run.
        prepend_bos: as the texts were run.
    """
    tokens = tokenize(texts, tokenizer, context, prepend_bos)
    found = []
    for text, ids in zip(texts, tokens.ids, strict=True):
        body = ids[tokens.prefix : len(ids) - tokens.suffix]
        spans = _offsets(text, body, tokenizer)
        parts = sliced(text, spans) if spans else decoded(body, tokenizer)
        found.append(
            tuple(
                part
                for part, token in zip(parts, body, strict=False)
                if token not in tokens.special
            )
        )
    return found


def readable(ids: Sequence[int], tokenizer: Any) -> tuple[str, ...]:
    """Return each token by itself as text; its name in the vocabulary where it has no text.

    Args:
        ids: of any tokens.
        tokenizer: of transformers.
    """
    texts = [
        tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for token in ids
    ]
    names = tokenizer.convert_ids_to_tokens(list(ids))
    return tuple(text or str(name) for text, name in zip(texts, names, strict=True))


def sliced(text: str, spans: Sequence[Span]) -> list[str]:
    """Return the slice of the text for each token's span; joined they are the whole text.

    The first token that covers something begins at the text's start, the last reaches to its end.

    Args:
        text: what was tokenized.
        spans: (start, end) of each token in characters, in the order of the tokens.
    """
    leads = [i for i, (start, end) in enumerate(spans) if end > start]
    leads = [i for k, i in enumerate(leads) if k == 0 or spans[i][0] > spans[leads[k - 1]][0]]
    cuts = [0, *(spans[i][0] for i in leads[1:]), len(text)]
    parts = [""] * len(spans)
    for i, (start, end) in zip(leads, pairwise(cuts), strict=False):
        parts[i] = text[start:end]
    return parts


def decoded(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """Return what each token adds to the decoding of those before it.

    Args:
        ids: of a text's own tokens, in their order.
        tokenizer: of transformers.
    """
    parts, before = [], ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(
            list(ids[:end]), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        # A character's first bytes alone are no text yet: it comes with its last byte.
        text = text.rstrip(_REPLACEMENT) if end < len(ids) else text
        grown = text.startswith(before)
        parts.append(text[len(before) :] if grown else "")
        before = text if grown else before
    return parts


def _offsets(text: str, body: list[int], tokenizer: Any) -> list[Span] | None:
    """Return the spans of all the text's tokens, None where they cannot be relied on."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = [(int(start), int(end)) for start, end in encoded["offset_mapping"]]
    if list(encoded["input_ids"])[: len(body)] != body:
        return None
    inside = all(0 <= start <= end <= len(text) for start, end in spans)
    forward = all(a[0] <= b[0] for a, b in pairwise(span for span in spans if span[0] < span[1]))
    covered = any(start < end for start, end in spans)
    return spans if inside and forward and covered else None
