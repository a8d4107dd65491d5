"""A cache of tensors named by everything that made them; it never returns what it cannot prove.

An entry is a directory `<sha256 of the key>` that holds shards in safetensors format and, written
last, `index.json` with the key and the shards' checksums. It is made under another name and then
renamed, so that a process killed in the middle leaves nothing that is read later. Locks keep others
from making the same meanwhile; where they do not reach, on some network file systems, who comes
second takes what the first has made.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from pytest_sae.activations import unfinished as unfinished_entries
from pytest_sae.activations.work import Work
from pytest_sae.errors import CacheError

FORMAT = 1
INDEX = "index.json"
HELD_BYTES = 2**28  # in memory, of what is not worth a file
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
Tensors = dict[str, torch.Tensor]
Key = Mapping[str, object]


class CacheWarning(UserWarning):
    """A cache entry was damaged and is made again."""


def digest(key: Key) -> str:
    """Return the name of a key: sha256 of its canonical JSON.

    Args:
        key: builtins only; everything that changes the result, the step's name and version too.
    """
    text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class CacheEntry:
    """The shards of one key, read one at a time."""

    def __init__(self, shards: Sequence[Tensors] | Sequence[Path], work: Work) -> None:
        self._shards = shards
        self._work = work

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[Tensors]:
        for shard in self._shards:
            yield self._read(shard) if isinstance(shard, Path) else shard

    def _read(self, path: Path) -> Tensors:
        try:
            content = path.read_bytes()  # no memory map: what is read stays as it was verified
            self._work.bytes_read += len(content)
            return load(content)
        except (OSError, SafetensorError) as error:
            raise CacheError(
                f"{path} was removed or changed while it was in use ({error}): run again"
            ) from error


class Writer:
    """Takes the shards of one new entry, one after the other."""

    def __init__(self, directory: Path | None, work: Work) -> None:
        self._directory = directory
        self._work = work
        self.kept: list[Tensors] = []
        self.checksums: list[str] = []

    def add(self, tensors: Tensors) -> None:
        """Write one shard; it is not kept in memory if there is a directory."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        if self._directory is None:
            self.kept.append(tensors)
            return
        path = shard_path(self._directory, len(self.checksums))
        with _writable(self._directory.parent):
            save_file(tensors, path)
            self.checksums.append(_checksum(path))
        self._work.bytes_written += path.stat().st_size


class Held:
    """Tensors of a session that are made again where they were not kept, on their own device.

    Args:
        limit: bytes of all of them; what comes when it is reached is not kept.
    """

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self._left = limit
        self._tensors: dict[tuple[object, ...], torch.Tensor] = {}

    def get(self, key: tuple[object, ...]) -> torch.Tensor | None:
        """Return a tensor that was kept."""
        return self._tensors.get(key)

    def keep(self, key: tuple[object, ...], tensor: torch.Tensor) -> None:
        """Keep a tensor, which nobody writes to, if there is room.

        Args:
            key: everything that changes it.
            tensor: new under this key.
        """
        if tensor.nbytes <= self._left:
            self._left -= tensor.nbytes
            self._tensors[key] = tensor


