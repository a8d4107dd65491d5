"""Activations that were recorded: evaluating a dictionary without the model.

A recording is a directory of three kinds of files (docs/activations.md has it as a table):

- `activations.json`: format and version, the model (name, fingerprint), the site (`hook_name` as
  an SAE declares it, `d`, `module`, `reads`), `written` (the same of the site that a transcoder
  writes to, or null), `dtype`, `context`, `prepend_bos`, `texts` (sha256 and count of the next
  file), and `shards` (file, sha256, bytes and tokens of each).
- `texts.jsonl`: one object a line: `text`, `part` (which texts it was run together with; may be
  left out) and `pieces` (the part of the text that each valid token stands for; without them
  nothing can be shown to a judge, except where a text has one token).
- shards, safetensors: `x` (token, d); `text` (token,) line number in texts.jsonl from 0;
  `position` (token,), rising within a text; `valid` (token,) bool, False at BOS, EOS and padding;
  `y` (token, d) at the written site; and, if recorded, `token` (token,) ids. The tokens of a text
  stand together in one shard; integers are int32 or int64. One vector per text (an embedding) is
  one valid token per text.

`pytest-sae record` and `recorder.record` write it, for embeddings `recorder.record_vectors`.
Everything is checked when it is opened, hashes too; afterwards one shard is read at a time.

    Recording.open(directory)      recording.stream(texts, store) -> RecordedActivations
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pytest_sae.activations.manifest import (
    ABOUT,
    About,
    RecordedSite,
    RecordedText,
    VectorsFile,
    damaged,
    read_about,
    read_texts,
    require_hash,
)
from pytest_sae.activations.recorder import Recorder, record, record_vectors
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, fingerprint
from pytest_sae.dictionaries.containers.safetensors_file import read_safetensors
from pytest_sae.errors import DataError, DictionaryError
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.site import OUTSIDE, Site
from pytest_sae.models.tokenize import Batch, grouped

__all__ = ["RecordedActivations", "Recorder", "Recording", "record", "record_vectors"]

VERSION = "1"  # part of the key: raise it when the same recording gives other batches

Ints = NDArray[np.int64]
Rows = dict[str, Tensor]
Column = Literal["x", "y"]

_INTEGERS = (torch.int32, torch.int64)
_ROWS = 8192  # vectors that are looked at together for NaN


@dataclass(frozen=True, eq=False)
class _Places:
    """For each line of texts.jsonl: where its tokens stand."""

    shard: Ints
    start: Ints
    length: Ints


@dataclass(frozen=True, eq=False)
class Recording:
    """An opened recording, checked as a whole.

    Args:
        directory: where it is.
        about: its `activations.json`.
        fingerprint: sha256 of it, and through its hashes of everything else.
        lines: its texts.
    """

    directory: Path
    about: About
    fingerprint: str
    lines: Sequence[RecordedText]
    places: _Places = field(repr=False)

    @classmethod
    def open(cls, directory: Path | str) -> Recording:
        """Read the lists and check every file.

        Raises:
            DataError: a file that is missing, changed or not of the form above.
        """
        directory = Path(directory)
        about, name = read_about(directory)
        lines = read_texts(directory, about)
        return cls(directory, about, name, lines, _check_shards(directory, about, lines))

    @property
    def texts(self) -> tuple[str, ...]:
        """The distinct texts of the part `corpus`, or of all parts where there is none such."""
        part = [each.text for each in self.lines if each.part == "corpus"]
        return tuple(dict.fromkeys(part or (each.text for each in self.lines)))

    @cached_property
    def model(self) -> AbsentModel:
        """The model that was run, which is not here."""
        return AbsentModel(self.about.model.name, self.about.model.fingerprint or "")

    @cached_property
    def site(self) -> Site:
        """Where `x` was read."""
        return _site(self.about.site)

    @cached_property
    def written_site(self) -> Site:
        """Where `y` was read; `site` itself where there is none."""
        return _site(self.about.written) if self.about.written else self.site

    @property
    def shows(self) -> bool:
        """Whether every text can be shown token by token."""
        tokens = self.places.length
        return all(
            each.pieces is not None or tokens[number] == 1 for number, each in enumerate(self.lines)
        )

    def has(self, texts: Sequence[str]) -> bool:
        """Whether all of the texts were recorded."""
        return all(any(text in part for part in self._parts.values()) for text in texts)

    def stream(
        self, texts: Sequence[str], store: Store, column: Column = "x"
    ) -> RecordedActivations:
        """Return the activations of distinct texts, found by content.

        Args:
            texts: all of them recorded; best all in one part.
            store: counts the work and keeps what is computed from them.
            column: `x`, or `y` for the written site.

        Raises:
            DataError: texts that were not recorded, or no written site.
        """
        if column == "y" and self.about.written is None:
            raise DataError(
                f"{self.directory} has no activations of a written site. Expected them for a "
                "transcoder: record again with --written=NAME."
            )
        return RecordedActivations(
            model=self.model,
            site=self.site if column == "x" else self.written_site,
            texts=tuple(texts),
            context=self.about.context or 0,
            prepend_bos=bool(self.about.prepend_bos),
            store=store,
            recording=self,
            lines=self.lines_of(texts),
            column=column,
        )

    def lines_of(self, texts: Sequence[str]) -> Ints:
        """Return the line of each text: in the first part that has them all, else where it is.

        Raises:
            DataError: texts that were not recorded: how many, and one of them.
        """
        whole = [part for part in self._parts.values() if all(text in part for text in texts)]
        known = whole[0] if whole else self._anywhere
        missing = [text for text in texts if text not in known]
        if missing:
            raise DataError(
                f"{self.directory} lacks {len(missing)} of {len(texts)} texts, such as "
                f"{missing[0][:60]!r}. Expected every text of the run: record with the same data, "
                "suite and seed (pytest-sae record)."
            )
        return np.array([known[text] for text in texts], np.int64)

    @cached_property
    def _parts(self) -> dict[str, dict[str, int]]:
        parts: dict[str, dict[str, int]] = {}
        for number, each in enumerate(self.lines):
            parts.setdefault(each.part, {})[each.text] = number
        return parts

    @cached_property
    def _anywhere(self) -> dict[str, int]:
        backwards = reversed(self._parts.values())
        return {text: number for part in backwards for text, number in part.items()}


@dataclass(eq=False, kw_only=True)
class RecordedActivations(TokenActivations):
    """The recorded activations of texts; iterate as often as needed.

    Batches come in the order of the files and are closed as those of a run with the model are:
    what `record` wrote comes back in the batches that the model saw.

    Args:
        recording: that holds them.
        lines: (text,) the lines of `texts`.
        column: `x` or `y`.
    """

    recording: Recording
    lines: Ints
    column: Column = "x"

    made = True

    @cached_property
    def key(self) -> dict[str, object]:
        """All that decides the activations; builtins only."""
        return {
            "step": "recorded activations",
            "code": VERSION,
            "recording": self.recording.fingerprint,
            "column": self.column,
            "texts": fingerprint(self.texts),
            "tokens_per_batch": self.tokens_per_batch,
        }

    def __iter__(self) -> Iterator[ActivationBatch]:
        places = self.recording.places
        order = np.lexsort((places.start[self.lines], places.shard[self.lines]))
        opened = _Opened(self.recording, self.column)
        read = ((row, opened.rows(int(self.lines[row]))) for row in order.tolist())
        yield from map(_batch, grouped(read, lambda each: len(each[1]["x"]), self.tokens_per_batch))
        self.store.work.bytes_read += opened.bytes_read

    def pieces(self, documents: Sequence[int]) -> list[tuple[str, ...]]:
        """Return the pieces of the valid tokens of some texts, by index.

        Raises:
            DataError: they were not recorded.
        """
        return [self._pieces(int(self.lines[document])) for document in documents]

    def _pieces(self, line: int) -> tuple[str, ...]:
        recorded = self.recording.lines[line]
        if recorded.pieces is not None:
            return tuple(recorded.pieces)
        if self.recording.places.length[line] == 1:
            return (recorded.text,)
        raise DataError(
            f"{self.recording.directory} does not say which part of {recorded.text[:60]!r} each "
            "token stands for. Expected `pieces` in texts.jsonl, to show what a latent fires on."
        )


class _Opened:
    """The one shard that is open."""

    def __init__(self, recording: Recording, column: Column) -> None:
        self.bytes_read = 0
        self._recording = recording
        self._names = {"x": column, "valid": "valid", "token": "token"}
        self._number = -1
        self._columns: Rows = {}

    def rows(self, line: int) -> Rows:
        """Return a text's part of its shard: `x`, `valid` and perhaps `token`."""
        recording, places = self._recording, self._recording.places
        if places.shard[line] != self._number:
            self._number = int(places.shard[line])
            shard = recording.about.shards[self._number]
            self._columns = {}
            self._columns = _columns(recording.directory / shard.file, shard, recording.about)
            self.bytes_read += shard.bytes
        rows = slice(places.start[line], places.start[line] + places.length[line])
        return {
            name: self._columns[column][rows].clone()
            for name, column in self._names.items()
            if column in self._columns
        }


