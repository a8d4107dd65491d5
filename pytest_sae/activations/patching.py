"""Prompts with the activation at one place exchanged: only the layers above the site run.

rows_at(parts, places) -> (text, d)
places_of(texts, words, tokenizer, prepend_bos) -> positions     next_tokens(prompts, answers, ...)
Prompts.of(stream, places)         .rows (text, d)         .logits(texts, rows) -> (n, vocab)
PatchedCodes(dictionary, read)            .exchanged(base, source, mask) -> (n, d_out)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_sae.activations.codes import entries
from pytest_sae.activations.steering import activations
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import DataError
from pytest_sae.models.tokenize import Batch, tokenize

_WHOLE = 2**20  # tokens: more than any prompt has


def rows_at(parts: Iterable[ActivationBatch], places: Sequence[int]) -> Tensor:
    """Return the activation of each text at its place, in the order of the texts.

    Args:
        parts: batches that together have every text once.
        places: (text,) a position in each text.

    Returns:
        (text, d).
    """
    found: dict[int, Tensor] = {}
    for part in parts:
        for text, x in zip(part.batch.rows.tolist(), part.x, strict=True):
            found[text] = x[places[text]]
    return torch.stack([found[text] for text in range(len(places))])


def places_of(
    texts: Sequence[str], words: Sequence[str] | None, tokenizer: Any, prepend_bos: bool
) -> list[int | None]:
    """Return a position in each text, BOS counted: its last token, or that of a word in it.

    None where no token ends with the word: it does not occur, or is merged with what follows.

    Args:
        texts: any number.
        words: for each text, the word whose last occurrence is meant; None means the text's end.
        tokenizer: of transformers.
        prepend_bos: as the texts are run.
    """
    whole = tokenize(texts, tokenizer, _WHOLE, prepend_bos).ids
    if words is None:
        return [len(ids) - 1 for ids in whole]
    ends = [text.rfind(word) + len(word) for text, word in zip(texts, words, strict=True)]
    cut = [text[: max(end, 1)] for text, end in zip(texts, ends, strict=True)]
    parts = tokenize(cut, tokenizer, _WHOLE, prepend_bos).ids
    return [
        len(part) - 1 if end >= len(word) and ids[: len(part)] == part else None
        for ids, part, end, word in zip(whole, parts, ends, words, strict=True)
    ]


def next_tokens(prompts: Sequence[str], answers: Sequence[str], tokenizer: Any) -> list[int | None]:
    """Return the first token of each answer behind its prompt.

    A space stands between them unless the prompt ends in one, or in an opening quote or bracket.
    None where the tokenizer joins the two, so that no token begins with the answer.

    Args:
        prompts: texts.
        answers: what should follow each of them.
        tokenizer: of transformers.
    """
    pairs = list(zip(prompts, answers, strict=True))
    joined = [prompt + _joint(prompt) + answer for prompt, answer in pairs]
    found: list[int | None] = []
    for before, both in zip(_bodies(prompts, tokenizer), _bodies(joined, tokenizer), strict=True):
        parted = both[: len(before)] == before and len(both) > len(before)
        found.append(both[len(before)] if parted else None)
    return found


@dataclass(frozen=True, eq=False)
class Prompts:
    """Texts at a site, each with one place whose activation can be exchanged.

    Args:
        stream: of the texts, at the site that is written.
        places: (text,) long, position in each text, BOS counted.
        ids: per text (pos,) long.
        x: per text (pos, d), its activations, where the model is.
        under: per text (pos, d_model), the stream below the site's block, where that is needed.
    """

    stream: TokenActivations
    places: Tensor
    ids: list[Tensor]
    x: list[Tensor]
    under: list[Tensor] | None

    @classmethod
    def of(cls, stream: TokenActivations, places: Sequence[int]) -> Prompts:
        """Return the prompts of a stream, its texts run once (or read from the cache).

        Raises:
            DataError: a place outside its text, which the context may have cut.
        """
        ids: dict[int, Tensor] = {}
        x: dict[int, Tensor] = {}
        under: dict[int, Tensor] = {}
        device = stream.model.device
        for part, residual in activations(stream):
            here = part.x.to(device)
            below = None if residual is None else residual.to(device)
            lengths = part.batch.attention.sum(1).tolist()
            for row, (text, length) in enumerate(
                zip(part.batch.rows.tolist(), lengths, strict=True)
            ):
                if places[text] >= length:
                    raise DataError(
                        f"{stream.texts[text][:60]!r} is cut to {length} tokens. Expected at "
                        f"least {places[text] + 1}: shorten it, or take a suite with more context."
                    )
                ids[text], x[text] = part.batch.ids[row, :length], here[row, :length]
                if below is not None:
                    under[text] = below[row, :length]
        order = range(len(stream.texts))
        return cls(
            stream,
            torch.tensor(list(places)),
            [ids[text] for text in order],
            [x[text] for text in order],
            [under[text] for text in order] if under else None,
        )

    @property
    def rows(self) -> Tensor:
        """(text, d): the activations at the places."""
        return torch.stack([x[place] for x, place in zip(self.x, self.places, strict=True)])

    def logits(self, texts: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the logits (n, vocab) of the token after each text, with rows in place.

        Args:
            texts: (n,) long, indices, repeated as often as wanted; one batch.
            rows: (n, d) what stands at their places; gradients flow to them. None: clean.
        """
        model, site = self.stream.model, self.stream.site
        batch, x = self._batch(texts)
        if rows is not None:
            at = (torch.arange(len(texts)), self.places[texts])
            x = x.index_put(at, rows.to(x))
        under = None if self.under is None else _padded([self.under[t] for t in texts.tolist()])
        logits = model.next_logits_from(batch, site, x, under).float()
        self.stream.store.work.spliced("patch")
        return logits

    def _batch(self, texts: Tensor) -> tuple[Batch, Tensor]:
        chosen = texts.tolist()
        lengths = torch.tensor([len(self.ids[text]) for text in chosen])
        attention = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = _padded([self.ids[text] for text in chosen])
        return Batch(ids, attention, attention, texts), _padded([self.x[t] for t in chosen])


