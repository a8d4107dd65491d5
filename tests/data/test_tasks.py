"""Tasks are balanced, distinct, disjoint, and the same for the same seed, whatever the order."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae import bundled_world
from pytest_sae.data.build import class_task, spurious_task
from pytest_sae.data.labelled_texts import LabelledTexts
from pytest_sae.data.sources import bundled_tasks, load_tasks
from pytest_sae.data.tasks import Contrast, Sizes
from tests.data.conftest import TASKS, people, write_csv, write_jsonl

ALL = Sizes()
JOB = Contrast("job", "cook", "pilot")
SEX = Contrast("sex", "m", "f")


def truth(path: Path) -> dict[str, tuple[str, str]]:
    """Job and sex of every text, read independently."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["words"]: (row["job"], row["sex"]) for row in rows}


def test_the_four_cells_have_the_size_of_the_smallest(task_file: Path) -> None:
    task = load_tasks(task_file, ALL, seed=0).scr[0]
    for split, name in ((task.train, "train.jsonl"), (task.test, "test.jsonl")):
        cells = Counter(zip(split.intended, split.spurious, strict=True))
        assert len(cells) == 4
        assert set(cells.values()) == {15}
        labels = truth(task_file.parent / name)
        for text, one, other in zip(split.texts, split.intended, split.spurious, strict=True):
            assert labels[text] == ("cook" if one else "pilot", "m" if other else "f")


def test_the_classes_have_the_size_of_the_smallest(task_file: Path) -> None:
    task = load_tasks(task_file, ALL, seed=0).tpp[0]
    assert task.classes == ("cook", "pilot", "clerk")
    for split, name in ((task.train, "train.jsonl"), (task.test, "test.jsonl")):
        assert Counter(split.labels) == {0: 31, 1: 31, 2: 31}
        labels = truth(task_file.parent / name)
        for text, number in zip(split.texts, split.labels, strict=True):
            assert labels[text][0] == task.classes[number]


def test_sizes_take_fewer_and_fewer_are_a_part_of_more(task_file: Path) -> None:
    few = load_tasks(task_file, Sizes(20, 11, 12, 13, 14), seed=0)
    more = load_tasks(task_file, Sizes(30, 14, 14, 20, 20), seed=0)
    everything = load_tasks(task_file, Sizes(9999, 9999, 9999, 9999, 9999), seed=0)
    assert few.corpus is not None
    assert more.corpus is not None
    assert len(few.corpus.texts) == 20
    assert [len(few.scr[0].train.texts), len(few.scr[0].test.texts)] == [44, 48]
    assert [len(few.tpp[0].train.texts), len(few.tpp[0].test.texts)] == [39, 42]
    assert set(few.corpus.texts) < set(more.corpus.texts)
    for one, other in ((few.scr[0], more.scr[0]), (few.tpp[0], more.tpp[0])):
        assert set(one.train.texts) < set(other.train.texts)
        assert set(one.test.texts) < set(other.test.texts)
    assert everything.fingerprint == load_tasks(task_file, ALL, seed=0).fingerprint


def test_the_seed_changes_which_texts_are_taken_and_never_the_first(task_file: Path) -> None:
    sizes = Sizes(20, 10, 10, 10, 10)
    one, again, other = (load_tasks(task_file, sizes, seed) for seed in (0, 0, 1))
    assert one == again
    assert set(one.scr[0].train.texts) != set(other.scr[0].train.texts)
    assert set(one.tpp[0].train.texts) != set(other.tpp[0].train.texts)
    first = {row["words"] for row in people("train") if row["age"] in range(10)}
    assert not set(one.scr[0].train.texts) <= first


def test_the_order_of_the_file_changes_nothing(task_file: Path) -> None:
    sizes = Sizes(20, 10, 10, 10, 10)
    before = load_tasks(task_file, sizes, seed=0)
    rows = people("train")
    random.Random(5).shuffle(rows)
    write_jsonl(task_file.parent / "train.jsonl", rows)
    assert load_tasks(task_file, sizes, seed=0) == before


def test_the_classes_stand_mixed(task_file: Path) -> None:
    task = load_tasks(task_file, ALL, seed=0).tpp[0]
    assert set(task.train.labels[:30]) == {0, 1, 2}


