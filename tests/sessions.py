"""Sessions of tests: the smoke suite on the CPU, nothing cached, on worlds of tiny models."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.options import Options
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.labelled import labelled_data
from tests.tiny import tiny_model, tiny_sae


def tiny_world(directory: Path, *archs: str) -> Path:
    """Write a tiny model, `data/` with labelled texts, and a random SAE of each architecture."""
    tiny_model(directory / "model")
    (directory / "data").mkdir()
    labelled_data(directory / "data")
    for arch in archs:
        tiny_sae(directory / arch, arch=arch, model=str(directory / "model"))
    return directory


def options(world: Path | None = None, **changes: Any) -> Options:
    """What a session on a world's texts is given; on the bundled ones without a world."""
    plain = Options(
        sae=(),
        model=None,
        device="cpu",
        dtype="float32",
        suite="smoke",
        data=str(world / "data" / "tasks.toml") if world else None,
        thresholds=None,
        report="",
        cache=None,
        seed=0,
        gate=True,
        threads=1,
        asked=True,
    )
    return dataclasses.replace(plain, **changes)


def opened(world: Path, name: str, **changes: Any) -> tuple[EvalSession, LoadedSAE]:
    """A session on a world's texts, and one of its SAEs."""
    return loaded(world / name, world, **changes)


def loaded(sae: Path, world: Path | None = None, **changes: Any) -> tuple[EvalSession, LoadedSAE]:
    """A session, and an SAE wherever it lies."""
    session = EvalSession(options(world, **changes))
    return session, session.load(resolve([str(sae)])[0])
