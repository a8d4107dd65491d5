"""A plugin: a process that dies, or is refused memory or disk, at a place which the environment
names: `FAULT=place,what,file`. It happens once, at the second call, if the file is there.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

PLACES = {
    "model pass": ("pytest_sae.models.model", "LanguageModel", "capture"),
    "encode": ("pytest_sae.activations.work", "Work", "encoded"),
    "fit": ("pytest_sae.probes.logistic", "", "minimise"),
    "cache write": ("pytest_sae.activations.store", "", "save_file"),
    "cache rename": ("pytest_sae.activations.store", "Store", "_finish"),
    "journal write": ("pytest_sae.run.journal", "Journal", "append"),
}


def pytest_configure(config: pytest.Config) -> None:
    told = os.environ.get("FAULT")
    if told:
        place, what, file = told.split(",")
        module, name, function = PLACES[place]
        owner: Any = importlib.import_module(module)
        owner = getattr(owner, name) if name else owner
        setattr(owner, function, failing(getattr(owner, function), what, Path(file)))


def failing(real: Callable[..., Any], what: str, file: Path) -> Callable[..., Any]:
    calls = 0

    def call(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1 and file.exists():
            file.unlink()
            fail(what, arguments, more)
        return real(*arguments, **more)

    return call


def fail(what: str, arguments: Any, more: Any) -> None:
    if what == "half a line and death":
        journal = arguments[0]._file
        journal.write(json.dumps(more)[:40])
        journal.flush()
    if what in ("death", "half a line and death"):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "no memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