def test_texts_that_stand_in_both_splits_are_dropped_from_train_and_counted(
    task_file: Path,
) -> None:
    clean = load_tasks(task_file, ALL, seed=0)
    train = people("train", 20)
    shared = [row["words"] for row in train if row["age"] in (3, 4)]
    test = people("test") + [row for row in train if row["words"] in shared]
    write_jsonl(task_file.parent / "train.jsonl", train)
    write_jsonl(task_file.parent / "test.jsonl", test)
    tasks = load_tasks(task_file, ALL, seed=0)
    scr, tpp = tasks.scr[0], tasks.tpp[0]
    assert (clean.scr[0].dropped, clean.tpp[0].dropped) == (0, 0)
    assert (scr.dropped, tpp.dropped) == (8, 12)
    assert len(scr.train.texts) == 4 * 18
    for task in (scr, tpp):
        assert not set(task.train.texts) & set(task.test.texts)
        assert not set(task.train.texts) & set(shared)
        assert set(task.test.texts) & set(shared)


def test_repeated_texts_count_once_and_ambiguous_ones_not_at_all(task_file: Path) -> None:
    rows = people("train")
    twice = [rows[0], rows[0], {**rows[1], "job": "pilot"}]
    write_jsonl(task_file.parent / "train.jsonl", rows + twice)
    task = load_tasks(task_file, ALL, seed=0).scr[0]
    assert len(set(task.train.texts)) == len(task.train.texts) == 4 * 14
    assert rows[1]["words"] not in task.train.texts
    assert task.repeated == 4


def test_the_corpus_is_distinct(task_file: Path) -> None:
    rows = people("train")
    write_jsonl(task_file.parent / "train.jsonl", rows + rows[:5])
    corpus = load_tasks(task_file, ALL, seed=0).corpus
    assert corpus is not None
    assert sorted(corpus.texts) == sorted(str(row["words"]) for row in rows)


def test_csv_and_json_lines_give_the_same_tasks(task_file: Path, tmp_path: Path) -> None:
    before = load_tasks(task_file, ALL, seed=0)
    awkward = people("train")
    awkward[0]["words"] = 'a "quoted", line\nand more'
    write_jsonl(tmp_path / "train.jsonl", awkward)
    write_csv(tmp_path / "train.csv", awkward)
    write_csv(tmp_path / "test.csv", people("test"))
    other = tmp_path / "csv.toml"
    other.write_text(TASKS.replace(".jsonl", ".csv"))
    assert load_tasks(other, ALL, seed=0).fingerprint != before.fingerprint
    assert load_tasks(other, ALL, 0).fingerprint == load_tasks(task_file, ALL, 0).fingerprint


@pytest.mark.parametrize("written", [1, 1.0, "1"])
@pytest.mark.parametrize("asked", ["1", "1.0", '"1"'])
def test_labels_are_compared_as_texts(task_file: Path, written: object, asked: str) -> None:
    for split in ("train", "test"):
        rows = [{**row, "sex": written if row["sex"] == "m" else 5} for row in people(split)]
        write_jsonl(task_file.parent / f"{split}.jsonl", rows)
    text = TASKS.replace('positive = "m", negative = "f"', f"positive = {asked}, negative = 5")
    task_file.write_text(text)
    assert load_tasks(task_file, ALL, seed=0).scr[0].spurious == Contrast("sex", "1", "5")


def test_coded_labels_are_named_by_values(task_file: Path) -> None:
    codes = {"cook": 0, "pilot": 1, "clerk": 2, "guard": 3}
    before = load_tasks(task_file, ALL, seed=0)
    for split in ("train", "test"):
        rows = [{**row, "job": codes[str(row["job"])]} for row in people(split)]
        write_jsonl(task_file.parent / f"{split}.jsonl", rows)
    names = ", ".join(f'"{number}" = "{name}"' for name, number in codes.items())
    table = f"[datasets.people.values]\njob = {{ {names} }}\n\n[[scr]]"
    task_file.write_text(TASKS.replace("[[scr]]", table, 1))
    assert load_tasks(task_file, ALL, seed=0).fingerprint == before.fingerprint


