"""The bundled world's texts, for the doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_sae import bundled_world


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Forty held-out texts."""
    lines = (bundled_world() / "texts" / "stream.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines[:40]]


@pytest.fixture(scope="session")
def saes() -> Path:
    """The directory of the bundled SAEs."""
    return bundled_world() / "saes"