class PatchedCodes:
    """What a dictionary makes of some activations, and what exchanging latents between them does.

    Args:
        dictionary: encodes.
        read: (row, d_in) at the site that it reads.
    """

    def __init__(self, dictionary: Dictionary, read: Tensor) -> None:
        self._dictionary = dictionary
        self._x = read.to(dictionary.device, dictionary.dtype)
        row, latent, value = _encoded(self._x, dictionary)
        self.latents, column = latent.unique(return_inverse=True)
        self.z = value.new_zeros(len(read), len(self.latents)).index_put_((row, column), value)

    def exchanged(self, base: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Return (n, d_out), what turns base rows into ones with the source's value of latents.

        `contribution(m * z_source) - contribution(m * z_base)`: the dictionary's error at the base
        stays. Linear in the mask where the decoder is affine; gradients flow to it.

        Args:
            base: (n,) long, indices of rows.
            source: (n,) long.
            mask: (J,) or (n, J) over `latents`, 1 where the source's value is taken.
        """
        rows = self._dictionary.decoder_rows
        mask = mask.to(self._x)
        if rows is not None:
            return ((self.z[source] - self.z[base]) * mask) @ rows.detach()[self.latents]
        return self._written(source, mask) - self._written(base, mask)

    def _written(self, texts: Tensor, mask: Tensor) -> Tensor:
        z = self.z.new_zeros(len(texts), self._dictionary.d_sae)
        z = z.index_copy(1, self.latents, self.z[texts] * mask)
        return self._dictionary.contribution(self._x[texts], z, self.latents)


def _encoded(x: Tensor, dictionary: Dictionary) -> tuple[Tensor, Tensor, Tensor]:
    """Return (row, latent, value) of what is not zero: of a wide dictionary little is."""
    parts, first = [], 0
    for piece, counts, latent, value in entries(x, dictionary):
        row = torch.arange(first, first + len(piece)).repeat_interleave(counts)
        parts.append((row, latent.long(), value))
        first += len(piece)
    row, latent, value = (torch.cat(each).to(x.device) for each in zip(*parts, strict=True))
    return row, latent, value


def _joint(prompt: str) -> str:
    return "" if prompt[-1:].isspace() or prompt.endswith(('"', "(", "[", "“")) else " "


def _bodies(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    return [list(ids) for ids in encoded["input_ids"]]


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
