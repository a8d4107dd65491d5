"""The tiny model, loaded once for this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel


@pytest.fixture(scope="session")
def model(model_dir: Path) -> LanguageModel:
    return load_model(str(model_dir), device="cpu")
