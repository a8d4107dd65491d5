"""Pairs of replies from files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_sae.data.preferences import PreferenceColumns, read_preferences
from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes
from pytest_sae.errors import DataError

COLUMNS = PreferenceColumns("first", "second", "preferred", "score")


def pair(number: int, **changes: object) -> dict[str, object]:
    plain = {
        "first": f"w{number} w1",
        "second": f"w{number} w2",
        "preferred": "first" if number % 3 else "second",
        "score": number / 7 - 1,
    }
    return {**plain, **changes}


def written(path: Path, pairs: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in pairs))
    return path


def test_pairs_are_read_without_repeats_and_without_those_of_the_test_split(
    tmp_path: Path,
) -> None:
    test = written(tmp_path / "test.jsonl", [pair(n) for n in range(30)])
    train = written(tmp_path / "train.jsonl", [pair(n) for n in (*range(20, 60), 40, 41)])
    found = read_preferences(train, test, COLUMNS)
    assert found.train.first == tuple(f"w{n} w1" for n in range(30, 60))
    assert len(found.test.first) == 30
    assert found.test.preferred[:4] == (False, True, True, False)
    assert found.test.score[7] == 0.0
    assert len(found.texts) == 120


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"preferred": "both"}, "Expected first or second"),
        ({"score": "high"}, "Expected a finite number"),
        ({"score": "nan"}, "Expected a finite number"),
        ({"first": " "}, "the text is empty"),
    ],
)
def test_a_pair_that_says_nothing_is_refused(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    good = written(tmp_path / "train.jsonl", [pair(n) for n in range(30)])
    bad = [pair(n) for n in range(30)] + [pair(31, **changes)]
    with pytest.raises(DataError, match=told):
        read_preferences(good, written(tmp_path / "test.jsonl", bad), COLUMNS)


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    both = written(tmp_path / "pairs.jsonl", [pair(n) for n in range(30)])
    with pytest.raises(DataError, match="has 0 pairs of its own"):
        read_preferences(both, both, COLUMNS)


def test_a_task_file_names_them_and_they_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", [pair(n) for n in range(30)])
    written(tmp_path / "test.jsonl", [pair(n) for n in range(30, 60)])
    written(tmp_path / "corpus.jsonl", [{"text": f"w{n} w3"} for n in range(40)])
    plain = 'version = 1\n[corpus]\nfile = "corpus.jsonl"\n'
    tasks = tmp_path / "tasks.toml"
    tasks.write_text(plain)
    without = load_tasks(tasks, Sizes(), 0)
    tasks.write_text(f'{plain}[preferences]\ntrain = "train.jsonl"\ntest = "test.jsonl"\n')
    found = load_tasks(tasks, Sizes(), 0)
    assert without.preferences is None
    assert found.preferences is not None
    assert len(found.preferences.test.first) == 30
    assert found.fingerprint != without.fingerprint
    tasks.write_text(f'{plain}[preferences]\ntrain = "train.jsonl"\ntset = "test.jsonl"\n')
    with pytest.raises(DataError, match=r"unknown key preferences\.tset"):
        load_tasks(tasks, Sizes(), 0)