def test_the_fingerprint_follows_names_labels_and_texts_but_not_the_place(
    task_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = load_tasks(task_file, ALL, seed=0)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("train.jsonl", "test.jsonl", "tasks.toml"):
        (elsewhere / name).write_text((task_file.parent / name).read_text())
    copy = load_tasks(elsewhere / "tasks.toml", ALL, seed=0)
    assert copy.fingerprint == before.fingerprint
    assert copy.source != before.source
    swapped = TASKS.replace('"cook", negative = "pilot"', '"pilot", negative = "cook"')
    for changed in (TASKS.replace('name = "job"', 'name = "work"'), swapped):
        task_file.write_text(changed)
        assert load_tasks(task_file, ALL, seed=0).fingerprint != before.fingerprint
    task_file.write_text(TASKS)
    rows = people("train")
    rows[0]["words"] = "another text"
    write_jsonl(task_file.parent / "train.jsonl", rows)
    assert load_tasks(task_file, ALL, seed=0).fingerprint != before.fingerprint


@pytest.mark.parametrize("hashseed", ["0", "1", "77"])
def test_the_hash_seed_of_python_changes_nothing(task_file: Path, hashseed: str) -> None:
    script = (
        "import sys; from pytest_sae.data.sources import load_tasks;"
        "from pytest_sae.data.tasks import Sizes;"
        "tasks = load_tasks(sys.argv[1], Sizes(20, 10, 10, 10, 10), 3);"
        "print(tasks.fingerprint, 'torch' in sys.modules, 'datasets' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hashseed}
    done = subprocess.run(
        [sys.executable, "-c", script, str(task_file)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    here = load_tasks(task_file, Sizes(20, 10, 10, 10, 10), 3).fingerprint
    assert done.stdout.split() == [here, "False", "False"]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(("cook", "pilot")), st.sampled_from("mf")),
        max_size=120,
    ),
    st.integers(0, 5),
)
def test_any_rows_give_balanced_disjoint_tasks(more: list[tuple[int, str, str]], seed: int) -> None:
    splits = []
    for name, extra in (("train", more), ("test", more[::2])):
        rows = [(str(row["words"]), str(row["job"]), str(row["sex"])) for row in people(name)]
        rows += [(f"shared {number} {job}", job, sex) for number, job, sex in extra]
        texts, jobs, sexes = zip(*rows, strict=True)
        splits.append(LabelledTexts(name, texts, {"job": jobs, "sex": sexes}))
    pair = (splits[0], splits[1])
    scr = spurious_task("s", pair, JOB, SEX, ALL, seed)
    tpp = class_task("t", pair, "job", ["cook", "pilot"], ALL, seed)
    for train, test in ((scr.train, scr.test), (tpp.train, tpp.test)):
        assert len(set(train.texts) | set(test.texts)) == len(train.texts) + len(test.texts)
    for split in (scr.train, scr.test):
        cells = Counter(zip(split.intended, split.spurious, strict=True))
        assert len(set(cells.values())) == 1
    for classes in (tpp.train, tpp.test):
        assert len(set(Counter(classes.labels).values())) == 1


def test_eight_thousand_lines_are_read_quickly(task_file: Path) -> None:
    for split in ("train", "test"):
        write_jsonl(task_file.parent / f"{split}.jsonl", people(split, 1000)[:4000])
    text = TASKS.replace('file = "train.jsonl"', 'file = "test.jsonl"').replace("clerk", "pilot2")
    task_file.write_text(text.replace(', "pilot2"', ""))

    def seconds() -> float:
        start = time.process_time()
        load_tasks(task_file, ALL, seed=0)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.4  # 0.1 s of work; the rest is for slow machines


def test_the_bundled_world_is_found_and_usable() -> None:
    tasks = bundled_tasks(Sizes(50, 10, 10, 10, 10), seed=0)
    assert (bundled_world() / "tasks.toml").is_file()
    assert tasks.source == "bundled"
    assert tasks.corpus is not None
    assert len(tasks.scr) >= 4
    assert len(tasks.tpp) >= 2
    assert all(len(task.test.texts) == 40 for task in tasks.scr)
