"""Many small SAEs in one session: nothing that belongs to one of them stays when it is released."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_sae.dictionaries.spec import SAESpec, resolve
from pytest_sae.session.session import EvalSession
from tests.sessions import options, tiny_world

pytestmark = pytest.mark.slow
SAES = 300
FAMILIES = ("core", "structure", "scr")
_SETTLED = 100  # evaluations after which what is kept once is there
# Bytes that an SAE may leave: its values with what each text adds to their errors, 90 kB.
_LEFT = 128 * 2**10


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc tells what a process has")
def test_three_hundred_evaluations_grow_neither_memory_nor_handles(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    world = tiny_world(tmp_path, "topk", "standard", "jumprelu")
    specs = resolve([str(world / name) for name in ("topk", "standard", "jumprelu")])
    session = EvalSession(options(world, controls="off", cache=str(tmp_path / "cache")))
    seen = []
    for number in range(SAES):
        spec = specs[number % len(specs)]
        sae = session.load(SAESpec(f"sae-{number}", spec.path, spec.text))
        for family in FAMILIES:
            session.measure(family, sae)
        session.release(sae)
        seen.append((resident(), handles(), threading.active_count()))
    session.close()
    memory, files, threads = zip(*seen, strict=True)
    figures = f"MiB {[each >> 20 for each in memory[::20]]}, {files[-1]} handles, {threads[-1]}"
    record_property("resident", figures)
    assert memory[-1] - memory[_SETTLED] < (SAES - _SETTLED) * _LEFT
    assert files[-1] <= files[_SETTLED]
    assert threads[-1] <= threads[_SETTLED]
