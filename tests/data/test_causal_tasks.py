"""Tasks whose variables are known: entities, attributes, questions, and what is refused."""

from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path

import pytest

from pytest_sae.data.attributes import PrincipledSizes, counterfactuals
from pytest_sae.data.entities import published_task
from pytest_sae.data.sources import bundled_tasks, load_tasks
from pytest_sae.data.tasks import Sizes, Tasks
from pytest_sae.data.unlearning import Prompt, Question, UnlearningSizes, orders
from pytest_sae.errors import DataError
from tests.data.conftest import refusal, write_jsonl

TASKS = """
version = 1

[[ravel]]
name = "towns"
attributes = ["land", "tongue"]
entities = "towns.jsonl"
entity = "town"
prompts = "prompts.jsonl"

[[principled]]
name = "roles"
file = "roles.jsonl"
attributes = ["who", "order"]
answer = "who"
other = "wrong"
group = "group"

[[unlearning]]
name = "plants"
corpus = "texts.jsonl"
label = "subject"
forget = "plants"
retain = "stars"
questions = "questions.jsonl"
"""


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    towns = [
        {"town": f"T{i}", "land": f"L{i % 4}", "tongue": f"S{i % 3}", "split": split}
        for i, split in enumerate(["train"] * 8 + ["test"] * 6 + ["val"] * 3)
    ]
    prompts = [
        {"template": f"{text} {attribute} {{town}} is", "attribute": attribute, "split": split}
        for text, attribute, split in product(("The", "A"), ("land", "tongue"), ("train", "test"))
    ]
    roles = [
        {"text": f"{group} {who} {order}", "who": who, "order": order, "wrong": "Z", "group": group}
        for group, who, order in product(range(30), "AB", "xy")
    ]
    texts = [{"text": f"{s} {i}", "subject": s} for s in ("plants", "stars") for i in range(9)]
    questions = [
        {"question": f"q{i}", "options": ["a", "b", "c"], "answer": "B", "subject": subject}
        for subject in ("plants", "stars")
        for i in range(12)
    ]
    files = {
        "towns": towns,
        "prompts": prompts,
        "roles": roles,
        "texts": texts,
        "questions": questions,
    }
    for name, rows in files.items():
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    path = tmp_path / "tasks.toml"
    path.write_text(TASKS)
    return path


def load(path: Path, **sizes: object) -> Tasks:
    return load_tasks(path, Sizes(**sizes), 0)  # type: ignore[arg-type]


def test_entities_and_templates_keep_their_splits_and_other_splits_are_left_out(
    task_file: Path,
) -> None:
    (task,) = load(task_file).ravel
    assert [entity.name for entity in task.entities["test"]] == [f"T{i}" for i in range(8, 14)]
    assert task.entities["train"][1].values == ("L1", "S1")
    assert len(task.templates["train"]) == 4
    first = task.templates["train"][0]
    assert first.of(task.entities["train"][0]) == "The land T0 is"
    assert task.attributes[first.attribute] == "land"
    assert task.position == "entity"


@pytest.mark.parametrize(("place", "automatic"), [("auto", True), ("who", False)])
def test_the_place_of_a_principled_task_is_a_column_or_left_to_be_chosen(
    task_file: Path, place: str, automatic: bool
) -> None:
    (named,) = load(task_file).principled
    task_file.write_text(TASKS.replace('group = "group"', f'group = "group"\nplace = "{place}"'))
    (task,) = load(task_file).principled
    assert task.automatic is automatic
    assert (task.fit.words is None) is automatic
    assert task.fit.texts == named.fit.texts
    assert task.fingerprint != named.fingerprint


def test_halves_of_a_principled_task_share_no_group(task_file: Path) -> None:
    (task,) = load(task_file).principled
    assert not set(task.fit.texts) & set(task.test.texts)
    groups = [{text.split()[0] for text in half.texts} for half in (task.fit, task.test)]
    assert [len(each) for each in groups] == [15, 15]
    assert not groups[0] & groups[1]
    few = load(task_file, principled=PrincipledSizes(groups=6)).principled[0]
    assert set(few.fit.texts) <= set(task.fit.texts)


