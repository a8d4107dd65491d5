"""Weights in several safetensors are those of one; the index is believed about names alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file

from pytest_sae.dictionaries.layouts import candidates, explain, files_of
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError, OptionError
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

WEIGHTS = "sae_weights.safetensors"
FIRST = "sae_weights-00001-of-00002.safetensors"


@pytest.fixture
def whole(sae_dirs: dict[str, Path]) -> Path:
    return sae_dirs["topk"]


@pytest.fixture
def sharded(whole: Path, tmp_path: Path) -> Path:
    """The same SAE, split by huggingface_hub's own writer."""
    directory = tmp_path / "sharded"
    directory.mkdir()
    shutil.copy(whole / "cfg.json", directory)
    pattern = WEIGHTS.replace(".", "{suffix}.")
    tensors = load_file(whole / WEIGHTS)
    save_torch_state_dict(tensors, directory, filename_pattern=pattern, max_shard_size=14_000)
    assert (directory / FIRST).is_file()
    return directory


@pytest.mark.parametrize("name", ["", f"{WEIGHTS}.index.json", FIRST])
def test_shards_are_the_dictionary_that_they_are_parts_of(
    name: str, whole: Path, sharded: Path
) -> None:
    named, one = sharded / name, load(whole)
    assert candidates(named) == [sharded]
    x = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
    read = load(named)
    assert torch.equal(read.reconstruct(x), one.reconstruct(x))
    assert read.fingerprint == one.fingerprint
    assert read.info.hook_in == one.info.hook_in


def test_a_glob_that_meets_the_shards_means_one_dictionary(sharded: Path) -> None:
    assert [spec.path for spec in resolve([f"{sharded}/*.safetensors"])] == [str(sharded)]


def test_shards_of_the_hub_come_with_their_index(sharded: Path, whole: Path, home: Path) -> None:
    cache(home, "lab/saes", below("l1", files_in(sharded)))
    for path in ("l1", f"l1/{FIRST}", f"l1/{WEIGHTS}.index.json"):
        spec = resolve([f"hf:lab/saes/{path}"])[0]
        assert load(spec.path).fingerprint == load(whole).fingerprint


def test_a_file_of_all_weights_counts_before_an_index_beside_it(sharded: Path, whole: Path) -> None:
    shutil.copy(whole / WEIGHTS, sharded)
    assert files_of(sharded) == files_of(sharded / WEIGHTS)
    assert load(sharded).fingerprint == load(whole).fingerprint


def test_a_shard_without_the_index_is_said_to_be_one(sharded: Path) -> None:
    (sharded / f"{WEIGHTS}.index.json").unlink()
    for path in (sharded, sharded / FIRST):
        assert candidates(path) == []
        message = explain(path)
        assert "is part 1 of 2 of one dictionary's weights" in message
        assert f"{WEIGHTS}.index.json is not beside it" in message
        assert "pass their directory" in message
        with pytest.raises(OptionError, match="part 1 of 2"):
            resolve([str(path)])


def test_a_missing_shard_is_named(sharded: Path) -> None:
    (sharded / FIRST).unlink()
    with pytest.raises(DictionaryError, match=r"is not there.*copy or download"):
        load(sharded)


def index(directory: Path, content: Any) -> None:
    (directory / f"{WEIGHTS}.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "listed",
    [
        None,
        {},
        [],
        {"W_enc": 3},
        {"W_enc": "../other.safetensors"},
        {"W_enc": "/etc/passwd"},
        {"W_enc": "..\\other.safetensors"},
        {"W_enc": "other.pt"},
    ],
)
def test_an_index_that_names_no_files_beside_it_is_refused(listed: object, sharded: Path) -> None:
    index(sharded, {"weight_map": listed})
    with pytest.raises(DictionaryError, match=r"as weight_map\. Expected"):
        load(sharded)


def test_a_shard_that_holds_other_tensors_than_the_index_says_is_refused(sharded: Path) -> None:
    listed = json.loads((sharded / f"{WEIGHTS}.index.json").read_text())["weight_map"]
    index(sharded, {"weight_map": {**listed, "threshold": FIRST}})
    with pytest.raises(DictionaryError, match="do the files belong together"):
        load(sharded)
