"""Fixtures that several folders of tests share: tiny models and SAEs, made once per session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# Before torch is imported, and for every process that a test starts: on matrices as small as those
# of the tests, the threads of two workers on two cores mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline would fail a test because the machine is busy.
settings.register_profile("here", deadline=None)
settings.load_profile("here")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama of three blocks, 32 wide, with its tokenizer."""
    from tests.tiny import tiny_model

    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def sae_dirs(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> dict[str, Path]:
    """One random SAE of every sae_lens family, by family name, on block 1 of `model_dir`."""
    from tests.tiny import SAE_ARCHS, tiny_sae

    root = tmp_path_factory.mktemp("saes")
    return {arch: tiny_sae(root / arch, arch, model=str(model_dir)) for arch in SAE_ARCHS}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of this process, which is offline; empty."""
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"
