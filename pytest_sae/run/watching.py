"""How far a run has come: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_sae.run.nodeids import sae_of_nodeid
from pytest_sae.run.progress import NOTE, Progress, Stage, noted

if TYPE_CHECKING:
    from pytest_sae.run.run import Run

_SECONDS_UNTIL_SHOWN = 2.0  # what is faster is not worth a bar
_SECONDS_BETWEEN_BARS = 0.5
_LEAST_SHARE = 0.05  # with less behind it nobody can say how long the rest will take
_MOST_TESTS = 4  # that one line names


class Watching:
    """Hooks of the process that writes to the terminal, and a thread that speaks while tests run.

    Args:
        run: whose tests are watched.

    Attributes:
        progress: of this process, for its evaluation session.
    """

    def __init__(self, run: Run) -> None:
        self.progress = Progress()
        self._run = run
        self._tests: set[str] = set()
        self._done: set[str] = set()
        self._running: dict[str, float] = {}  # by test, since when
        self._started = 0.0
        self._notes: tempfile.TemporaryDirectory[str] | None = None
        self._shown: _Bar | _Lines | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where to note its stage."""
        self._notes = self._notes or tempfile.TemporaryDirectory(prefix="pytest-sae-")
        node.workerinput[NOTE] = str(Path(self._notes.name, f"{node.gateway.id}.json"))

    @pytest.hookimpl(tryfirst=True)  # before the hook that runs the tests
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Note what there is to do, and begin to speak; before any output is captured."""
        if session.config.getoption("collectonly"):
            return
        self._expect(item.nodeid for item in session.items)
        stream = _terminal()
        if stream is None:
            return
        self._shown = _bar_or_lines(self._run, stream, alone=self._notes is None)
        self._thread = threading.Thread(target=self._speak, name="pytest-sae-progress", daemon=True)
        self._thread.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note what there is to do, with xdist."""
        self._expect(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None, None, None]:
        """Note that a test runs, once pytest has written its name."""
        yield
        self._running[nodeid] = time.monotonic()
        self._started = self._started or self._running[nodeid]
        if self._shown:
            self._shown.give_room(False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Leave the line to pytest while it writes; note what has ended."""
        if self._shown:
            self._shown.give_room(True)
        yield
        if report.when in ("setup", "call"):
            if self._shown:
                self._shown.give_room(False)
            return
        self._done.add(report.nodeid)
        self._running.pop(report.nodeid, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Be silent from here on."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._shown is not None:
            self._shown.close()

    def pytest_unconfigure(self) -> None:
        """Remove the workers' notes."""
        if self._notes is not None:
            self._notes.cleanup()

    def _expect(self, nodeids: Iterable[str]) -> None:
        self._tests.update(nodeids)

    def _speak(self) -> None:
        shown = self._shown
        assert shown is not None
        while not self._ended.wait(shown.seconds):
            running = self._running.copy()
            longest = time.monotonic() - min(running.values(), default=time.monotonic())
            if running and longest > min(shown.seconds, _SECONDS_UNTIL_SHOWN):
                shown.show(len(self._done), len(self._tests), self._told([*running]), self._left())

    def _told(self, running: Sequence[str]) -> str:
        stages = self._stages()
        told = [
            f"{self._name(test)}, {stages[test]}" if test in stages else self._name(test)
            for test in running[:_MOST_TESTS]
        ]
        more = len(running) - len(told)
        return "; ".join([*told, *([f"{more} more"] if more > 0 else [])])

    def _name(self, test: str) -> str:
        """Return what a test is about: its SAE, of how many, and the family."""
        ids = self._run.sae_ids
        sae = sae_of_nodeid(test, ids)
        if sae is None:
            return test.rpartition("::")[2]
        return f"{sae} ({ids.index(sae) + 1} of {len(ids)}): {_family(test)}"

    def _stages(self) -> dict[str, Stage]:
        stages = [self.progress.stage]
        if self._notes is not None:
            stages += [noted(note) for note in Path(self._notes.name).glob("*.json")]
        return {stage.test: stage for stage in stages if stage}

    def _left(self) -> float | None:
        """Return the seconds left, if what is left goes as what is done; None where untold."""
        share = len(self._done) / max(len(self._tests), 1)
        if share < _LEAST_SHARE:
            return None
        return (time.monotonic() - self._started) * (1 - share) / share


class _Lines:
    """A line now and then, which stays: for logs, and between the dots of several workers.

    Args:
        stream: the terminal or the log.
        reporter: pytest's, which writes there too.
        writer: what that writes with.
        seconds: between two lines.
        alone: whether tests run in this process, which captures what its own writer writes.
    """

    def __init__(
        self, stream: TextIO, reporter: Any, writer: Any, seconds: float, alone: bool
    ) -> None:
        self.seconds = seconds
        self._stream = stream
        self._reporter = reporter
        self._alone = alone
        self._writer = writer

    def show(self, done: int, total: int, told: str, left: float | None) -> None:
        rest = f", about {_time(left)} left" if left is not None else ""
        line = f"pytest-sae: {done / max(total, 1):.0%} of {total} tests{rest}; {told}\n"
        if self._alone:
            _begin_line(self._stream, self._reporter)
            self._stream.write(line)
            self._stream.flush()
        else:
            writer = self._writer
            writer.write(f"\n{line}" if writer.width_of_current_line else line, flush=True)

    def give_room(self, needed: bool) -> None:
        """Lines stay; pytest goes on below them."""

    def close(self) -> None:
        self._stream.close()


class _Bar:
    """A bar that is drawn while a test runs, and wiped away before pytest writes."""

    seconds = _SECONDS_BETWEEN_BARS

    def __init__(self, stream: TextIO, reporter: Any, width: int) -> None:
        self._stream = stream
        self._reporter = reporter
        self._width = width
        self._bar: Any = None
        self._held = True
        self._lock = threading.Lock()

    def show(self, done: int, total: int, told: str, left: float | None) -> None:
        with self._lock:
            if self._held:
                return
            _begin_line(self._stream, self._reporter)
            bar = self._made(total)
            bar.n = done
            bar.set_postfix_str(f"about {_time(left)} left" if left is not None else "", False)
            bar.set_description_str(told)

    def give_room(self, needed: bool) -> None:
        """Wipe the bar away where pytest is about to write, and let it be drawn again after."""
        with self._lock:
            self._held = needed
            if needed and self._bar is not None:
                self._bar.clear()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stream.close()

    def _made(self, total: int) -> Any:
        if self._bar is None:
            from tqdm import tqdm

            form = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
            self._bar = tqdm(
                total=total, file=self._stream, leave=False, bar_format=form, ncols=self._width
            )
        return self._bar


def _bar_or_lines(run: Run, stream: TextIO, alone: bool) -> _Bar | _Lines:
    reporter: Any = run.config.pluginmanager.getplugin("terminalreporter")
    watched = stream.isatty() and os.environ.get("TERM") != "dumb" and not run.options.ci
    writer = run.config.get_terminal_writer()
    if watched and alone:
        # Of a terminal that does not know its width tqdm makes nothing.
        return _Bar(stream, reporter, writer.fullwidth - 1)
    return _Lines(stream, reporter, writer, run.options.progress, alone)


def _terminal() -> TextIO | None:
    """Return what pytest writes to, apart from what it captures; None where it has no file."""
    with suppress(OSError, ValueError, AttributeError):
        return os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding)
    return None


def _begin_line(stream: TextIO, reporter: Any) -> None:
    # As `ensure_newline` does, which would write to what is captured while a test runs.
    if getattr(reporter, "currentfspath", None) is not None:
        stream.write("\n")
        reporter.currentfspath = None


def _family(nodeid: str) -> str:
    return nodeid.partition("[")[0].rpartition("::")[2].removeprefix("test_")


def _time(seconds: float) -> str:
    """Return a time as one reads it.

    >>> [_time(each) for each in (4, 100, 5400)]
    ['4 s', '2 min', '1.5 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
