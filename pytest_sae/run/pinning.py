"""One GPU per worker, chosen before the worker's Python starts; counts without importing torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

VARIABLE = "CUDA_VISIBLE_DEVICES"


class Spec(Protocol):
    """The part of execnet's specification of a worker that is used here."""

    env: dict[str, str]


def visible_devices(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the GPUs that this process may use, as CUDA names them (numbers, UUIDs, MIG ids)."""
    declared = environment.get(VARIABLE)
    if declared is not None:
        return [name.strip() for name in declared.split(",") if name.strip() not in ("", "-1")]
    return [str(index) for index in range(_count_by_driver())]


def _count_by_driver() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return (
        len(re.findall(r"^GPU \d+:", listed.stdout, re.MULTILINE)) if not listed.returncode else 0
    )


def pin(specs: Sequence[Spec], devices: Sequence[str]) -> None:
    """Give worker i the GPU i, round and round; nothing happens without GPUs.

    The names come from the caller's own list, never from counting up to it: in a container that
    was given GPU 3, GPU 0 belongs to somebody else. A worker that replaces a crashed one inherits
    its specification, and so the same GPU.

    Args:
        specs: of the workers; the environment of each is set.
        devices: the GPUs as CUDA names them.
    """
    for index, spec in enumerate(specs):
        if devices:
            spec.env[VARIABLE] = devices[index % len(devices)]
