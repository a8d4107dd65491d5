"""Answers are read strictly, and what is wrong with one is said in stable words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.judge.parse import InvalidAnswerError, parse

FREE = {"type": "object"}
FORM = {
    "type": "object",
    "properties": {
        "ratings": {
            "type": "object",
            "properties": {"gender": {"type": "integer", "minimum": 0, "maximum": 4}},
            "required": ["gender"],
            "additionalProperties": False,
        },
        "pick": {"enum": ["A", "B"]},
    },
    "required": ["ratings"],
    "additionalProperties": False,
}
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
        ({}, 'there is no key "ratings"'),
        ({"ratings": {}}, 'at ratings there is no key "gender"'),
        ({"ratings": {"gender": 5}}, "at ratings.gender 5 breaks maximum 4"),
        ({"ratings": {"gender": True}}, 'at ratings.gender true is not of type "integer"'),
        ({"ratings": {"gender": 1}, "x": 1}, 'there is the unknown key "x"'),
        ({"ratings": {"gender": 1}, "pick": "C"}, 'at pick "C" is not one of ["A", "B"]'),
    ],
)
def test_what_breaks_the_schema_is_said_in_words_that_no_library_changes(value, sentence) -> None:
    with pytest.raises(InvalidAnswerError) as raised:
        parse(json.dumps(value), FORM)
    assert str(raised.value) == sentence
