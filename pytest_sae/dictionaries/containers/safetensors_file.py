"""safetensors: the header is checked against the size of the file before anything is read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries.layouts import pickle_refused
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_MOST_HEADER = 16 * 2**20
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
# Several to a byte, which torch cannot unpack.
_PACKED = ("F4", "F6_E2M3", "F6_E3M2")


class _DamagedError(ValueError):
    """What is wrong with a header."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU and in the type that they have there.

    Raises:
        DictionaryError: a pickle (which is never opened), or a file that is damaged.
    """
    try:
        _check_header(path)
        return _tensors(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DictionaryError(
            f"{path} is no readable safetensors file ({error}). It is truncated or of another "
            f"format ({_size(path)}): copy or save it again."
        ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise _DamagedError(str(error)) from error


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(9)
        # A header of 640 bytes begins as a pickle of protocol 2 does, and with a brace after that.
        if start.startswith(_PICKLE_STARTS) and start[8:] != b"{":
            raise DictionaryError(pickle_refused(path))
        start = start[:8]
        length = int.from_bytes(start, "little")
        rest = path.stat().st_size - 8
        if len(start) < 8 or length > min(rest, _MOST_HEADER):
            raise _DamagedError(f"its header claims {length:,} bytes of {max(rest, 0):,}")
        file.seek(8)
        header = json.loads(file.read(length), object_pairs_hook=_object)
    if not isinstance(header, dict):
        raise _DamagedError("its header is no JSON object")
    header.pop("__metadata__", None)
    _refuse_packed(header, path)
    places = sorted(_place(name, entry) for name, entry in header.items())
    _check_places(places, rest - length)


def _refuse_packed(header: dict[str, Any], path: Path) -> None:
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if kind in _PACKED:
            raise DictionaryError(
                f"{path}: {name[:80]!r} is of type {kind}, several numbers to a byte. Expected "
                "floating point of 8 bits or more: save the dictionary unquantised."
            )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _DamagedError("its header has a name twice")
    return value


def _place(name: str, entry: Any) -> tuple[int, int, str]:
    """Where a tensor begins and ends, if that is what its type and shape need."""
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(type(each) is int and 0 <= each < 2**48 for each in (*shape, begin, end))
        needed = math.prod(shape) * _BYTES[kind] if whole else -1  # a text would be repeated
    except (TypeError, KeyError, ValueError) as error:
        raise _DamagedError(f"its header describes {name[:80]!r} as {entry!r:.120}") from error
    if not whole or needed != end - begin:
        raise _DamagedError(f"{name[:80]!r} has {begin}..{end} for {kind} {shape!r:.80}")
    return begin, end, name


def _check_places(places: list[tuple[int, int, str]], size: int) -> None:
    expected = 0
    for begin, end, name in places:
        if begin != expected:
            raise _DamagedError(f"{name[:80]!r} begins at {begin:,}, where {expected:,} is due")
        expected = end
    if expected != size:
        raise _DamagedError(f"its tensors take {expected:,} bytes, and {size:,} follow its header")


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes" if path.exists() else "not there"
