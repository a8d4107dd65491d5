"""Files of every family with damaged bytes: they load, or are refused, and nothing else happens."""

from __future__ import annotations

import contextlib
import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.encode import CASES, random_weights
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError
from tests.mutated import mutated


@cache
def files_of(name: str) -> tuple[str, dict[str, bytes]]:
    """Where the dictionary of a family lies below its directory, and all its files."""
    with TemporaryDirectory() as directory:
        path = CASES[name].write(random_weights(d_in=24, d_sae=32), Path(directory))
        there = [each for each in Path(directory).rglob("*") if each.is_file()]
        files = {str(each.relative_to(directory)): each.read_bytes() for each in there}
        return str(path.relative_to(directory)), files


def damaged(name: str, count: int, directory: Path) -> int:
    """Load that many damaged copies; return how many of them were refused."""
    draw, refused = random.Random(name), 0
    place, files = files_of(name)
    for _ in range(count):
        which = draw.choice(sorted(files))
        for each, raw in files.items():
            (directory / each).parent.mkdir(parents=True, exist_ok=True)
            (directory / each).write_bytes(mutated(raw, draw) if each == which else raw)
        refused += 1
        with contextlib.suppress(DictionaryError):
            prove(load(directory / place, family=name, settings=CASES[name].settings))
            refused -= 1
    return refused


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_file_loads_or_is_refused(name: str, tmp_path: Path) -> None:
    assert 0 < damaged(name, 12, tmp_path) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_thousand_damaged_files(name: str, tmp_path: Path) -> None:
    assert 0 < damaged(name, 120, tmp_path) <= 120
