"""[[transfer]] tables: the same classes in several data sets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes
from tests.data.conftest import refusal

DATASETS = """
version = 1
[datasets.english]
train = "english.train.jsonl"
test = "english.test.jsonl"
[datasets.german]
train = "german.train.jsonl"
test = "german.test.jsonl"
"""
TABLE = """
[[transfer]]
name = "mood"
datasets = ["english", "german"]
column = "mood"
classes = ["good", "bad"]
"""


def write(directory: Path, table: str = TABLE, common: int = 0) -> Path:
    """Twenty texts of each class in each split; `common` of English training are German tests."""
    for language in ("english", "german"):
        for split in ("train", "test"):
            rows = [
                {"text": f"{language} {split} {number}", "mood": "good" if number % 2 else "bad"}
                for number in range(40)
            ]
            if (language, split) == ("english", "train"):
                rows += [
                    {"text": f"german test {number}", "mood": "good"} for number in range(common)
                ]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (directory / f"{language}.{split}.jsonl").write_text(lines)
    path = directory / "tasks.toml"
    path.write_text(DATASETS + table)
    return path


def test_each_data_set_becomes_a_task_with_the_same_classes(tmp_path: Path) -> None:
    (task,) = load_tasks(write(tmp_path), Sizes(), 0).transfer
    assert [part.name for part in task.parts] == ["mood.english", "mood.german"]
    for part in task.parts:
        assert part.classes == ("good", "bad")
        assert len(part.train.texts) == len(part.test.texts) == 40
        for text, label in zip(part.train.texts, part.train.labels, strict=True):
            assert text.startswith(part.name.removeprefix("mood."))
            assert label == (int(text.split()[-1]) % 2 == 0)


def test_no_text_is_learned_in_one_and_read_in_another(tmp_path: Path) -> None:
    (task,) = load_tasks(write(tmp_path, common=7), Sizes(), 0).transfer
    english, german = task.parts
    assert english.dropped == 7
    assert german.dropped == 0
    assert not set(english.train.texts) & set(german.test.texts)


def test_the_table_is_part_of_the_fingerprint_and_of_nothing_else(tmp_path: Path) -> None:
    tpp = '[[tpp]]\nname = "m"\ndataset = "german"\ncolumn = "mood"\nclasses = ["good", "bad"]\n'
    plain = load_tasks(write(tmp_path, tpp), Sizes(), 0)
    both = load_tasks(write(tmp_path, tpp + TABLE), Sizes(), 0)
    assert both.fingerprint != plain.fingerprint
    assert both.tpp == plain.tpp
    assert plain.transfer == ()
    assert len(both.labelled) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"german"]', '"germn"]', "task mood has dataset = 'germn'.*Did you mean 'german'"),
        ('"english", "german"', '"english"', "transfer.0.datasets"),
        ('"english", "german"', '"german", "german"', "data set 'german' stands twice"),
        ('"good", "bad"', '"good", "good"', "class 'good' stands twice"),
        ('"bad"]', '"sad"]', "has no mood 'sad'. Expected one of bad, good"),
        ("column", "colum", "unknown key transfer.0.colum.*column"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert re.search(message, refusal(write(tmp_path, TABLE.replace(old, new))))
