"""What each text adds to the error of each value, in a small file beside the values themselves.

    sidecar(path) -> Path                                  kept.json has kept.influence.safetensors
    read_influence(path, values) -> {key: influence}       of the values in `path`, none if no file
    write_influence(path, values, limit) -> Written        whole, or not at all, or taken away

One float32 vector a value; the header names the values and has the checksum of all vectors. Import
it lazily: safetensors and pydantic take a while.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_sae.errors import BaselineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key = tuple[str, str]  # id of the SAE; metric and setting as one word
Influence = Mapping[Key, Sequence[float]]

VERSION = 1
_BYTES = 4
_ADVICE = "Delete it, or write both again with --sae-baseline-update"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Of(_Strict):
    sae: str
    key: str
    value: float


class _About(_Strict):
    influence_version: Literal[1]
    sha256: str
    values: list[_Of]


@dataclass(frozen=True)
class Written:
    """What became of a file of influences.

    Args:
        file: the file that was written or taken away, None if nothing changed.
        left_out: SAEs that have more than the limit, a sentence each.
    """

    file: Path | None
    left_out: Sequence[str]


def sidecar(path: Path) -> Path:
    """Return the file beside a baseline, or a report, that holds its influences."""
    return path.with_suffix(".influence.safetensors")


def read_influence(path: Path, values: Mapping[Key, float]) -> dict[Key, tuple[float, ...]]:
    """Read what each text adds to the error of values.

    Args:
        path: of the baseline or the report.
        values: all that stand in it.

    Returns:
        By key; empty where there is no file, and without the values that it is silent about.

    Raises:
        BaselineError: the file is damaged, or belongs to other values.
    """
    file = sidecar(path)
    if not file.is_file():
        return {}
    about, vectors = _parsed(file)
    for each in about.values:
        if values.get((each.sae, each.key)) != each.value:
            raise BaselineError(
                f"{file} is about {each.key} of {each.sae} = {each.value!r}, and {path.name} says "
                f"{values.get((each.sae, each.key))!r}. {_ADVICE}."
            )
    pairs = zip(about.values, vectors, strict=True)
    return {(each.sae, each.key): tuple(vector.tolist()) for each, vector in pairs}


def _parsed(file: Path) -> tuple[_About, list[NDArray[np.float32]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as tensors:
            about = _About.model_validate_json((tensors.metadata() or {}).get("about", ""))
            names = _names(len(about.values))
            if sorted(tensors.keys()) != names:
                raise _damaged(file, "its header and its vectors do not go together")
            vectors = [tensors.get_tensor(name) for name in names]
    except (SafetensorError, ValidationError, OSError) as error:
        raise _damaged(file, str(error).splitlines()[0]) from None
    if any(each.dtype != "float32" or each.ndim != 1 for each in vectors):
        raise _damaged(file, "a vector is not of float32 numbers")
    if _checksum(vectors) != about.sha256:
        raise _damaged(file, "its checksum is not that of its vectors")
    return about, vectors


def _damaged(file: Path, why: str) -> BaselineError:
    return BaselineError(f"{file} holds no influences of texts: {why}. {_ADVICE}.")


def _names(count: int) -> list[str]:
    return [f"{number:06d}" for number in range(count)]


def _checksum(vectors: Iterable[NDArray[np.float32]]) -> str:
    digest = hashlib.sha256()
    for vector in vectors:
        digest.update(len(vector).to_bytes(8, "little") + vector.astype("<f4").tobytes())
    return digest.hexdigest()


def write_influence(
    path: Path, values: Mapping[Key, float], influence: Influence, limit: int
) -> Written:
    """Write what each text adds to the error of values, or take an older file away.

    Args:
        path: of the baseline or the report.
        values: all that stand in it.
        influence: of those that have one, and maybe of others.
        limit: most bytes for one SAE; one that has more is left out.

    Returns:
        Which file changed, and which SAEs were left out; a limit of 0 names none of them.
    """
    known = {key: influence[key] for key in values if influence.get(key)}
    sizes = {sae: _BYTES * sum(len(known[key]) for key in known if key[0] == sae)
             for sae in dict.fromkeys(sae for sae, _ in known)}  # fmt: skip
    kept = [key for key in known if sizes[key[0]] <= limit]
    left_out = [
        f"what each text adds to the errors of {sae}: {size:,} bytes, not kept "
        f"(--sae-baseline-texts allows {limit:,})"
        for sae, size in sizes.items()
        if size > limit
    ]
    raw = _packed([(key, values[key], known[key]) for key in sorted(kept)]) if kept else None
    return Written(_replaced(sidecar(path), raw), left_out if limit else ())


def _packed(entries: Sequence[tuple[Key, float, Sequence[float]]]) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    vectors = [np.array(vector, np.float32) for _, _, vector in entries]
    about = {
        "influence_version": VERSION,
        "sha256": _checksum(vectors),
        "values": [{"sae": sae, "key": key, "value": value} for (sae, key), value, _ in entries],
    }
    text = json.dumps(about, ensure_ascii=False, allow_nan=False)
    return save(dict(zip(_names(len(vectors)), vectors, strict=True)), {"about": text})


def _replaced(file: Path, raw: bytes | None) -> Path | None:
    there = file.read_bytes() if file.is_file() else None
    if raw == there:
        return None
    if raw is None:
        file.unlink()
        return file
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(raw)
    os.replace(temporary, file)
    return file
