"""npz: arrays in a zip, each checked against the size of its entry before it is unpacked."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from pytest_sae.dictionaries.containers import zips
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

_RATIO = 8.0  # weights hardly compress; biases of zeros do
_KINDS = "fiub"


def read_npz(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an npz file as tensors, in the type that they have there.

    Raises:
        DictionaryError: damaged, a zip bomb, or anything but arrays of numbers (objects in it
            are never unpickled).
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            found = zips.entries(archive, path, _RATIO)
            arrays = {_name(each): _array(archive, each) for each in found}
        return {name: torch.from_numpy(arrays[name]) for name in sorted(arrays)}
    except (*zips.DAMAGE, TypeError, SyntaxError) as error:
        raise DictionaryError(
            f"{path} is no readable npz file ({str(error)[:300]}). Expected arrays of numbers as "
            "numpy.savez writes them: copy or save it again."
        ) from error


def _name(entry: zipfile.ZipInfo) -> str:
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"the entry {entry.filename[:80]!r} is no .npy")
    return entry.filename.removesuffix(".npy")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    with archive.open(entry) as file:
        _check(file, entry)
    with archive.open(entry) as file:
        array = npy.read_array(file, allow_pickle=False)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # Writable and contiguous: torch can hold no other, and 0-d arrays must stay 0-d.
    return np.array(native, order="C", copy=True) if not native.flags.carray else native


def _check(file: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Refuse an array that is not what its entry has room for: numpy would allocate it first."""
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"{entry.filename[:80]!r} is of the unknown npy version {version}")
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise ValueError(f"{entry.filename[:80]!r} holds {dtype}, not numbers")
    needed = math.prod(shape) * dtype.itemsize + file.tell()
    if needed != entry.file_size or any(size < 0 for size in shape):
        raise ValueError(
            f"{entry.filename[:80]!r} has {entry.file_size:,} bytes, and its shape {shape!r:.80} "
            f"takes {needed:,}"
        )
