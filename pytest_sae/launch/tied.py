"""`python -m pytest_sae.launch.tied ARGUMENTS`: pytest that ends when who started it is gone.

Standard input is the tie. It is closed when the starting process ends in whatever way, `kill -9`
included; a run that nobody waits for any more would keep its GPU from the next attempt.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

_GRACE = 60.0  # seconds in which a run writes its report


def tied(run: Callable[[Sequence[str]], int]) -> int:
    """Run something with the arguments of this process, and end it with standard input.

    Args:
        run: takes the arguments, returns the exit status.
    """
    held = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Slurm sends to every process what is meant for the one that asks to be queued again.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(held,), daemon=True).start()
    return run(sys.argv[1:])


def _end_with(held: int) -> None:
    while os.read(held, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _pytest(arguments: Sequence[str]) -> int:
    import pytest

    return int(pytest.main([*arguments]))


if __name__ == "__main__":
    sys.exit(tied(_pytest))
