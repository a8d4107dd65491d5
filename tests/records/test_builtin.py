"""Values as exact builtins."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.records.builtin import to_builtin


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.floats() | st.booleans() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_builtins_stay_what_they_are_but_for_nan(value: Any) -> None:
    built = to_builtin(value)
    text = json.dumps(built, allow_nan=False)
    assert json.loads(text) == built
    if "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value):
        assert built == value


@given(st.text(st.characters()))
def test_every_text_can_be_written_to_a_file(text: str) -> None:
    built = to_builtin(text)
    assert built.encode() == text.encode("utf-8", "backslashreplace")
