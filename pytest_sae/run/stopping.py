"""Signals that end a process at once, turned into an interrupt after which pytest ends in order."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")


class Stopping:
    """What a run does when it is told to stop: it ends as after Ctrl-C, and writes its report.

    Attributes:
        told: name of the signal that stopped the run, empty while none did.
    """

    def __init__(self) -> None:
        self.told = ""
        self._listened: list[signal.Signals] = []

    def listen(self) -> None:
        """Begin; a signal that somebody else sees to, or that is ignored, is left to them."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other thread set a handler.
        for name in _NAMES:
            number = getattr(signal.Signals, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._stop)
                self._listened.append(number)

    def finish(self) -> None:
        """Let nothing interrupt what follows: the report is written."""
        for number in self._listened:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """Leave signals as they were found."""
        for number in self._listened:
            signal.signal(number, signal.SIG_DFL)
        self._listened.clear()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.told = signal.Signals(number).name
        # Who asks twice does not want to wait.
        self.restore()
        raise KeyboardInterrupt(f"stopped by {self.told}")
