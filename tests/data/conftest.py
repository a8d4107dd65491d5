"""A small world of labelled texts on disk, to be changed by each test."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes
from pytest_sae.errors import DataError

TASKS = """
version = 1

[corpus]
file = "train.jsonl"
text = "words"

[datasets.people]
train = "train.jsonl"
test = "test.jsonl"
text = "words"

[[scr]]
name = "job"
dataset = "people"
intended = { column = "job", positive = "cook", negative = "pilot" }
spurious = { column = "sex", positive = "m", negative = "f" }

[[tpp]]
name = "jobs"
dataset = "people"
column = "job"
classes = ["cook", "pilot", "clerk"]
"""

JOBS = ("cook", "pilot", "clerk", "guard")
Row = Mapping[str, object]


def people(split: str, per_cell: int = 15) -> list[dict[str, object]]:
    """Rows of all jobs and sexes; every further cell holds one text more than the one before."""
    return [
        {"words": f"{split} text {number} on {job} {sex}", "job": job, "sex": sex, "age": number}
        for place, job in enumerate(JOBS)
        for side, sex in enumerate("mf")
        for number in range(per_cell + 2 * place + side)
    ]


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def refusal(path: Path) -> str:
    """Why a task file was refused, or a table of it left out."""
    try:
        tasks = load_tasks(path, Sizes(), seed=0)
    except DataError as error:
        return str(error)
    assert tasks.left_out
    return "; ".join(each.reason for each in tasks.left_out)


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """A task file with one SCR and one TPP task and a corpus, and its texts."""
    write_jsonl(tmp_path / "train.jsonl", people("train"))
    write_jsonl(tmp_path / "test.jsonl", people("test"))
    path = tmp_path / "tasks.toml"
    path.write_text(TASKS)
    return path