def _batch(group: Sequence[tuple[int, Rows]]) -> ActivationBatch:
    """Pad texts on the right to the longest of them."""
    several = [rows for _, rows in group]
    columns = {
        name: pad_sequence([rows[name] for rows in several], batch_first=True)
        for name in several[0]
    }
    lengths = torch.tensor([len(rows["x"]) for rows in several])
    attention = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = columns.get("token", torch.zeros_like(attention)).long()
    rows = torch.tensor([row for row, _ in group])
    return ActivationBatch(Batch(ids, attention, columns["valid"], rows), columns["x"])


def _site(recorded: RecordedSite) -> Site:
    return Site(recorded.module, "output", OUTSIDE, recorded.hook_name, stream=False)


def _check_shards(directory: Path, about: About, lines: Sequence[RecordedText]) -> _Places:
    """Check every shard against the lists, and find each text."""
    places = _Places(*(np.full(len(lines), fill, np.int64) for fill in (-1, 0, 0)))
    for number, shard in enumerate(about.shards):
        path = directory / shard.file
        _require_size(path, shard)
        require_hash(path, shard.sha256)
        columns = _columns(path, shard, about)
        _check_finite(path, columns, about)
        for line, start, length in _runs(path, columns, len(lines)):
            if places.shard[line] >= 0:
                found = f"the tokens of text {line} stand apart"
                raise damaged(path, found, "the tokens of a text together, in one shard")
            places.shard[line], places.start[line], places.length[line] = number, start, length
            _check_text(path, columns, slice(start, start + length), line, lines[line])
    missing = np.flatnonzero(places.shard < 0)
    if len(missing):
        text = lines[missing[0]].text[:60]
        found = f"{len(missing)} texts have no tokens in any shard, such as {text!r}"
        raise damaged(directory, found, "tokens of every line of texts.jsonl")
    return places