class Store:
    """Content-addressed tensors in a directory, shared safely by processes; or in memory.

    Args:
        directory: made if it is not there; None keeps everything in memory for this session.
        work: counters to add to.

    Raises:
        CacheError: the directory cannot be made or written.
    """

    def __init__(self, directory: Path | str | None, work: Work | None = None) -> None:
        self.directory = None if directory is None else Path(directory).expanduser()
        self.work = work or Work()
        self.held = Held()
        self._opened: dict[str, CacheEntry] = {}
        if self.directory is not None:
            with _writable(self.directory):
                (self.directory / "locks").mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=self.directory).close()
            self._sweep(self.directory)

    def get(self, key: Key, make: Callable[[], Tensors]) -> Tensors:
        """Return the tensors of a key, from `make` if they are not there yet.

        Other processes that want the same key wait until it is made, and then read it.
        """
        entry = self.find(key)
        if entry is None:
            with self.making([key]) as missing:
                for _ in missing:
                    tensors = make()
                    with self.writing(key) as writer:
                        writer.add(tensors)
            entry = self._opened[digest(key)]
        return next(iter(entry))

    def find(self, key: Key) -> CacheEntry | None:
        """Return the entry of a key, None if it is not there or damaged.

        Every shard's checksum is compared the first time, and trusted for the rest of the session.
        """
        name = digest(key)
        if name not in self._opened and self.directory is not None:
            problem, shards = verify(self.directory / name)
            if not problem:
                self._opened[name] = CacheEntry(shards, self.work)
                self.work.cache_hits += 1
                with suppress(OSError):  # when it was last used
                    os.utime(self.directory / name / INDEX)
        return self._opened.get(name)

    @contextmanager
    def making(self, keys: Sequence[Key]) -> Iterator[list[Key]]:
        """Lock several keys and give those that are still missing then.

        Locks are taken in the order of their names, so that two processes never wait for each
        other. What is damaged is discarded with a `CacheWarning` and counts as missing.
        """
        with ExitStack() as stack:
            if self.directory is not None:
                for name in sorted({digest(key) for key in keys}):
                    with _writable(self.directory):
                        stack.enter_context(self.locked(name))
            missing = [key for key in keys if self.find(key) is None]
            for key in missing:
                self._discard_damaged(digest(key))
            yield missing

    @contextmanager
    def writing(self, key: Key) -> Iterator[Writer]:
        """Give a writer for a key that `making` has locked; the entry exists if nothing fails."""
        self.work.cache_misses += 1
        name = digest(key)
        if self.directory is None:
            writer = Writer(None, self.work)
            yield writer
            self._opened[name] = CacheEntry(writer.kept, self.work)
            return
        with _writable(self.directory):
            unfinished = self._beside(name)
        try:
            writer = Writer(unfinished, self.work)
            yield writer
            with _writable(self.directory):
                _write_index(unfinished, key, writer.checksums)
                self._finish(unfinished, self.directory / name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        shards = [shard_path(self.directory / name, i) for i in range(len(writer.checksums))]
        self._opened[name] = CacheEntry(shards, self.work)

    def _finish(self, unfinished: Path, entry: Path) -> None:
        try:
            unfinished.replace(entry)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Somebody was faster whom no lock kept from it: theirs is the same, unless damaged.
            if verify(entry)[0]:
                self._discard_damaged(entry.name)
                unfinished.replace(entry)

    @contextmanager
    def locked(self, name: str, timeout: float = -1) -> Iterator[bool]:
        """Hold the lock of an entry; gives False where the file system has no locks.

        Args:
            name: of the entry.
            timeout: seconds to wait for it, as long as it takes if negative.

        Raises:
            filelock.Timeout: somebody else held it all the time.
        """
        assert self.directory is not None
        lock = FileLock(self.directory / "locks" / f"{name}.lock")
        try:
            lock.acquire(timeout)
        except OSError as error:
            if isinstance(error, Timeout) or error.errno not in _NO_LOCKS:
                raise
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _beside(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=unfinished_entries.beginning(name), dir=self.directory))

    def _discard_damaged(self, name: str) -> None:
        if self.directory is None or not (self.directory / name).exists():
            return
        problem, _ = verify(self.directory / name)
        warnings.warn(
            f"the cache entry {self.directory / name} is damaged ({problem}): it is discarded and "
            "made again",
            CacheWarning,
            stacklevel=5,
        )
        with _writable(self.directory):
            self.discard(name)

    def discard(self, name: str) -> None:
        """Remove an entry, whose lock is held.

        Args:
            name: of its directory.

        Raises:
            OSError: it cannot be removed.
        """
        assert self.directory is not None
        # Under another name first: a half-deleted directory must not look like an entry.
        aside = self._beside(name)
        (self.directory / name).replace(aside / "gone")
        shutil.rmtree(aside)

    def _sweep(self, directory: Path) -> None:
        """Remove what killed processes left; whoever still writes holds the lock of its entry."""
        for path in directory.glob(f"*{unfinished_entries.MARK}*"):
            name = unfinished_entries.entry_of(path)
            with suppress(Timeout, FileNotFoundError), self.locked(name, 0) as locked:
                if unfinished_entries.abandoned(path, locked):
                    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _writable(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CacheError(
            f"cannot write to the cache directory {directory} "
            f"({getattr(error, 'strerror', None) or error}): make it writable, make "
            "room there, choose another with --sae-cache=DIR, or use --sae-cache=off"
        ) from error


def shard_path(entry: Path, index: int) -> Path:
    """Return where an entry's shard is.

    Args:
        entry: directory of the entry.
        index: of the shard, from 0.
    """
    return entry / f"{index:05d}.safetensors"


def _write_index(path: Path, key: Key, checksums: list[str]) -> None:
    index = {"format": FORMAT, "key": key, "sha256": checksums}
    (path / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True))


def verify(path: Path) -> tuple[str, list[Path]]:
    """Return what is wrong with an entry (empty if nothing is), and its shards.

    Args:
        path: directory of the entry.
    """
    try:
        index = json.loads((path / INDEX).read_bytes())
        checksums = list(index["sha256"])
        if index["format"] != FORMAT or digest(index["key"]) != path.name:
            return "its index belongs to another entry", []
        shards = [shard_path(path, i) for i in range(len(checksums))]
        for shard, checksum in zip(shards, checksums, strict=True):
            if _checksum(shard) != checksum:
                return f"{shard.name} is not what was written", []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"{type(error).__name__}: {error}", []
    return "", shards


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
