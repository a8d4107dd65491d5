"""The two lists of a recording: `activations.json` and `texts.jsonl`, read strictly.

read_about(directory) -> About                 read_texts(directory, about) -> list[RecordedText]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_sae.errors import DataError

FORMAT = "pytest-sae activations"
ABOUT = "activations.json"
TEXTS = "texts.jsonl"

_MOST_BYTES = 64 * 2**20  # of activations.json: a shard takes about 200

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Width = Annotated[int, Field(ge=1, le=2**20)]
Count = Annotated[int, Field(ge=1, le=2**40)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RecordedModel(_Table):
    """The model that was run.

    Args:
        name: as whoever recorded calls it; an SAE that declares another is refused.
        fingerprint: sha256 of its weights, None where nobody computed it.
    """

    name: Name
    fingerprint: Hash | None = None


class RecordedSite(_Table):
    """Where vectors were read.

    Args:
        hook_name: as an SAE would declare it.
        d: size of a vector.
        module: path of the module of the Hugging Face model, empty if there is none.
        reads: what is made of that module's tensor.
    """

    hook_name: Name
    d: Width
    module: str = ""
    reads: str = ""


class VectorsFile(_Table):
    """One file of vectors."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,150}\.safetensors$")]
    sha256: Hash
    bytes: Count
    tokens: Count


class TextsFile(_Table):
    """`texts.jsonl`."""

    sha256: Hash
    count: Annotated[int, Field(ge=1, le=2**31)]


class About(_Table):
    """`activations.json`: what was recorded, and every file of it.

    Args:
        model: that was run.
        site: what `x` holds.
        written: what `y` holds, for transcoders; None where there is no `y`.
        dtype: type of the vectors.
        context: most tokens of a text, None where texts were not cut.
        prepend_bos: whether texts begin with BOS, None where that means nothing (embeddings).
        texts: the file of texts.
        shards: the files of vectors, in order.
    """

    format: Literal["pytest-sae activations"]
    version: Literal[1]
    model: RecordedModel
    site: RecordedSite
    written: RecordedSite | None = None
    dtype: Literal["float32", "float64", "bfloat16", "float16"]
    context: Annotated[int, Field(ge=1, le=2**31)] | None = None
    prepend_bos: bool | None = None
    texts: TextsFile
    shards: Annotated[list[VectorsFile], Field(min_length=1)]

    @property
    def tensors(self) -> frozenset[str]:
        """The tensors that every shard has to have."""
        names = {"x", "text", "position", "valid"}
        return frozenset(names if self.written is None else {*names, "y"})

    @property
    def widths(self) -> dict[str, int]:
        """Size of a vector, by tensor."""
        widths = {"x": self.site.d}
        return widths if self.written is None else {**widths, "y": self.written.d}


class RecordedText(_Table):
    """A line of `texts.jsonl`; each text stands once in its part.

    Args:
        text: as the model read it, before it was cut.
        part: name of the texts that it was run together with.
        pieces: what each valid token stands for in the text; None where that was not recorded.
    """

    text: str
    part: str = ""
    pieces: list[str] | None = None


def read_about(directory: Path) -> tuple[About, str]:
    """Return what a recording says about itself, and its fingerprint.

    The fingerprint is the sha256 of activations.json, which names every other file by its hash.

    Raises:
        DataError: it is not there, or not of this format; the message says where.
    """
    path = directory / ABOUT
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise damaged(path, f"it has {path.stat().st_size:,} bytes", "a list of shards")
        content = path.read_bytes()
        about = About.model_validate_json(content)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Expected a recording's list of files: "
            "make one with `pytest-sae record`."
        ) from error
    except ValidationError as error:
        raise damaged(path, _told(error), "the form in pytest_sae.activations.recording") from None
    files = [shard.file for shard in about.shards]
    if len(set(files)) < len(files):
        raise damaged(path, "a shard is listed twice", "each file once")
    return about, hashlib.sha256(content).hexdigest()


def read_texts(directory: Path, about: About) -> list[RecordedText]:
    """Return the texts of a recording in their order.

    Args:
        directory: of the recording.
        about: what its `activations.json` says, with the hash of the texts.

    Raises:
        DataError: the file is not the one that was recorded, or not of this form.
    """
    path = directory / TEXTS
    require_hash(path, about.texts.sha256)
    texts = list(_lines(path))
    if len(texts) != about.texts.count:
        raise damaged(path, f"it has {len(texts)} texts", f"{about.texts.count}")
    seen: set[tuple[str, str]] = set()
    for number, each in enumerate(texts, 1):
        if (each.part, each.text) in seen:
            raise damaged(path, f"line {number} repeats {each.text[:60]!r}", "each text once")
        seen.add((each.part, each.text))
    return texts


def require_hash(path: Path, sha256: str) -> None:
    """Refuse a file whose content is not what was recorded.

    Args:
        path: the file.
        sha256: of the recorded content, in hexadecimal.

    Raises:
        DataError: it is missing, unreadable or changed.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})", "the recorded file") from error
    if found != sha256:
        raise damaged(path, f"its sha256 is {found[:12]}", f"{sha256[:12]}, as in {ABOUT}")


def damaged(path: Path, found: str, expected: str) -> DataError:
    """Return the error of a file of a recording that cannot be used.

    Args:
        path: the file.
        found: what is wrong with it.
        expected: what should be there.
    """
    return DataError(f"{path}: {found}. Expected {expected}: copy the recording or record again.")


def _lines(path: Path) -> Iterator[RecordedText]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield RecordedText.model_validate_json(line)
                except ValidationError as error:
                    raise damaged(path, f"line {number}: {_told(error)}", '{"text": ...}') from None
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})", "texts") from error


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    found = "" if first["type"] == "missing" else f" (found {first['input']!r:.80})"
    return f"{where or 'its content'}: {first['msg'][:200]}{found}"