def _require_size(path: Path, shard: VectorsFile) -> None:
    if path.is_file() and path.stat().st_size != shard.bytes:
        found = f"it has {path.stat().st_size:,} bytes"
        raise damaged(path, found, f"{shard.bytes:,}, as in {ABOUT}")


def _columns(path: Path, shard: VectorsFile, about: About) -> dict[str, Tensor]:
    """The tensors of a shard, with the types and shapes that they must have."""
    try:
        tensors = read_safetensors(path)
    except DictionaryError as error:
        raise DataError(f"{error} (a shard of a recording)") from error
    missing, extra = about.tensors - tensors.keys(), tensors.keys() - {*about.tensors, "token"}
    if missing or extra:
        found = f"it has the tensors {', '.join(sorted(tensors)) or 'none'}"
        raise damaged(path, found, f"{', '.join(sorted(about.tensors))}, and perhaps token")
    for name, tensor in tensors.items():
        width = about.widths.get(name)
        shape = (shard.tokens,) if width is None else (shard.tokens, width)
        kinds = (torch.bool,) if name == "valid" else _INTEGERS
        kinds = kinds if width is None else (getattr(torch, about.dtype),)
        if tuple(tensor.shape) != shape or tensor.dtype not in kinds:
            found = f"{name} is {tensor.dtype} of the shape {tuple(tensor.shape)}"
            raise damaged(path, found, f"{' or '.join(map(str, kinds))} of the shape {shape}")
    return tensors


def _check_finite(path: Path, columns: dict[str, Tensor], about: About) -> None:
    for name in about.widths:
        parts = zip(columns[name].split(_ROWS), columns["valid"].split(_ROWS), strict=True)
        broken = sum(int((~part.isfinite().all(1) & valid).sum()) for part, valid in parts)
        if broken:
            raise damaged(path, f"{broken} rows of {name} hold NaN or Inf", "numbers")


def _runs(path: Path, columns: dict[str, Tensor], count: int) -> Iterator[tuple[int, int, int]]:
    """Give (line, first row, rows) of each run of tokens of the same text."""
    text = columns["text"].numpy().astype(np.int64)
    if text.min() < 0 or text.max() >= count:
        found = f"its tokens are of texts {text.min()} to {text.max()}"
        raise damaged(path, found, f"lines 0 to {count - 1} of texts.jsonl")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(text)) + 1])
    lengths = np.diff([*starts, len(text)])
    yield from zip(text[starts].tolist(), starts.tolist(), lengths.tolist(), strict=True)


def _check_text(
    path: Path, columns: dict[str, Tensor], rows: slice, line: int, text: RecordedText
) -> None:
    position, valid = columns["position"][rows], int(columns["valid"][rows].sum())
    if int(position[0]) < 0 or bool((position[1:] <= position[:-1]).any()):
        raise damaged(path, f"the positions of text {line} do not rise", "0, 1, 2, ...")
    if not valid:
        raise damaged(path, f"text {line} has no valid token", "one at least")
    if text.pieces is not None and len(text.pieces) != valid:
        found = f"text {line} has {len(text.pieces)} pieces for {valid} valid tokens"
        raise damaged(path, found, "one piece for each")
