"""The file of recorded answers: JSON lines that several processes may write at the same time.

A line is on disk before its answer is used, so that a killed run keeps what it paid for. `close`
sorts the lines, so that the same answers are the same bytes whoever asked first.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from filelock import AcquireReturnProxy, FileLock

from pytest_sae.errors import JudgeError
from pytest_sae.judge.recorded_answer import Record, line, parse_line
from pytest_sae.judge.secrecy import leaked
from pytest_sae.judge.settings import Mode

AnyRecord = TypeVar("AnyRecord", bound=Record)
_POLL = 0.005  # seconds; a line is written in less
_DO = "restore the file, or delete this line and record it again with --sae-judge-mode=record"


class RecordingsWarning(UserWarning):
    """The last line of a recordings file was cut off and is asked again."""


class Recordings:
    """Answers by key: in memory, and in record mode in the file too.

    Args:
        path: the file; None in live mode, which neither reads nor writes one.
        mode: of the judge.

    Raises:
        JudgeError: the file is missing in replay, cannot be used, or was edited.
    """

    def __init__(self, path: Path | None, mode: Mode) -> None:
        self._path = None if mode == "live" else path
        self._mode = mode
        self._known: dict[str, Record] = {}
        self._read = (0, 0)  # inode and size of the file as it was last read
        self._thread = threading.RLock()
        if self._path is not None:
            self._open(self._path)
        self._old = frozenset(self._known)

    def get(self, key: str, kind: type[AnyRecord]) -> AnyRecord | None:
        """Return the record with this key, if there is one of this kind."""
        record = self._known.get(key)
        return record if isinstance(record, kind) else None

    def all(self) -> list[Record]:
        """Return all records, in the order of the file once it is closed."""
        return sorted(self._known.values(), key=lambda each: (each.prompt, each.key))

    def is_old(self, key: str) -> bool:
        """Whether the answer was there before this run asked anything."""
        return key in self._old

    def add(self, record: AnyRecord) -> AnyRecord:
        """Keep a record and return it, or the one that another process kept meanwhile.

        Raises:
            JudgeError: it holds a secret, or the file cannot be written.
        """
        with self._thread:
            if self._path is not None:
                self._append(self._path, record)
            kept = self._known.setdefault(record.key, record)
        return kept if isinstance(kept, type(record)) else record

    def close(self) -> None:
        """Sort the file by prompt and key, whole or not at all."""
        if self._path is None or self._mode != "record" or not self._path.exists():
            return
        with self._locked(self._path):
            self._refresh(self._path)
            temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            temporary.write_bytes("".join(line(each) + "\n" for each in self.all()).encode())
            os.replace(temporary, self._path)
            self._seen(self._path)

    def _open(self, path: Path) -> None:
        if self._mode == "replay":
            if not path.is_file():
                raise JudgeError(
                    f"there are no recorded answers at {path}: "
                    "run once with --sae-judge-mode=record to make them"
                )
            self._take(path, _lines(path, 0), first=1)
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(path):
                if path.exists():
                    _mend(path)
                    self._refresh(path)
        except OSError as error:
            raise JudgeError(f"answers cannot be recorded in {path}: {error}") from error

    def _append(self, path: Path, record: Record) -> None:
        for text in record.texts():
            if name := leaked(text):
                raise JudgeError(
                    f"the value of the environment variable {name} stands in a request or an "
                    f"answer ({record.prompt}), so it is not recorded: take it out of the texts"
                )
        try:
            with self._locked(path):
                self._refresh(path)
                if record.key not in self._known:
                    _add(path, line(record).encode() + b"\n")
                    self._seen(path)
        except OSError as error:
            raise JudgeError(f"answers cannot be recorded in {path}: {error}") from error

    def _refresh(self, path: Path) -> None:
        """Take what other processes have written since; the caller holds the lock."""
        if not path.exists():
            return
        now, (inode, size) = path.stat(), self._read
        appended = now.st_ino == inode and now.st_size >= size
        if not appended:
            self._take(path, _lines(path, 0), first=1)
        elif now.st_size > size:
            self._take(path, _lines(path, size), first=None)
        self._seen(path)

    def _seen(self, path: Path) -> None:
        now = path.stat()
        self._read = (now.st_ino, now.st_size)

    def _take(self, path: Path, lines: Iterable[bytes], first: int | None) -> None:
        for offset, text in enumerate(lines):
            where = f"{path}:{first + offset}" if first else f"{path}, a new line"
            record = _parsed(where, text)
            self._known.setdefault(record.key, record)

    def _locked(self, path: Path) -> AcquireReturnProxy:
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        return lock.acquire(poll_interval=_POLL)


def _add(path: Path, text: bytes) -> None:
    """Write a line and wait until it is on disk; where there is no room, nothing of it stays."""
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.truncate(path, before)
        raise


def _parsed(where: str, text: bytes) -> Record:
    if not text.endswith(b"\n"):
        raise JudgeError(f"{where}: the last line is cut off: {_DO}")
    try:
        return parse_line(text[:-1].decode())
    except ValueError as error:
        raise JudgeError(f"{where}: this is no line as it was recorded ({error}): {_DO}") from None


def _lines(path: Path, start: int) -> list[bytes]:
    """Lines with their ends; only line feeds end one."""
    content = path.read_bytes()[start:]
    *whole, rest = content.split(b"\n")
    return [each + b"\n" for each in whole] + ([rest] if rest else [])


def _mend(path: Path) -> None:
    """Drop a last line that a killed process left unfinished; the caller holds the lock."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        warnings.warn(
            f"the last line of {path} was cut off and is dropped: it is asked again",
            RecordingsWarning,
            stacklevel=2,
        )
        os.truncate(path, whole)
