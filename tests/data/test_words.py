"""Words of texts, and texts without them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes
from pytest_sae.data.words import delete, words_of
from pytest_sae.errors import DataError
from tests.labelled import TASKS, labelled_data


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("He said that he is tired.", "said that is tired."),
        ("She, he thinks, is here.", ", thinks, is here."),
        ("The shed of HE and she'd", "The shed of and she'd"),
        ("(he runs)\n  He  stops", "( runs)  stops"),
        ("  he stops", " stops"),
        ("none of them", "none of them"),
    ],
)
def test_whole_words_go_with_the_space_before_them(text: str, left: str) -> None:
    assert delete(text, {"he", "she"}) == left


@given(st.text(max_size=60), st.sets(st.sampled_from(["a", "b", "he", "ß", "1"]), max_size=4))
def test_nothing_but_the_words_and_spaces_goes(text: str, words: set[str]) -> None:
    left = delete(text, words)
    assert delete(text, set()) == text
    assert not words & words_of(left) or not words
    kept = [each for each in left if not each.isspace()]
    rest = iter(each for each in text if not each.isspace())
    assert all(each in rest for each in kept)


@given(st.lists(st.sampled_from(["he", "is", "tired", "of", "rain"]), max_size=12))
def test_other_words_stay_in_their_order(words: list[str]) -> None:
    assert delete(" ".join(words), {"he"}).split() == [word for word in words if word != "he"]


def task_file(directory: Path, words: str) -> Path:
    labelled_data(directory)
    path = directory / "tasks.toml"
    path.write_text(TASKS.replace('negative = "m"', f'negative = "m", words = {words}'))
    return path


def test_words_of_a_contrast_are_read_in_lower_case_and_name_the_data(tmp_path: Path) -> None:
    plain = load_tasks(labelled_data(tmp_path), Sizes(), 0)
    worded = load_tasks(task_file(tmp_path, '["She", "he"]'), Sizes(), 0)
    assert plain.scr[0].spurious.words == ()
    assert worded.scr[0].spurious.words == ("she", "he")
    assert worded.scr[0].spurious.name == "gender: f or m"
    assert worded.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('["two words"]', "single word"),
        ('["end."]', "single word"),
        ('[""]', "single word"),
        ('["He", "he"]', "stands twice"),
        ('"he"', "list"),
        ("[1]", "string"),
    ],
)
def test_what_is_no_list_of_words_is_refused(tmp_path: Path, words: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        load_tasks(task_file(tmp_path, words), Sizes(), 0)
