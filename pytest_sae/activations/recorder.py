"""Writing recordings: what a model gave for texts, for runs without that model.

record(model, site, {"corpus": texts}, directory)           # a model of transformers
record_vectors(directory, texts, vectors, model="...", site="...")   # one vector per text
with Recorder(directory, ...) as recorder: recorder.add(text, x)     # anything else
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO
from uuid import uuid4

import torch
from safetensors.torch import save
from torch import Tensor

from pytest_sae.activations.manifest import ABOUT, FORMAT, TEXTS, RecordedModel, RecordedSite
from pytest_sae.activations.pieces import pieces
from pytest_sae.errors import DataError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import batches

_SHARD_BYTES = 64 * 2**20
_BATCH_TOKENS = 4096  # as in a run with the model, so that vectors are the same to the bit

Progress = Callable[[str, int, int], None]


class Recorder:
    """Writes one recording, text by text; the directory appears when all of it is written.

    Args:
        directory: is made; refused if there is something in it.
        model: that was run.
        site: where `x` was read.
        written: where `y` was read, for transcoders.
        context: most tokens of a text.
        prepend_bos: whether texts begin with BOS; None where that means nothing.

    Raises:
        DataError: the directory is not empty or cannot be made.
    """

    def __init__(
        self,
        directory: Path | str,
        model: RecordedModel,
        site: RecordedSite,
        written: RecordedSite | None = None,
        context: int | None = None,
        prepend_bos: bool | None = None,
    ) -> None:
        self.directory = Path(directory)
        self._about = {
            "format": FORMAT,
            "version": 1,
            "model": model.model_dump(),
            "site": site.model_dump(),
            "written": written.model_dump() if written else None,
            "context": context,
            "prepend_bos": prepend_bos,
        }
        self._widths = {"x": site.d, **({"y": written.d} if written else {})}
        self._dtype: torch.dtype | None = None
        self._shards: list[dict[str, object]] = []
        self._pending: list[dict[str, Tensor]] = []
        self._texts = hashlib.sha256()
        self._count = 0
        _require_room(self.directory)

    def __enter__(self) -> Recorder:
        try:
            name = f".{self.directory.name}.unfinished-{uuid4().hex}"
            self._place = self.directory.parent / name
            self._place.mkdir(parents=True)
        except OSError as error:
            raise _unwritable(self.directory, error) from error
        self._file: IO[bytes] = (self._place / TEXTS).open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    def add(
        self,
        text: str,
        x: Tensor,
        *,
        y: Tensor | None = None,
        valid: Tensor | None = None,
        token: Tensor | None = None,
        pieces: Sequence[str] | None = None,
        part: str = "",
    ) -> None:
        """Write one text.

        Args:
            text: its content, once in its part.
            x: (token, d) at the site, special tokens included.
            y: (token, d) at the written site.
            valid: (token,) False at BOS, EOS and the like; None if all tokens are the text's.
            token: (token,) ids.
            pieces: what each valid token stands for.
            part: name of the texts that it was run together with.

        Raises:
            DataError: shapes, types or the number of pieces do not fit.
        """
        tokens = len(x)
        valid = torch.ones(tokens, dtype=torch.bool) if valid is None else valid
        columns = {"x": x, **({} if y is None else {"y": y})}
        self._check(text, columns, valid, pieces)
        rows = {name: column.detach().cpu() for name, column in columns.items()}
        rows["text"] = torch.full((tokens,), self._count)
        rows["position"] = torch.arange(tokens)
        rows["valid"] = valid.cpu()
        if token is not None:
            rows["token"] = token.cpu().long()
        self._pending.append(rows)
        line: dict[str, object] = {"text": text, "part": part}
        if pieces is not None:
            line["pieces"] = list(pieces)
        self._write(line)
        if sum(each.nbytes for rows in self._pending for each in rows.values()) >= _SHARD_BYTES:
            self._flush()

    def _write(self, line: dict[str, object]) -> None:
        content = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        self._file.write(content)
        self._texts.update(content)
        self._count += 1

    def _check(
        self, text: str, columns: Mapping[str, Tensor], valid: Tensor, shown: Sequence[str] | None
    ) -> None:
        first = columns["x"]
        self._dtype = self._dtype or first.dtype
        found = {name: tuple(each.shape) for name, each in columns.items()}
        expected = {name: (len(first), width) for name, width in self._widths.items()}
        if found != expected or any(each.dtype != self._dtype for each in columns.values()):
            raise DataError(
                f"{text[:60]!r} has {found} of {first.dtype}. Expected {expected} of {self._dtype}."
            )
        count = int(valid.sum())
        if valid.shape != (len(first),) or not count or len(shown or valid[valid]) != count:
            raise DataError(
                f"{text[:60]!r} has {count} valid tokens of {len(first)}. Expected one at least, "
                "and a piece for each of them."
            )

    def _flush(self) -> None:
        if not self._pending:
            return
        name = f"{len(self._shards):05d}.safetensors"
        names = self._pending[0].keys()
        if any(rows.keys() != names for rows in self._pending):
            raise DataError(
                f"{self.directory}: some texts have ids and some not. Expected one way."
            )
        tensors = {key: torch.cat([rows[key] for rows in self._pending]) for key in names}
        content = save(tensors)
        try:
            (self._place / name).write_bytes(content)
        except OSError as error:
            raise _unwritable(self.directory, error) from error
        sha256, tokens = hashlib.sha256(content).hexdigest(), len(tensors["x"])
        shard = {"file": name, "sha256": sha256, "bytes": len(content), "tokens": tokens}
        self._shards.append(shard)
        self._pending = []

    def _finish(self) -> None:
        self._flush()
        if not self._count:
            raise DataError(f"{self.directory}: no text was recorded. Expected one at least.")
        about = {
            **self._about,
            "dtype": str(self._dtype).removeprefix("torch."),
            "texts": {"sha256": self._texts.hexdigest(), "count": self._count},
            "shards": self._shards,
        }
        (self._place / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        try:
            if self.directory.exists():
                self.directory.rmdir()
            self._place.replace(self.directory)
        except OSError as error:
            raise _unwritable(self.directory, error) from error


def record(
    model: LanguageModel,
    site: Site,
    texts: Mapping[str, Sequence[str]],
    directory: Path | str,
    *,
    context: int = 128,
    prepend_bos: bool = True,
    written: Site | None = None,
    progress: Progress | None = None,
) -> Path:
    """Run a model over texts and record what it gives at a site.

    Texts are batched as in a run with the model, each part by itself: evaluating a part gives the
    same numbers to the bit then. A text may stand in several parts.

    Args:
        model: is run up to the sites.
        site: what is read.
        texts: distinct texts by the name of their part: `{"corpus": ..., "tasks": ...}`.
        directory: is made; refused if there is something in it.
        context: tokens per text at most.
        prepend_bos: whether every text begins with BOS.
        written: where a transcoder writes.
        progress: called with (stage, done, total).

    Returns:
        The directory.

    Raises:
        DataError: the directory is not empty, or a text has no token of its own.
    """
    sites = [site] if written is None else [site, written]
    here, there = (_recorded(model, each) for each in (site, sites[-1]))
    known = RecordedModel(name=model.name, fingerprint=model.fingerprint)
    second = None if written is None else there
    done, total = 0, sum(map(len, texts.values()))
    with Recorder(directory, known, here, second, context, prepend_bos) as recorder:
        for part, several in texts.items():
            for batch in batches(several, model.tokenizer, context, prepend_bos, _BATCH_TOKENS):
                seen = model.capture(batch, sites)
                own = [several[row] for row in batch.rows.tolist()]
                shown = pieces(own, model.tokenizer, context, prepend_bos)
                for place, (text, words) in enumerate(zip(own, shown, strict=True)):
                    there_is = batch.attention[place]
                    recorder.add(
                        text,
                        seen[site][place].cpu()[there_is],
                        y=None if written is None else seen[written][place].cpu()[there_is],
                        valid=batch.valid[place][there_is],
                        token=batch.ids[place][there_is],
                        pieces=words,
                        part=part,
                    )
                done += len(own)
                if progress:
                    progress("recording", done, total)
    return Path(directory)


def record_vectors(
    directory: Path | str,
    texts: Iterable[str],
    vectors: Iterable[Tensor],
    *,
    model: str,
    site: str = "embedding",
) -> Path:
    """Record one vector per text, such as embeddings.

    Args:
        directory: is made; refused if there is something in it.
        texts: distinct texts.
        vectors: one (d,) each, in their order; a (text, d) tensor is one.
        model: name of what made them.
        site: what an SAE of them declares as its hook.

    Returns:
        The directory.

    Raises:
        DataError: no text was given, or the directory is not empty.
    """
    pairs = zip(texts, vectors, strict=True)
    first = next(pairs, None)
    if first is None:
        raise DataError(f"{directory}: no text was given. Expected one at least.")
    here = RecordedSite(hook_name=site, d=first[1].numel())
    with Recorder(directory, RecordedModel(name=model), here) as recorder:
        recorder.add(first[0], first[1][None])
        for text, vector in pairs:
            recorder.add(text, vector[None])
    return Path(directory)


def _recorded(model: LanguageModel, site: Site) -> RecordedSite:
    return RecordedSite(
        hook_name=site.hook_name, d=model.width(site), module=site.module, reads=site.reads
    )


def _require_room(directory: Path) -> None:
    try:
        full = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    except OSError as error:
        raise _unwritable(directory, error) from error
    if full:
        raise DataError(
            f"{directory} is a file or not empty. Expected a new directory to record to: name "
            "another, or remove it."
        )


def _unwritable(directory: Path, error: OSError) -> DataError:
    return DataError(f"{directory} cannot be written ({error}). Expected a writable directory.")
