"""From texts to batches of token ids: a pure function of texts, tokenizer and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from pytest_sae.errors import DataError, ModelError

T = TypeVar("T")

TOKENS_PER_BATCH = 4096  # padding included, where nothing says that a device has room for more
VERSION = "2"  # part of every cache key: raise it when the same texts give other batches

_TEXTS_PER_CALL = 1024  # bounds what the tokenizer holds at once


@dataclass(frozen=True)
class Tokens:
    """Token ids of a sequence of texts, not padded.

    Args:
        ids: one list per text: the prefix, the text's own tokens cut at the context, the suffix.
        prefix: how many ids at the start of every text are BOS or other tokens put there by the
            tokenizer; they are never valid.
        special: ids that are never valid wherever they stand (BOS, EOS, PAD).
        pad: what fills the rest of a row; any id will do, since the attention mask hides it.
        suffix: how many ids at the end of every text are an encoder's SEP; never valid either.
    """

    ids: list[list[int]]
    prefix: int
    special: frozenset[int]
    pad: int
    suffix: int = 0


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts padded on the right to the longest of them.

    Args:
        ids: (text, pos) long.
        attention: (text, pos) bool, False at padding.
        valid: (text, pos) bool, False at BOS, EOS, CLS, SEP and padding.
        rows: (text,) long, index of each text in the sequence that was given.
    """

    ids: Tensor
    attention: Tensor
    valid: Tensor
    rows: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Texts and positions."""
        return self.ids.shape[0], self.ids.shape[1]

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        return Batch(
            self.ids.to(device),
            self.attention.to(device),
            self.valid.to(device),
            self.rows.to(device),
        )

    def only(self, texts: Tensor) -> Batch:
        """Return the same batch with no valid token in texts that are not kept, (text,) bool."""
        return Batch(self.ids, self.attention, self.valid & texts[:, None], self.rows)

    def take(self, texts: slice) -> Batch:
        """Return some of the batch's texts, still padded to the same length."""
        return Batch(self.ids[texts], self.attention[texts], self.valid[texts], self.rows[texts])


def tokenize(texts: Sequence[str], tokenizer: Any, context: int, prepend_bos: bool) -> Tokens:
    """Return the token ids of each text, cut to `context` with BOS kept.

    What the tokenizer puts before a text stays; BOS is added if it lacks one and removed if it is
    not wanted. What it appends (an EOS) is left out: in a causal model that changes no other
    token's activation, and it would take the place of a real token at the cut. An encoder's
    tokenizer, which has a MASK, frames a text as it does itself: CLS and SEP are what the model
    knows, whatever `prepend_bos` says.

    Args:
        texts: any length, any number.
        tokenizer: of transformers; PAD may be EOS, UNK or absent.
        context: tokens per text at most, BOS, CLS and SEP included.
        prepend_bos: whether every text begins with BOS; EOS stands in where there is no BOS.

    Raises:
        DataError: a text has no token that is valid; the message names it.
        ModelError: BOS is wanted and the tokenizer has neither BOS nor EOS.
    """
    bodies = [body for part in _parts(texts) for body in _bodies(part, tokenizer)]
    prefix, suffix = _frame(texts, bodies, tokenizer, prepend_bos)
    room = context - len(prefix) - len(suffix)
    if room < 1:
        raise DataError(
            f"a context of {context} leaves no room for text: use {context - room + 1}+"
        )
    special = _special_ids(tokenizer)
    bodies = [body[:room] for body in bodies]
    _require_valid(texts, bodies, special)
    ids = [prefix + body + suffix for body in bodies]
    return Tokens(ids, len(prefix), special, tokenizer.pad_token_id or 0, len(suffix))


def tokenize_ends(texts: Sequence[str], tokenizer: Any, context: int, prepend_bos: bool) -> Tokens:
    """Return the token ids of each text, cut to `context` from the left: its end is kept.

    Args:
        texts: any length, any number.
        tokenizer: of transformers.
        context: tokens per text at most, BOS, CLS and SEP included.
        prepend_bos: as in `tokenize`.

    Raises:
        DataError, ModelError: as `tokenize`.
    """
    bodies = [body for part in _parts(texts) for body in _bodies(part, tokenizer)]
    _require_valid(texts, bodies, _special_ids(tokenizer))
    return framed(bodies, tokenizer, context, prepend_bos)


def framed(bodies: Sequence[list[int]], tokenizer: Any, context: int, prepend_bos: bool) -> Tokens:
    """Put what stands around every text (BOS, CLS, SEP) around token ids, cut from the left.

    Args:
        bodies: token ids without special tokens.
        tokenizer: of transformers.
        context: tokens at most, special ones included.
        prepend_bos: as in `tokenize`.

    Returns:
        The framed ids, a list for each body.
    """
    prefix, suffix = _frame(["a"], _bodies(["a"], tokenizer), tokenizer, prepend_bos)
    room = context - len(prefix) - len(suffix)
    if room < 1:
        raise DataError(f"a context of {context} leaves no room for text: use more")
    ids = [prefix + body[-room:] + suffix for body in bodies]
    special = _special_ids(tokenizer)
    return Tokens(ids, len(prefix), special, tokenizer.pad_token_id or 0, len(suffix))