def test_counterfactuals_differ_in_one_attribute_alone(task_file: Path) -> None:
    (task,) = load(task_file).principled
    texts = task.test
    for attribute in (0, 1):
        found = counterfactuals(texts, attribute)
        assert len(found) == len(texts.texts)
        for base, others in found.items():
            assert len(others) == 1
            for other in others:
                assert texts.groups[base] == texts.groups[other]
                same = [
                    one == two
                    for one, two in zip(texts.values[base], texts.values[other], strict=True)
                ]
                assert same == [place != attribute for place in (0, 1)]


def test_test_texts_with_a_value_that_cannot_be_fitted_are_counted(task_file: Path) -> None:
    rows = [
        json.loads(line)
        for line in (task_file.parent / "roles.jsonl").read_text().split("\n")
        if line
    ]
    (task,) = load(task_file).principled
    lonely = task.test.texts[0].split()[0]
    for row in rows:
        if str(row["group"]) == lonely:
            row["who"] = row["who"] + "!"
    write_jsonl(task_file.parent / "roles.jsonl", rows)
    (again,) = load(task_file).principled
    assert again.dropped == 4
    assert len(again.test.texts) == len(task.test.texts) - 4


def test_questions_are_put_with_their_options_behind_letters(task_file: Path) -> None:
    (task,) = load(task_file).unlearning
    question = Question("Which?", ("a", "b", "c"), 1, "1")
    assert task.prompt.of(question, (2, 0, 1)) == "Question: Which? A c B a C b Answer:"
    own = Prompt("{question}\n{options}\nA:", "({letter}) {text}", "\n")
    assert own.of(question, (0, 1, 2)) == "Which?\n(A) a\n(B) b\n(C) c\nA:"
    assert {q.right for q in task.forget_questions} == {1}
    assert len(task.forget) == 9
    few = load(task_file, unlearning=UnlearningSizes(texts=3, questions=10)).unlearning[0]
    assert set(few.forget_questions) <= set(task.forget_questions)
    assert (len(few.forget), len(few.retain_questions)) == (3, 10)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_orders_are_all_orders_and_begin_with_the_rotations(count: int) -> None:
    found = orders(count)
    assert sorted(found) == sorted(permutations(range(count)))
    for place in range(count):
        assert sorted(order[place] for order in found[:count]) == list(range(count))


@pytest.mark.parametrize("answer", ["B", 1, "b"])
def test_an_answer_is_a_letter_an_index_or_an_option(task_file: Path, answer: object) -> None:
    path = task_file.parent / "questions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    write_jsonl(path, [{**row, "answer": answer} for row in rows])
    assert {q.right for q in load(task_file).unlearning[0].forget_questions} == {1}


def test_options_may_stand_in_columns_of_their_own(task_file: Path) -> None:
    path = task_file.parent / "questions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    named = [{**row, **dict(zip("xyz", row.pop("options"), strict=True))} for row in rows]
    write_jsonl(path, named)
    path = task_file
    path.write_text(TASKS + 'options = ["x", "y", "z"]\n')
    assert load(path).unlearning[0].retain_questions[0].options == ("a", "b", "c")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"land", "tongue"', '"land", "land"', "attribute 'land' stands twice"),
        ('entities = "towns.jsonl"\n', "", "does not say where its data is"),
        ('entity = "town"', 'entity = "city"', "no column 'city'"),
        ('attributes = ["land", "tongue"]', 'attributes = ["land"]', "at least 2 items"),
        ('"land", "tongue"', '"land", "sea"', "no column 'sea'"),
        ('other = "wrong"', 'other = "false"', "no column 'false'"),
        ('forget = "plants"', 'forget = "stars"', "label 'stars' stands twice"),
        ('forget = "plants"', 'forget = "rocks"', "0 texts and 0 questions with the label 'rocks'"),
        (
            'retain = "stars"',
            'retain = "stars"\nprompt = "{question}"',
            "'{question}' without {options}",
        ),
    ],
)
def test_a_mistake_in_a_table_is_named(task_file: Path, old: str, new: str, said: str) -> None:
    assert old in TASKS
    task_file.write_text(TASKS.replace(old, new, 1))
    assert said in refusal(task_file)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("prompts", {"template": "no place"}, "Expected {town} in it"),
        ("towns", {"town": "T1"}, "entity 'T1' stands twice"),
        ("towns", {"split": "val"}, "0 entities of split 'train'"),
        ("prompts", {"split": "train"}, "no template of split 'test' asks for 'land'"),
        ("roles", {"who": "A"}, "all texts of one half"),
        ("questions", {"options": ["a", "a"]}, "Expected a list of 2 to 5"),
        ("questions", {"options": "abc"}, "Expected a list of 2 to 5"),
        ("questions", {"answer": "D"}, "Expected one of A, B, C"),
        ("questions", {"answer": 3}, "Expected one of A, B, C"),
    ],
)
def test_a_file_with_a_mistake_is_named(
    task_file: Path, file: str, change: dict[str, object], said: str
) -> None:
    path = task_file.parent / f"{file}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    write_jsonl(path, [{**row, **change} for row in rows])
    assert said in refusal(task_file)


