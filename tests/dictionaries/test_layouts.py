"""Candidates are found by the names of files alone; what they are is said by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sae.dictionaries.layouts import (
    LAYOUTS,
    Files,
    Layout,
    candidates,
    explain,
    files_of,
    looks_like_dictionary,
)


def touch(directory: Path, *names: str | None) -> Path:
    for name in names:
        if name:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return directory


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.names())
def test_every_layout_is_found_by_directory_file_and_parent(layout: Layout, tmp_path: Path) -> None:
    directory = touch(tmp_path / "runs/sae", layout.weights, layout.config)
    weights = directory / layout.weights
    config = directory / layout.config if layout.config else None
    assert candidates(directory) == candidates(weights) == candidates(tmp_path) == [directory]
    assert files_of(directory) == files_of(weights) == Files(weights, config)
    assert looks_like_dictionary(directory)
    assert looks_like_dictionary(weights)
    assert not looks_like_dictionary(tmp_path)


@pytest.mark.parametrize("name", ["8.pt", "8.pth", "sae.npz", "anything.safetensors"])
def test_any_readable_file_may_be_one_when_it_is_named(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name)
    path = tmp_path / name
    assert candidates(path) == [path]
    assert files_of(path) == Files(path, None)
    assert candidates(tmp_path) == []
    assert f"name a file itself, such as {path}" in explain(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "cfg.json", "model.pkl", "weights"])
def test_other_files_are_none(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name)
    assert candidates(tmp_path / name) == []
    assert files_of(tmp_path / name) is None
    assert "Expected" in explain(tmp_path / name)


def test_two_weights_files_in_one_directory_are_two_candidates(tmp_path: Path) -> None:
    touch(tmp_path, "cfg.json", "config.json", "ae.pt", "sae_weights.safetensors")
    weights = [tmp_path / "ae.pt", tmp_path / "sae_weights.safetensors"]
    assert sorted(candidates(tmp_path)) == weights
    assert "2 candidates" in explain(tmp_path)
    assert candidates(weights[0]) == [weights[0]]
    assert files_of(weights[0]) == Files(weights[0], tmp_path / "config.json")
    assert files_of(weights[1]) == Files(weights[1], tmp_path / "cfg.json")


def test_of_two_configurations_the_more_specific_counts(tmp_path: Path) -> None:
    touch(tmp_path, "cfg.json", "config.json", "sae_weights.safetensors")
    assert files_of(tmp_path) == Files(tmp_path / "sae_weights.safetensors", tmp_path / "cfg.json")


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store/blob", "cfg.json", "sae_weights.safetensors")
    (tmp_path / "saes").mkdir()
    (tmp_path / "saes/a").symlink_to(tmp_path / "store/blob", target_is_directory=True)
    assert candidates(tmp_path / "saes") == [tmp_path / "saes/a"]


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "around").symlink_to(tmp_path, target_is_directory=True)
    assert candidates(tmp_path) == []


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.names())
def test_a_directory_that_lost_a_file_says_which(layout: Layout, tmp_path: Path) -> None:
    if layout.config and "/" not in layout.weights:
        touch(tmp_path, layout.config)
        assert "but no" in explain(tmp_path)
