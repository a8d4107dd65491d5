"""Contexts written for a judge: every mark is ours, and nothing of the text is lost."""

import math
import re
from itertools import compress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_sae.activations.contexts import Context
from pytest_sae.judge.marking import level, marked, numbered, plain, unmark

HOSTILE = (
    "<<",
    ">>",
    ">>(4)",
    "<",
    ">",
    "(7)",
    '"}]',
    "\n",
    "\x00",
    "<<a>>(9)",
    "ş",
    "女",
    "🙂",
    "'",
)
PIECES = st.one_of(st.text(max_size=6), st.sampled_from(HOSTILE))
TOKENS = st.tuples(PIECES, st.floats(-5, 5, allow_nan=False), st.booleans())


@st.composite
def contexts(draw) -> tuple[Context, list[bool]]:
    tokens = draw(st.lists(TOKENS, max_size=8))
    pieces, activations, marks = zip(*tokens, strict=True) if tokens else ((), (), ())
    return Context(0, pieces, activations), list(marks)


def witness(context: Context, levels: list[int]) -> tuple[list[str], list[int]]:
    """Words character by character: a run of letters, digits and apostrophes, or a character."""
    words: list[str] = []
    heights: list[int] = []
    inside = False
    for piece, height in zip(context.pieces, levels, strict=True):
        for character in piece:
            belongs = character.isalnum() or character in "'\u2019"
            if character.isspace():
                inside = False
                continue
            if inside and belongs:
                words[-1] += character
                heights[-1] = max(heights[-1], height)
            else:
                words.append(character)
                heights.append(height)
            inside = belongs
    return words, heights


@given(contexts())
@example(
    (Context(0, ("sing", "ing <", "<", "<"), (0.0, 1.0, 0.0, 2.0)), [False, True, False, True])
)
@example((Context(0, ("a", "(7)", ">>(4)", "<<"), (1.0, 0.0, 0.0, 0.0)), [True, False, True, True]))
def test_words_and_levels_come_back_whatever_the_text(given_context) -> None:
    context, marks = given_context
    peak = context.peak
    levels = [level(each, peak) for each in context.activations]
    assert unmark(numbered(context, peak)) == witness(context, levels)
    assert unmark(marked(context, marks)) == witness(context, [int(each) for each in marks])
    assert unmark(plain(context)) == witness(context, [0] * len(marks))


@given(contexts())
def test_every_double_bracket_is_a_mark_and_holds_one_token(given_context) -> None:
    context, marks = given_context
    written = marked(context, marks)
    tokens = sum(bool(piece.strip()) for piece in compress(context.pieces, marks))
    assert len(re.findall("<<", written)) == len(re.findall(">>", written)) == tokens
    assert not re.search("<<|>>", plain(context))


@given(contexts())
def test_without_spaces_the_text_is_what_it_was(given_context) -> None:
    """Marks add brackets and spaces, plain contexts add spaces between brackets only."""
    context, _ = given_context
    assert "".join(plain(context).split()) == "".join(context.text.split())


@given(st.text(max_size=40).filter(lambda text: "<<" not in text and ">>" not in text))
def test_a_text_without_marks_is_left_as_it_is(text: str) -> None:
    context = Context(0, (text,), (0.0,))
    assert plain(context) == numbered(context, 1.0) == marked(context, [False]) == text


@given(st.integers(1, 100))
def test_levels_are_tenths_of_the_peak_rounded_up(percent: int) -> None:
    assert level(percent / 100, 1.0) == -(-percent // 10)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e308))
def test_a_level_is_always_within_0_and_10(activation: float, peak: float) -> None:
    found = level(activation, peak)
    assert 0 <= found <= 10
    assert found == level(-activation, peak)


def test_white_space_stays_outside_the_marks() -> None:
    context = Context(0, ("The", " nurse\n", " ", "and"), (0.0, 0.63, 5.0, -1.0))
    assert numbered(context, 1.0) == "The <<nurse>>(7)\n <<and>>(10)"
    assert marked(context, [True, False, True, False]) == "<<The>> nurse\n and"


def test_a_word_of_several_tokens_has_the_largest_level() -> None:
    context = Context(0, (" sur", "ge", "on's"), (0.2, 0.0, 0.9))
    assert numbered(context, 1.0) == " <<sur>>(2)ge<<on's>>(9)"
    assert unmark(numbered(context, 1.0)) == (["surgeon's"], [9])


def test_a_literal_mark_is_written_apart() -> None:
    assert plain(Context(0, ("a <", "<b>>(4)"), (0.0, 0.0))) == "a < <b> >(4)"
    assert marked(Context(0, ("x", "(7)"), (0.0, 0.0)), [True, False]) == "<<x>> (7)"
    assert marked(Context(0, ("<",), (0.0,)), [True]) == "<< <>>"


def test_marks_of_another_length_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        marked(Context(0, ("a", "b"), (0.0, 0.0)), [True])


def test_infinitely_small_activations_are_not_marked() -> None:
    assert level(math.ulp(0.0), 1.0) == 0
