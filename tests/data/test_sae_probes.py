"""The sae-probes data sets: read without its code, split without leaks, refused when damaged."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from pathlib import Path

import pytest

from pytest_sae.data import sae_probes
from pytest_sae.errors import DataError

zstandard = pytest.importorskip("zstandard")

MASTER = "probing_datasets_MASTER.csv.zst"


def write(path: Path, rows: list[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(text.getvalue().encode()))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two data sets that cannot be imported."""
    data = tmp_path / "sae_probes" / "data"
    (tmp_path / "sae_probes").mkdir()
    (tmp_path / "sae_probes" / "__init__.py").write_text("raise RuntimeError('imported')")
    names = {"moods": "cleaned_data/1_moods.csv", "other": "cleaned_data/2_other.csv"}
    listed: list[dict[str, object]] = [
        {"Dataset Tag": tag, "Dataset save name": file, "Data type": "Binary Classification"}
        for tag, file in names.items()
    ]
    listed.append({"Dataset Tag": "x", "Dataset save name": "y", "Data type": "Continuous Data"})
    write(data / MASTER, listed)
    # Every text twice, the first ten with both labels.
    rows = [
        {"prompt": f"text, {i % 150}\n{i % 150}", "target": ["sad", "glad"][i % 2]}
        for i in range(300)
    ]
    for i in range(10):
        rows[150 + i]["target"] = rows[i + 1]["target"]
    write(data / f"{names['moods']}.zst", rows)
    write(data / f"{names['other']}.zst", [{**row, "target": i % 2} for i, row in enumerate(rows)])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "sae_probes", raising=False)
    sae_probes._directory.cache_clear()
    yield data
    sae_probes._directory.cache_clear()


def test_texts_and_labels_are_read_without_importing_the_package(package: Path) -> None:
    moods, other = sae_probes.read_tasks(None, 0)
    assert (moods.name, other.name) == ("moods", "other")
    assert moods.texts[0] == "text, 0\n0"
    assert moods.labels[:2] == (True, False)  # sad comes after glad
    assert "sae_probes" not in sys.modules


def test_the_published_split_is_balanced_and_uses_every_row_once(package: Path) -> None:
    moods, _ = sae_probes.read_tasks(None, 0)
    split = moods.published
    for part in (split.train, split.test):
        labels = Counter(moods.labels[row] for row in part)
        assert labels[True] == labels[False]
    assert len({*split.train, *split.test}) == len(split.train) + len(split.test)
    assert len(split.train) == len(moods.texts) - 100


def test_in_the_default_split_no_text_stands_twice_or_with_both_labels(package: Path) -> None:
    moods, _ = sae_probes.read_tasks(None, 0)
    used = [moods.texts[row] for row in (*moods.distinct.train, *moods.distinct.test)]
    assert max(Counter(used).values()) == 1
    said = {
        text: {moods.labels[i] for i, t in enumerate(moods.texts) if t == text} for text in used
    }
    assert all(len(labels) == 1 for labels in said.values())
    assert 100 < len(used) < 150


def test_fewer_rows_are_a_balanced_part_that_data_sets_share(package: Path) -> None:
    moods, other = sae_probes.read_tasks(40, 0)
    assert Counter(moods.labels) == {True: 20, False: 20}
    assert len(set(moods.texts) & set(other.texts)) > 10
    assert sae_probes.read_tasks(40, 0)[0] == moods
    assert sae_probes.read_tasks(40, 1)[0].texts != moods.texts


def test_a_damaged_file_is_refused_by_name(package: Path) -> None:
    (package / "cleaned_data" / "1_moods.csv.zst").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"1_moods\.csv\.zst cannot be read"):
        sae_probes.read_tasks(None, 0)
    write(package / "cleaned_data" / "1_moods.csv.zst", [{"prompt": "a", "target": 1}])
    with pytest.raises(DataError, match="has 1 labels"):
        sae_probes.read_tasks(None, 0)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sae_probes, "find_spec", lambda name: None)
    told = sae_probes.missing()
    assert told is not None
    assert "sae_probes" in told
    assert "pip install 'pytest-sae[probes]'" in told


def test_the_installed_package_has_113_balanced_data_sets() -> None:
    if sae_probes.missing():
        pytest.skip("needs the extra `probes`")
    sae_probes._directory.cache_clear()
    files = sae_probes._files()
    assert len(files) == 113
    assert all(path.is_file() for path in files.values())
    name = "us_state_TX"
    task = sae_probes._task(name, files[name], None, 0)
    assert Counter(task.labels) == {True: 500, False: 500}
    assert (len(task.published.train), len(task.published.test)) == (900, 100)
