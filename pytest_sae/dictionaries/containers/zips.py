"""Zip archives (npz, torch): their directory is checked before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

#: All that the standard library raises on a damaged archive.
DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    LookupError,
    OSError,
    ValueError,
    EOFError,
    RuntimeError,  # encrypted
    NotImplementedError,  # of an unknown compression or version
    OverflowError,
    MemoryError,
)
_MOST_ENTRIES = 10_000
_SMALL = 16 * 2**20


def entries(archive: zipfile.ZipFile, path: Path, ratio: float) -> list[zipfile.ZipInfo]:
    """Return the directory of an archive that unpacks to a size that its file can account for.

    Args:
        archive: opened for reading.
        path: of the archive.
        ratio: the most that the whole may grow by, beyond some megabytes.

    Raises:
        ValueError: a name that escapes or stands twice, or too much to unpack.
    """
    found = archive.infolist()
    if len(found) > _MOST_ENTRIES:
        raise ValueError(f"it has {len(found):,} entries, more than {_MOST_ENTRIES:,}")
    for name, times in Counter(each.filename for each in found).items():
        if times > 1 or _escapes(name):
            raise ValueError(f"the entry {name[:80]!r} stands {times} times or leaves its place")
    unpacked, packed = sum(each.file_size for each in found), path.stat().st_size
    if unpacked > max(ratio * packed, _SMALL):
        raise ValueError(f"it unpacks from {packed:,} to {unpacked:,} bytes: a zip bomb")
    return found


def _escapes(name: str) -> bool:
    pure = PurePosixPath(name)
    return pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name
