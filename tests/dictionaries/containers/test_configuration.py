"""A JSON configuration is a small object, or it is refused in bounded time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.containers.configuration import read_configuration
from pytest_sae.errors import DictionaryError

quietly = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "cfg.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        read_configuration(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@quietly
@given(st.dictionaries(st.text(max_size=4), values))
def test_an_object_comes_as_it_was_written(tmp_path: Path, config: dict[str, object]) -> None:
    assert read_configuration(write(tmp_path, json.dumps(config))) == config


@pytest.mark.parametrize("text", ['{"k": 1, "k": 2}', '{"a": {"k": 1, "b": 0, "k": 1}}'])
def test_a_key_that_stands_twice_is_refused_whichever_value_was_meant(
    tmp_path: Path, text: str
) -> None:
    assert "the key 'k' stands twice" in refusal(write(tmp_path, text))


@pytest.mark.parametrize("depth", [33, 100, 900, 100_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_deep_nesting(tmp_path: Path, depth: int, pair: str) -> None:
    opened = '{"a":' if pair == "{}" else "["
    text = '{"a":' + opened * depth + "1" + pair[1] * depth + "}"
    message = refusal(write(tmp_path, text))
    assert "levels" in message or "recursion" in message.lower()
    assert len(message) < 500


def test_a_million_entries_are_refused_by_their_size_alone(tmp_path: Path) -> None:
    path = write(tmp_path, '{"k": 0' + ',"k": 0' * 1_000_000 + "}")
    started = time.perf_counter()
    assert "bytes. Expected a configuration of at most" in refusal(path)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"k": ', "null", "[1]", '"text"', "3", b"\xff\xfe{}", '{"k": 1e999999', "9" * 9999],
)
def test_what_is_no_object(tmp_path: Path, content: str | bytes) -> None:
    refusal(write(tmp_path, content))


def test_a_directory_or_nothing_in_its_place(tmp_path: Path) -> None:
    refusal(tmp_path)
    refusal(tmp_path / "nowhere.json")


@quietly
@given(st.binary(max_size=60).filter(lambda content: not content.strip().startswith(b"{")))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    refusal(write(tmp_path, content))