def published(directory: Path) -> Path:
    """Write files of the form that RAVEL's own have."""
    towns = {f"T{i}": {"Land": f"L{i % 4}", "Tongue": f"S{i % 3}"} for i in range(20)}
    asked = {"Land": ["%s is in", "They live in %s, in"], "Tongue": ["%s speaks", "In %s they say"]}
    splits = {name: ("train", "test", "val")[i % 3] for i, name in enumerate(towns)}
    parts = {text: ("train", "test")[i] for texts in asked.values() for i, text in enumerate(texts)}
    contents = {
        "entity_attributes": towns,
        "entity_to_split": splits,
        "attribute_to_prompts": asked,
        "prompt_to_split": parts,
    }
    for name, content in contents.items():
        (directory / f"ravel_town_{name}.json").write_text(json.dumps(content))
    return directory


def test_ravels_own_files_keep_the_published_split(tmp_path: Path) -> None:
    task = published_task("t", published(tmp_path), "town", ["Land", "Tongue"], "entity")
    assert [entity.name for entity in task.entities["train"]] == [f"T{i}" for i in range(0, 20, 3)]
    assert [template.text for template in task.templates["test"]] == [
        "They live in {}, in",
        "In {} they say",
    ]
    table = TASKS.split("[[principled]]")[0].replace('entities = "towns.jsonl"', 'published = "."')
    table = table.replace('prompts = "prompts.jsonl"', 'kind = "town"')
    table = table.replace('"land", "tongue"', '"Land", "Tongue"')
    (tmp_path / "tasks.toml").write_text(table)
    assert load(tmp_path / "tasks.toml").ravel[0].entities == task.entities


def test_ravels_own_files_are_checked(tmp_path: Path) -> None:
    published(tmp_path)
    with pytest.raises(DataError, match=r"no attribute 'Lan'.*Land"):
        published_task("t", tmp_path, "town", ["Lan", "Tongue"], "entity")
    (tmp_path / "ravel_town_entity_to_split.json").write_text("[1]")
    with pytest.raises(DataError, match="holds a list"):
        published_task("t", tmp_path, "town", ["Land", "Tongue"], "entity")
    with pytest.raises(DataError, match="ravel_person_entity_attributes"):
        published_task("t", tmp_path, "person", ["Land", "Tongue"], "entity")


def test_the_bundled_tasks_are_there_and_part_of_the_fingerprint() -> None:
    tasks = bundled_tasks(Sizes(), 0)
    assert [task.name for task in tasks.ravel] == ["cities"]
    assert tasks.ravel[0].position == "last"
    assert [task.attributes for task in tasks.principled] == [
        ("indirect_object", "subject", "order")
    ]
    assert [task.name for task in tasks.unlearning] == ["biology"]
    other = bundled_tasks(Sizes(unlearning=UnlearningSizes(questions=20)), 0)
    assert other.fingerprint != tasks.fingerprint
