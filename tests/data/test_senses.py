"""[[senses]] tables: pairs of sentences with one word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_sae.data.senses import SensesSizes
from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes, Tasks
from pytest_sae.errors import DataError

TABLE = """
version = 1
[[senses]]
name = "wic"
file = "pairs.jsonl"
"""


def row(number: int, **changes: object) -> dict[str, object]:
    plain = {
        "word": f"w{number % 7}",
        "sentence1": f"a{number} w{number % 7}",
        "sentence2": f"b{number} w{number % 7}",
        "label": number % 2 > 0,
    }
    return {**plain, **changes}


def load(
    directory: Path, rows: list[dict[str, object]], more: str = "", most: int | None = None
) -> Tasks:
    (directory / "pairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    path = directory / "tasks.toml"
    path.write_text(TABLE + more)
    return load_tasks(path, Sizes(senses=SensesSizes(most)), 0)


def test_pairs_are_read_with_their_sense(tmp_path: Path) -> None:
    (task,) = load(tmp_path, [row(n) for n in range(60)]).senses
    assert len(task.pairs) == 60
    assert {pair.first: pair.same for pair in task.pairs}["a8 w1"] is False
    assert sum(pair.same for pair in task.pairs) == 30


def test_the_word_is_read_where_it_stands_last_and_nothing_after_it(tmp_path: Path) -> None:
    (task,) = load(tmp_path, [row(n) for n in range(60)]).senses
    pair = next(each for each in task.pairs if each.first == "a8 w1")
    assert task.read(pair, pair.first) == "a8 w1 The w1"
    (own,) = load(tmp_path, [row(n) for n in range(60)], 'prompt = "{word}: {text} {word}!"').senses
    assert own.read(pair, pair.second) == "w1: b8 w1 w1"


def test_a_sentence_with_a_slot_in_it_is_read_as_it_is(tmp_path: Path) -> None:
    rows = [row(n, sentence1=f"the {{word}} {n}") for n in range(60)]
    (task,) = load(tmp_path, rows).senses
    pair = next(each for each in task.pairs if each.second == "the {word} 28")
    assert task.read(pair, pair.second) == "the {word} 28 The w0"


def test_neither_order_nor_repeats_nor_which_sentence_is_first_matter(tmp_path: Path) -> None:
    rows = [row(n) for n in range(60)]
    turned = [{**r, "sentence1": r["sentence2"], "sentence2": r["sentence1"]} for r in rows[::-1]]
    one, other = (load(tmp_path, each).fingerprint for each in (rows, [*turned, *rows[:9]]))
    assert one == other


def test_as_many_of_either_kind_are_taken(tmp_path: Path) -> None:
    rows = [row(n, label=n % 3 == 0) for n in range(120)]
    (task,) = load(tmp_path, rows, most=25).senses
    assert [sum(each.same is kind for each in task.pairs) for kind in (True, False)] == [25, 25]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label": "maybe"}, "has 'maybe' as label. Expected 1, true, T or same"),
        ({"sentence2": "b1 w1", "sentence1": "a1 w1", "word": "w1", "label": False}, "both that"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        load(tmp_path, [*(row(n) for n in range(60)), row(61, **change)])


@pytest.mark.parametrize("prompt", ["{text}", "the {word} in {text}", "nothing"])
def test_a_prompt_without_the_word_at_its_end_is_refused(tmp_path: Path, prompt: str) -> None:
    with pytest.raises(DataError, match="the word is read where it stands last"):
        load(tmp_path, [row(n) for n in range(60)], f'prompt = "{prompt}"')


def test_too_few_pairs_of_a_kind_are_refused(tmp_path: Path) -> None:
    rows = [row(n, label=n < 10) for n in range(60)]
    with pytest.raises(DataError, match=r"10 pairs with the same sense\. Expected 20"):
        load(tmp_path, rows)
