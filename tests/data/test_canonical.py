"""The published tasks: names, pairs, classes and codes, from every kind of local copy."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.data.canonical import AMAZON, BIAS_IN_BIOS, CATEGORIES, GENDERS, PROFESSIONS
from pytest_sae.data.sources import canonical_tasks, load_tasks
from pytest_sae.data.tasks import Contrast, Sizes
from pytest_sae.errors import DataError

ALL = Sizes()
datasets = pytest.importorskip("datasets")


def bios(split: str) -> dict[str, list[Any]]:
    cells = [(job, sex, n) for job in range(28) for sex in (0, 1) for n in range(11)]
    return {
        "hard_text": [f"{split} biography {n} of {job} {sex}" for job, sex, n in cells],
        "profession": [job for job, _, _ in cells],
        "gender": [sex for _, sex, _ in cells],
    }


def reviews(split: str, named: bool) -> dict[str, list[Any]]:
    wanted = {*AMAZON.classes, *(name for pair in AMAZON.pairs for name in pair)}
    codes = [int(code) for code, name in CATEGORIES.items() if name in wanted]
    cells = [(code, stars, n) for code in codes for stars in (1.0, 5.0) for n in range(11)]
    return {
        "text": [f"{split} review {n} of {code}, {stars}" for code, stars, n in cells],
        "category": [CATEGORIES[str(code)] if named else code for code, _, _ in cells],
        "rating": [stars for _, stars, _ in cells],
    }


def write(kind: str, directory: Path, splits: dict[str, dict[str, list[Any]]]) -> None:
    if kind == "save_to_disk":
        tables = {name: datasets.Dataset.from_dict(table) for name, table in splits.items()}
        datasets.DatasetDict(tables).save_to_disk(directory)
        return
    directory.mkdir(parents=True)
    for name, table in splits.items():
        if kind == "parquet":
            from pyarrow import table as arrow
            from pyarrow.parquet import write_table

            write_table(arrow(table), directory / f"{name}.parquet")
        else:
            with (directory / f"{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerows([list(table), *zip(*table.values(), strict=True)])


def copy(kind: str, root: Path, named: bool = False) -> Path:
    write(kind, root / "bias_in_bios", {split: bios(split) for split in ("train", "test")})
    amazon = {split: reviews(split, named) for split in ("train", "test")}
    write(kind, root / "amazon_reviews_mcauley_1and5", amazon)
    return root


def test_the_published_pairs_classes_and_codes() -> None:
    assert list(BIAS_IN_BIOS.pairs) == [
        ("professor", "nurse"),
        ("architect", "journalist"),
        ("surgeon", "psychologist"),
        ("attorney", "teacher"),
    ]
    assert len(PROFESSIONS) == 28
    assert list(PROFESSIONS.values()) == sorted(PROFESSIONS.values())
    assert (PROFESSIONS["21"], PROFESSIONS["13"], GENDERS["0"]) == ("professor", "nurse", "male")
    assert [PROFESSIONS[code] for code in "01269"] == list(BIAS_IN_BIOS.classes)
    assert [CATEGORIES[code] for code in "12356"] == list(AMAZON.classes)
    assert len(CATEGORIES) == 34
    assert {name for pair in AMAZON.pairs for name in pair} <= set(CATEGORIES.values())


@pytest.mark.parametrize("kind", ["save_to_disk", "csv", "parquet"])
def test_a_local_copy_gives_the_published_tasks(kind: str, tmp_path: Path) -> None:
    tasks = canonical_tasks(ALL, seed=0, local=copy(kind, tmp_path))
    assert tasks.corpus is not None
    train = {text for task in (*tasks.scr, *tasks.tpp) for text in task.train.texts}
    assert not train & set(tasks.corpus.texts)
    assert [task.name for task in tasks.scr] == [
        "bios.professor_nurse",
        "bios.architect_journalist",
        "bios.surgeon_psychologist",
        "bios.attorney_teacher",
        "amazon.books_cds_and_vinyl",
        "amazon.software_electronics",
        "amazon.pet_supplies_office_products",
        "amazon.industrial_and_scientific_toys_and_games",
    ]
    assert [(task.name, task.classes) for task in tasks.tpp] == [
        ("bios", BIAS_IN_BIOS.classes),
        ("amazon", AMAZON.classes),
    ]
    assert tasks.scr[0].intended == Contrast("profession", "professor", "nurse")
    assert tasks.scr[0].spurious == Contrast("gender", "male", "female")
    assert tasks.scr[4].spurious == Contrast("rating", "1", "5")
    assert all(len(task.train.texts) == len(task.test.texts) == 44 for task in tasks.scr)
    assert all(len(task.train.texts) == 5 * 22 for task in tasks.tpp)
    for text, intended, spurious in zip(
        tasks.scr[0].test.texts,
        tasks.scr[0].test.intended,
        tasks.scr[0].test.spurious,
        strict=True,
    ):
        assert text.endswith(f"of {21 if intended else 13} {0 if spurious else 1}")


def test_every_kind_of_copy_and_named_categories_give_the_same_tasks(tmp_path: Path) -> None:
    kinds = [("save_to_disk", False), ("csv", False), ("parquet", False), ("csv", True)]
    names = {
        canonical_tasks(ALL, 0, copy(kind, tmp_path / f"{kind}{named}", named)).fingerprint
        for kind, named in kinds
    }
    assert len(names) == 1


def test_the_meaning_of_codes_can_be_overridden(tmp_path: Path) -> None:
    local = copy("csv", tmp_path)
    swapped = {"gender": {"0": "female", "1": "male"}}
    one, other = canonical_tasks(ALL, 0, local), canonical_tasks(ALL, 0, local, swapped)
    flags = [
        dict(zip(tasks.scr[0].test.texts, tasks.scr[0].test.spurious, strict=True))
        for tasks in (one, other)
    ]
    assert flags[0] == {text: not flag for text, flag in flags[1].items()}


def test_a_missing_or_damaged_copy_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'train'. Expected .*save_to_disk"):
        canonical_tasks(ALL, 0, tmp_path)
    local = copy("parquet", tmp_path)
    (local / "bias_in_bios" / "test.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no parquet file"):
        canonical_tasks(ALL, 0, local)


def test_a_damaged_save_to_disk_is_refused(tmp_path: Path) -> None:
    local = copy("save_to_disk", tmp_path)
    (local / "bias_in_bios" / "train" / "state.json").write_text("{")
    with pytest.raises(DataError, match="no readable copy made by save_to_disk"):
        canonical_tasks(ALL, 0, local)


def test_a_copy_without_a_column_names_those_it_has(tmp_path: Path) -> None:
    table = {"hard_text": ["a"], "job": [1], "gender": [0]}
    write("parquet", tmp_path / "bias_in_bios", {"train": table, "test": table})
    with pytest.raises(DataError, match=r"no column 'profession'. Expected one of gender, hard"):
        canonical_tasks(ALL, 0, tmp_path)


HUB = """
version = 1
[datasets.bios]
hub = "LabHC/bias_in_bios"
train = "train"
test = "test"
text = "hard_text"
[[tpp]]
name = "bios"
dataset = "bios"
column = "profession"
classes = [0, 1]
"""

OFFLINE = """
import sys
from pytest_sae.data.sources import canonical_tasks, load_tasks
from pytest_sae.data.tasks import Sizes
from pytest_sae.errors import DataError
for load in (lambda: load_tasks(sys.argv[1], Sizes(), 0), lambda: canonical_tasks(Sizes(), 0)):
    try:
        load()
    except DataError as error:
        print(error)
"""


def test_without_network_and_copy_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text(HUB)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    refused = "The dataset LabHC/bias_in_bios (train) cannot be loaded from the hub"
    assert done.stdout.count(refused) == 2
    assert done.stdout.count('load_dataset("LabHC/bias_in_bios").save_to_disk("') == 2


def test_a_dataset_of_the_hub_is_read_by_its_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load_dataset(name: str, *, revision: str | None, split: str) -> Any:
        asked.append((name, revision, split))
        return datasets.Dataset.from_dict(bios(split))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    path = tmp_path / "tasks.toml"
    path.write_text(HUB.replace("text =", 'revision = "abc"\ntext ='))
    tasks = load_tasks(path, ALL, seed=0)
    assert asked == [("LabHC/bias_in_bios", "abc", split) for split in ("train", "test")]
    assert len(tasks.tpp[0].train.texts) == 44
