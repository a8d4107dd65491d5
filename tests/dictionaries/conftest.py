"""A good SAE to break, one property at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.dictionaries.hub.hub_cache_files import Files, files_in

Spoil = Callable[..., Path]


def edit_config(directory: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Apply a change to a directory's cfg.json."""
    path = directory / "cfg.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return directory


def edit_weights(directory: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """Apply a change to a directory's weights."""
    path = directory / "sae_weights.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return directory


@pytest.fixture
def copy_of(sae_dirs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies the SAE of a family, to be changed."""

    def copy(arch: str, name: str = "copy") -> Path:
        return Path(shutil.copytree(sae_dirs[arch], tmp_path / name))

    return copy


@pytest.fixture(scope="session")
def topk(sae_dirs: dict[str, Path]) -> Files:
    """The files of a TopK SAE."""
    return files_in(sae_dirs["topk"])
