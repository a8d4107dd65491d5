"""Where a task runs: pytest in a process of its own, and its files on their way to the driver.

evaluate(order, directory)      # gives None about once a second, and the exit status at last
Mirror(directory).news()        # what has been written since the last call
keep(home, part)                # on the driver
fullest(directory)              # the journal with most in it
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_sae.errors import MeasurementError
from pytest_sae.launch.task import Order
from pytest_sae.records import details_file, influence_file
from pytest_sae.records.report import NAME as REPORT
from pytest_sae.run.journal import NAME as JOURNAL
from pytest_sae.run.journal import read_journal, set_aside

LOGS = "pytest-*.log"
_SECONDS = 0.5
_REFUSED = 4  # pytest's status for a command line that it does not take
_PART = 64 * 2**10  # bytes that Ray sends along with a message, on no detour


@dataclass(frozen=True)
class Part:
    """Some of a file.

    Args:
        name: of the file.
        start: where it belongs; 0 begins the file anew.
        data: what stands there.
    """

    name: str
    start: int
    data: bytes


def evaluate(order: Order, directory: Path) -> Iterator[int | None]:
    """Run pytest, and go on with what a journal in the directory says was measured before.

    Args:
        order: what to run.
        directory: for what it writes.

    Yields:
        None while it runs, its exit status at last. Who stops asking ends it.

    Raises:
        MeasurementError: the directory to run in is not on this node.
    """
    if order.cwd is not None and not Path(order.cwd).is_dir():
        raise MeasurementError(
            f"{order.cwd} is not on {os.uname().nodename}. Expected the directory that was "
            "launched from on every node, or one sent along (--runtime-env with a working_dir)."
        )
    directory.mkdir(parents=True, exist_ok=True)
    _begin(order, directory)
    arguments = [*order.arguments, f"--sae-report={directory}"]
    resumed = (directory / JOURNAL).is_file()
    status = yield from _run(order, [*arguments, *["--sae-resume"] * resumed], directory)
    if status == _REFUSED and resumed and order.again:
        # Files of an SAE have other times on this node: nothing says that they are the same.
        status = yield from _run(order, arguments, directory)
    yield status


def _begin(order: Order, directory: Path) -> None:
    """Put the journal in place that has most in it, and take an unfinished report away."""
    (directory / REPORT).unlink(missing_ok=True)
    if order.journal is not None:
        (directory / JOURNAL).write_bytes(order.journal)
    best = fullest(directory)
    if best is not None and best.name != JOURNAL:
        if (directory / JOURNAL).exists():
            set_aside(directory / JOURNAL)
        os.replace(best, directory / JOURNAL)


def fullest(directory: Path) -> Path | None:
    """Return the journal that says most: a later attempt may have ended before an earlier one.

    Args:
        directory: of one task.
    """
    journals = sorted(directory.glob("journal*.jsonl"), key=lambda path: path.stat().st_mtime)
    return max(reversed(journals), key=_tests, default=None)


def _tests(journal: Path) -> int:
    return sum(each["event"] == "test" for each in read_journal(journal))


def _run(order: Order, arguments: Sequence[str], directory: Path) -> Generator[None, None, int]:
    command = [sys.executable, "-m", order.module, *arguments]
    with (
        (directory / order.log).open("ab") as log,
        # Leaving closes its standard input, which ends it, and waits.
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=order.cwd
        ) as child,
    ):
        while child.poll() is None:
            yield None
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_SECONDS)
    return child.returncode


class Mirror:
    """Files of a task, for a driver that does not see them.

    Args:
        directory: in which they are written.
        log: name of the one for what is printed.
    """

    def __init__(self, directory: Path, log: str) -> None:
        self._directory = directory
        self._log = log
        self._sent: dict[str, tuple[int, int]] = {}

    def news(self) -> Iterator[Part]:
        """Give what was written since the last call; a report as a whole."""
        # First: without the report that says that its run has not ended a journal is of no use.
        for file in (influence_file, details_file):
            yield from self._whole(file.sidecar(Path(REPORT)).name)
        yield from self._whole(REPORT)
        yield from self._grown(JOURNAL)
        yield from self._grown(self._log)

    def _grown(self, name: str) -> Iterator[Part]:
        with contextlib.suppress(FileNotFoundError), (self._directory / name).open("rb") as file:
            which, start = self._sent.get(name, (0, 0))
            number = os.fstat(file.fileno()).st_ino
            start = start if which == number else 0  # another file took its name
            file.seek(start)
            while data := file.read(_PART):
                yield Part(name, start, data)
                start += len(data)
            self._sent[name] = (number, start)

    def _whole(self, name: str) -> Iterator[Part]:
        with contextlib.suppress(FileNotFoundError):
            path = self._directory / name
            mark = ((about := path.stat()).st_ino, about.st_mtime_ns)
            if self._sent.get(name) != mark:
                yield Part(name, 0, path.read_bytes())
                self._sent[name] = mark


def keep(home: Path, part: Part) -> None:
    """Write a part to its place.

    Args:
        home: of the task, on this machine.
        part: as the node sent it.

    Raises:
        OSError: it cannot be written.
    """
    path = home / part.name
    if part.start:
        with path.open("r+b") as file:
            file.seek(part.start)
            file.write(part.data)
        return
    if part.name == JOURNAL and path.exists():
        set_aside(path)
    beside = path.with_name(f".{part.name}")
    beside.write_bytes(part.data)
    os.replace(beside, path)
