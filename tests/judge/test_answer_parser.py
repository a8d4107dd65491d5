"""Answers are read strictly, and what is wrong with one is said in stable words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.judge.answer_parser import InvalidAnswerError, parse
from pytest_sae.judge.form import Form, choice, closed, integer, sentence

FREE = Form({"type": "object"}, dict[str, Any])
FORM = closed(
    {"ratings": closed({"gender": integer(4)}), "pick": choice("A", "B"), "why": sentence(9)}
)
GOOD = {"ratings": {"gender": 1}, "pick": "A", "why": "so"}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4)


@given(OBJECTS, st.sampled_from(["{}", " \n{}\n", "```json\n{}\n```", "```json {} ```\n"]))
def test_an_object_alone_or_fenced_is_read_as_it_is(value, frame: str) -> None:
    text = frame.replace("{}", json.dumps(value, ensure_ascii=False))
    assert parse(text, FREE) == value


@given(OBJECTS, st.text(min_size=1).filter(str.strip), st.booleans())
def test_text_beside_the_object_is_refused(value, beside: str, before: bool) -> None:
    text = json.dumps(value)
    with pytest.raises(InvalidAnswerError):
        parse(beside + text if before else text + beside, FREE)


@given(st.text())
def test_any_text_is_an_object_or_a_short_sentence(text: str) -> None:
    try:
        assert isinstance(parse(text, FREE), dict)
    except InvalidAnswerError as error:
        assert 0 < len(str(error)) < 200  # noqa: PT017


@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_json_that_is_no_object_is_refused(value) -> None:
    with pytest.raises(InvalidAnswerError, match="no object"):
        parse(json.dumps(value), FREE)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty"),
        ("Nein.", "it is not valid JSON"),
        ('Here: {"a": 1}', "there is text beside the JSON object"),
        ('{"a": 1}{"a": 1}', "it is not valid JSON"),
        ('{"a": 1, "a": 2}', 'the key "a" occurs twice in one object'),
        ('{"a": {"b": 1, "b": 1}}', 'the key "b" occurs twice in one object'),
        ('{"a": Infinity}', "Infinity is no JSON number"),
        ('{"a": 1e999}', "a number is too large"),
        ('{"a": "\\ud800"}', "it has half of a surrogate pair in a string"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "it is not valid JSON"),
        ("```json\n{}\n```\n```json\n{}\n```", "there is text beside the JSON object"),
        ("```\n{}\n```", "there is text beside the JSON object"),
    ],
)
def test_what_is_no_object_is_said(text: str, sentence: str) -> None:
    with pytest.raises(InvalidAnswerError) as raised:
        parse(text, FREE)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, 'there is no key "ratings", "pick", "why"'),
        (GOOD | {"ratings": {}}, 'at ratings there is no key "gender"'),
        (GOOD | {"ratings": 1}, 'at ratings 1 is not of type "object"'),
        (GOOD | {"ratings": {"gender": 5}}, "at ratings.gender 5 is not one of [0, 1, 2, 3, 4]"),
        (GOOD | {"ratings": {"gender": True}}, 'at ratings.gender true is not of type "integer"'),
        (GOOD | {"ratings": {"gender": "1"}}, 'at ratings.gender "1" is not of type "integer"'),
        (GOOD | {"x": 1, "key_0": 1}, 'there is the unknown key "key_0", "x"'),
        (GOOD | {"pick": "C"}, 'at pick "C" is not one of ["A", "B"]'),
        (GOOD | {"pick": 1}, 'at pick 1 is not of type "string"'),
        (GOOD | {"why": 1}, 'at why 1 is not of type "string"'),
        (GOOD | {"why": "\x1c"}, 'at why "\\u001c" breaks pattern "\\\\S"'),
        (GOOD | {"why": "because it is"}, 'at why "because it is" breaks maxLength 9'),
    ],
)
def test_what_breaks_the_schema_is_said_in_words_that_no_library_changes(value, sentence) -> None:
    with pytest.raises(InvalidAnswerError) as raised:
        parse(json.dumps(value), FORM)
    assert str(raised.value) == sentence