def padded(tokens: Tokens, tokens_per_batch: int = TOKENS_PER_BATCH) -> list[Batch]:
    """Return token ids in batches of similar length, as `batches` does for texts.

    Args:
        tokens: of some texts.
        tokens_per_batch: padding included; a longer text has its own batch.
    """
    sizes = [len(ids) for ids in tokens.ids]
    order = sorted(range(len(sizes)), key=lambda place: (sizes[place], place))
    return [_pad(tokens, each) for each in grouped(order, sizes.__getitem__, tokens_per_batch)]


def batches(
    texts: Sequence[str],
    tokenizer: Any,
    context: int,
    prepend_bos: bool,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Batch]:
    """Return the texts in batches of similar length, each text once, shortest first.

    Deterministic: sorted by length, then by index; a batch is closed when one more text would
    make it larger than `tokens_per_batch`, padding included (a longer text has its own batch).

    Args:
        texts: any length, any number.
        tokenizer: of transformers.
        context: tokens per text at most, BOS, CLS and SEP included.
        prepend_bos: as in `tokenize`.
        tokens_per_batch: padding included.

    Raises:
        DataError, ModelError: as `tokenize`.
    """
    tokens = tokenize(texts, tokenizer, context, prepend_bos)
    return padded(tokens, tokens_per_batch)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _TEXTS_PER_CALL):
        yield list(texts[start : start + _TEXTS_PER_CALL])


def _bodies(texts: list[str], tokenizer: Any) -> list[list[int]]:
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    return list(encoded["input_ids"])


def _frame(
    texts: Sequence[str], bodies: list[list[int]], tokenizer: Any, prepend_bos: bool
) -> tuple[list[int], list[int]]:
    """What stands before and after every text."""
    before, after = _own_frame(texts, bodies, tokenizer)
    if _is_encoders(tokenizer):
        return before, after
    bos = tokenizer.bos_token_id
    if not prepend_bos:
        return [token for token in before if token != bos], []
    if bos is None:
        bos = tokenizer.eos_token_id
    if bos is None:
        raise ModelError(
            f"{type(tokenizer).__name__} has neither a BOS nor an EOS token, but texts should "
            "begin with BOS: set prepend_bos to false, as the SAE was trained"
        )
    return before if bos in before else [bos, *before], []


def _own_frame(
    texts: Sequence[str], bodies: list[list[int]], tokenizer: Any
) -> tuple[list[int], list[int]]:
    """What the tokenizer itself puts before and after a text."""
    example = next((text for text, body in zip(texts, bodies, strict=True) if body), None)
    if example is None:
        return [], []
    encoded = tokenizer(example, return_special_tokens_mask=True, verbose=False)
    ids, mask = list(encoded["input_ids"]), [*encoded["special_tokens_mask"], 0]
    before = mask.index(0)
    after = mask[-2::-1].index(0) if 0 in mask[:-1] else 0
    return ids[:before], ids[len(ids) - after :]


def _is_encoders(tokenizer: Any) -> bool:
    return tokenizer.mask_token_id is not None


def _special_ids(tokenizer: Any) -> frozenset[int]:
    # A PAD that is UNK marks unknown words of the text too; there only the mask tells padding.
    pad = tokenizer.pad_token_id
    pad = None if pad == tokenizer.unk_token_id else pad
    ids = [tokenizer.bos_token_id, tokenizer.eos_token_id, pad]
    if _is_encoders(tokenizer):
        ids += [tokenizer.cls_token_id, tokenizer.sep_token_id]
    return frozenset(token for token in ids if token is not None)


def _require_valid(texts: Sequence[str], bodies: list[list[int]], special: frozenset[int]) -> None:
    for index, body in enumerate(bodies):
        if special.issuperset(body):
            raise DataError(
                f"text {index} ({texts[index][:60]!r}) has no token besides BOS, EOS and padding: "
                "remove it from the task"
            )


def grouped(items: Iterable[T], length: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Give items in their order, together as long as they fit.

    Args:
        items: texts, or whatever stands for them.
        length: of an item, in tokens.
        most: tokens of a group with its padding, unless a single item has more.
    """
    group: list[T] = []
    longest = 0
    for item in items:
        longest = max(longest, length(item))
        if group and (len(group) + 1) * longest > most:
            yield group
            group, longest = [], length(item)
        group.append(item)
    if group:
        yield group


def _pad(tokens: Tokens, group: list[int]) -> Batch:
    lengths = torch.tensor([len(tokens.ids[index]) for index in group])
    longest = int(lengths.max())
    rows = [tokens.ids[index] for index in group]
    ids = torch.tensor([row + [tokens.pad] * (longest - len(row)) for row in rows])
    attention = torch.arange(longest) < lengths[:, None]
    valid = attention & ~torch.isin(ids, torch.tensor(sorted(tokens.special), dtype=torch.long))
    valid[:, : tokens.prefix] = False
    return Batch(ids, attention, valid, torch.tensor(group))
