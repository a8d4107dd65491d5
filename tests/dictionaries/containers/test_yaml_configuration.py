"""A YAML configuration is plain values that stand where they count, or it is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.containers.configuration import read_configuration
from pytest_sae.errors import DictionaryError

quietly = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
names = st.text("abcdef", min_size=1, max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "conf.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        read_configuration(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@quietly
@given(st.dictionaries(names, values, max_size=4))
def test_an_object_comes_as_it_was_written(tmp_path: Path, config: dict[str, object]) -> None:
    """JSON is YAML, so that the one's writer is a witness of the other's reader."""
    assert read_configuration(write(tmp_path, json.dumps(config))) == config


def test_what_is_indented_lies_inside(tmp_path: Path) -> None:
    text = "sae:\n  k: 5  # of each token\n  tied: true\nnames: [a, b]\n"
    expected = {"sae": {"k": 5, "tied": True}, "names": ["a", "b"]}
    assert read_configuration(write(tmp_path, text)) == expected


def test_aliases_that_would_grow_without_bound_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    started = time.perf_counter()
    assert "has an alias" in refusal(write(tmp_path, "\n".join(lines)))
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("text", ["k: 1\nk: 2\n", "sae:\n  k: 1\n  d: 0\n  k: 1\n"])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    assert "the key 'k' stands twice" in refusal(write(tmp_path, text))


def test_a_tag_that_would_run_code_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    refusal(write(tmp_path, f"k: !!python/object/apply:os.mkdir ['{trace}']\n"))
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    ["", "- 1\n- 2\n", "text", "k: [", "k: !unheard 3", "{k", b"\xff\xfe\x00", "a: 1\n--- \nb: 2",
     "? [1]\n: 2\n", "[" * 5000, "a: " + "{b: " * 40 + "1" + "}" * 40],
)  # fmt: skip
def test_what_is_no_plain_object(tmp_path: Path, content: str | bytes) -> None:
    assert len(refusal(write(tmp_path, content))) < 1000


def test_a_large_file_is_not_parsed(tmp_path: Path) -> None:
    path = write(tmp_path, "k: 0\n" * 100_000)
    started = time.perf_counter()
    assert "bytes. Expected a configuration of at most" in refusal(path)
    assert time.perf_counter() - started < 1
