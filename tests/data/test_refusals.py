"""Data that cannot be used is refused before any model is loaded, saying where and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes, Tasks
from tests.data.conftest import TASKS, people, refusal, write_csv, write_jsonl


def expected(path: Path) -> str:
    message = refusal(path)
    assert "Expected" in message, message
    return message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("file =", "fil =", "unknown key corpus.fil. Expected file, text. Did you mean 'file'?"),
        (
            "column = ",
            "colum = ",
            "colum. Expected column, negative, positive, words. Did you mean",
        ),
        ("classes =", "clases =", "unknown key tpp.0.clases. Expected classes, column, dataset"),
        ("[[scr]]", "[[src]]", "unknown key src. Expected corpus, datasets,"),
        ('train = "', 'trian = "', "unknown key datasets.people.trian. Expected hub, revision"),
        ('dataset = "people"', 'dataset = "peopel"', "Did you mean 'people'?"),
        ('positive = "cook"', 'positive = "cok"', "no job 'cok'. Expected one of clerk, cook"),
        ('"clerk"]', '"clark"]', "Did you mean 'clerk'?"),
        ('column = "sex"', 'column = "sx"', "no column 'sx'. Expected one of age, job, sex, words"),
        ('text = "words"', 'text = "word"', "line 1: no column 'word'"),
        ("train.jsonl", "trian.jsonl", "trian.jsonl does not exist"),
        ("train.jsonl", "train.parquet", "train.parquet ends in .parquet"),
        ('"pilot", "clerk"]', '"cook", "clerk"]', "class 'cook' stands twice"),
        ('negative = "pilot"', 'negative = "cook"', "value of job 'cook' stands twice"),
        ('column = "sex"', 'column = "job"', "column 'job' stands twice"),
        ("version = 1", "version = 2", "version = 2. Expected version = 1"),
        ("version = 1", "", "version = None. Expected version = 1"),
        ("version = 1", "version = ", "is no TOML"),
        ("[datasets.people]", "[datasets.men]", "Expected one of men"),
    ],
)
def test_a_task_file_with_a_mistake(task_file: Path, old: str, new: str, said: str) -> None:
    assert old in TASKS
    task_file.write_text(TASKS.replace(old, new))
    assert said in expected(task_file)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "job"', "", "scr.0.name: Field required"),
        ('classes = ["cook", "pilot", "clerk"]', 'classes = ["cook"]', "tpp.0.classes"),
        ('classes = ["cook", "pilot", "clerk"]', "classes = 3", "tpp.0.classes"),
        ('train = "train.jsonl"', "train = 3", "datasets.people.train"),
        ("[[tpp]]", "[tpp]", "tpp"),
    ],
)
def test_a_task_file_with_a_missing_or_odd_value(
    task_file: Path, old: str, new: str, said: str
) -> None:
    task_file.write_text(TASKS.replace(old, new))
    message = refusal(task_file)
    assert said in message
    assert "Correct the task file" in message


def test_a_task_file_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist" in expected(tmp_path / "none.toml")


def test_a_task_file_that_is_binary(task_file: Path) -> None:
    task_file.write_bytes(b"\xff\xfe\x00")
    assert "is no TOML" in expected(task_file)


def test_a_task_file_with_nothing_to_measure_on(task_file: Path) -> None:
    task_file.write_text("version = 1\n")
    assert "nothing to measure on" in expected(task_file)


def test_a_name_that_two_tasks_have(task_file: Path) -> None:
    task_file.write_text(TASKS + TASKS[TASKS.index("[[tpp]]") :])
    assert "[[tpp]] name 'jobs' stands twice" in expected(task_file)


@pytest.mark.parametrize("split", ["train", "test"])
def test_too_few_texts_in_a_cell(task_file: Path, split: str) -> None:
    rows = [row for row in people(split) if (row["job"], row["sex"]) != ("pilot", "f")]
    few = [row for row in people(split) if (row["job"], row["sex"]) == ("pilot", "f")][:9]
    write_jsonl(task_file.parent / f"{split}.jsonl", rows + few)
    message = expected(task_file)
    assert f"Task job: the {split} split" in message
    assert "9 usable texts with job=pilot, sex=f" in message


def test_too_few_texts_in_a_class(task_file: Path) -> None:
    rows = [row for row in people("test") if row["job"] != "clerk" or row["age"] in range(4)]
    write_jsonl(task_file.parent / "test.jsonl", rows)
    assert "8 usable texts with job=clerk" in expected(task_file)


def test_a_train_split_that_is_the_test_split(task_file: Path) -> None:
    task_file.write_text(TASKS.replace('test = "test.jsonl"', 'test = "train.jsonl"'))
    assert "0 usable texts" in expected(task_file)


def test_a_corpus_of_too_few_texts(task_file: Path) -> None:
    write_jsonl(task_file.parent / "few.jsonl", people("train")[:9])
    task_file.write_text(TASKS.replace('file = "train.jsonl"', 'file = "few.jsonl"'))
    assert "has 9 texts. Expected at least 10" in expected(task_file)


LINES: list[tuple[str, str]] = [
    ('{"words": "", "job": "cook", "sex": "m"}', "the text is empty"),
    ('{"words": " \\n ", "job": "cook", "sex": "m"}', "the text is empty"),
    ('{"words": 3, "job": "cook", "sex": "m"}', "words is 3"),
    ('{"words": null, "job": "cook", "sex": "m"}', "words is None"),
    ('{"words": "\\ud800", "job": "cook", "sex": "m"}', "no Unicode"),
    ('{"words": "a", "job": "\\ud800", "sex": "m"}', "no Unicode"),
    ('{"words": "a", "job": "cook", "sex": "m", "more": ["\\uDFff"]}', "no Unicode"),
    ('{"words": "a", "job": null, "sex": "m"}', "job is None"),
    ('{"words": "a", "job": ["cook"], "sex": "m"}', "job is ['cook']"),
    ('{"words": "a", "sex": "m"}', "no column 'job'"),
    ('{"words": "a", "job": "cook"', "no JSON"),
    ("words", "no JSON"),
    ("[1]", "a JSON list"),
    ("[" * 100_000, "no JSON"),
]


@pytest.mark.parametrize(("line", "said"), LINES)
def test_a_bad_line_is_named_with_its_file_and_number(
    task_file: Path, line: str, said: str
) -> None:
    path = task_file.parent / "test.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:6], "", line, *lines[6:]]))
    message = expected(task_file)
    assert f"{path}, line 8: " in message
    assert said in message


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file(task_file: Path, content: str) -> None:
    (task_file.parent / "test.jsonl").write_text(content)
    assert "is empty" in expected(task_file)


def test_a_file_that_is_not_utf_8(task_file: Path) -> None:
    (task_file.parent / "test.jsonl").write_bytes('{"words": "é"}'.encode("latin-1"))
    assert "is not UTF-8" in expected(task_file)


CSV: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text.replace("test text 3 on cook m", "", 1), "line 5: the text is empty"),
    (lambda text: text.replace("cook m,", "cook m,extra,", 1), "line 2: 5 fields"),
    (lambda text: text.replace("words", "texts"), "line 2: no column 'words'"),
    (lambda text: text + '"' + "x" * 200_000 + '",a,b,1\n', "no CSV"),
    (lambda text: text.splitlines()[0], "is empty"),
    (lambda text: "", "is empty"),
]


@pytest.mark.parametrize(("spoil", "said"), CSV)
def test_a_bad_csv(task_file: Path, spoil: Callable[[str], str], said: str) -> None:
    path = task_file.parent / "test.csv"
    write_csv(path, people("test"))
    path.write_text(spoil(path.read_text()))
    task_file.write_text(TASKS.replace("test.jsonl", "test.csv"))
    message = expected(task_file)
    assert str(path) in message
    assert said in message


MISSING = """
[[tpp]]
name = "by_hat"
dataset = "people"
column = "hat"
classes = ["cook", "pilot"]
"""


def left_out(tasks: Tasks) -> list[tuple[str, str]]:
    return [(each.told, each.reason) for each in tasks.left_out]


def test_a_table_with_a_missing_column_leaves_the_others_as_they_are(task_file: Path) -> None:
    before = load_tasks(task_file, Sizes(), seed=0)
    task_file.write_text(TASKS + MISSING)
    after = load_tasks(task_file, Sizes(), seed=0)
    assert (after.corpus, after.scr, after.tpp) == (before.corpus, before.scr, before.tpp)
    ((table, reason),) = left_out(after)
    assert table == "[[tpp]] by_hat"
    assert "no column 'hat'" in reason
    assert after.unusable("tpp", "scr") == f"{table} was left out: {reason}"
    assert after.unusable("scr") == "" == before.unusable("tpp")


def test_a_data_set_with_one_bad_row_leaves_those_of_other_files_as_they_are(
    task_file: Path,
) -> None:
    before = load_tasks(task_file, Sizes(), seed=0)
    rows = people("train")
    write_jsonl(task_file.parent / "spoilt.jsonl", [*rows, {**rows[0], "job": None}])
    spoilt = '[datasets.spoilt]\ntrain = "spoilt.jsonl"\ntest = "test.jsonl"\ntext = "words"\n'
    table = MISSING.replace("people", "spoilt").replace("hat", "job")
    task_file.write_text(TASKS + spoilt + table)
    after = load_tasks(task_file, Sizes(), seed=0)
    assert (after.corpus, after.scr, after.tpp) == (before.corpus, before.scr, before.tpp)
    ((name, reason),) = left_out(after)
    assert name == "[[tpp]] by_job"
    assert f"spoilt.jsonl, line {len(rows) + 1}: job is None" in reason


def test_a_corpus_that_cannot_be_read_leaves_the_tasks_as_they_are(task_file: Path) -> None:
    before = load_tasks(task_file, Sizes(), seed=0)
    task_file.write_text(TASKS.replace('file = "train.jsonl"', 'file = "gone.jsonl"'))
    after = load_tasks(task_file, Sizes(), seed=0)
    assert (after.scr, after.tpp, after.corpus) == (before.scr, before.tpp, None)
    assert "gone.jsonl does not exist" in after.unusable("corpus")
