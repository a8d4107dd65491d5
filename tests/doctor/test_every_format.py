"""The doctor sees dictionaries of every format, and none of them in a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.doctor.examine import DoctorRequest, examine
from pytest_sae.doctor.screen import as_json, screen
from tests.dictionaries.formats.every_format import ROWS, D
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("doctor") / "model", d=D))


@pytest.fixture(scope="module")
def words() -> list[str]:
    rng = random.Random(0)
    return [" ".join(f"w{rng.randint(0, 55)}" for _ in range(20)) for _ in range(30)]


@pytest.mark.parametrize("row", ROWS)
def test_every_format_is_examined(row: str, model: str, words: list[str], tmp_path: Path) -> None:
    spec, *_ = resolve([ROWS[row](tmp_path / row, model)])
    found = examine(spec, DoctorRequest(words, device="cpu"))
    assert found.measured is not None, found.findings
    assert found.measured.tokens >= 150  # some were trained on shorter texts
    assert found.understood["format"].startswith(row.partition("-")[0])
    assert screen(found).startswith(f"SAE {spec.id}\n")
    assert as_json([found])
