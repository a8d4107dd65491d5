"""safetensors are read whole or refused, and a header is believed only as far as the file goes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pytest_sae.dictionaries.containers.safetensors_file import read_safetensors
from pytest_sae.errors import DictionaryError

quietly = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)


def write(path: Path, header: Any, data: bytes = b"\0" * 16, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match="no readable safetensors") as caught:
        read_safetensors(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_tensors_come_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "nothing": torch.zeros(0, 4)}
    save_file(tensors, path, metadata={"format": "pt"})
    read = read_safetensors(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


def test_a_header_that_is_fine_passes(tmp_path: Path) -> None:
    assert read_safetensors(write(tmp_path / "w", {"a": GOOD}))["a"].shape == (2, 2)


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_begins_as_a_pickle_does_is_none(tmp_path: Path, length: int) -> None:
    path, w = tmp_path / "w.safetensors", {"a": torch.arange(4.0)}
    save_file(w, path, metadata={"padding": ""})
    bare = int.from_bytes(path.read_bytes()[:8], "little")
    save_file(w, path, metadata={"padding": "x" * (length - bare)})
    assert path.read_bytes()[:2] == length.to_bytes(2, "little")
    assert torch.equal(read_safetensors(path)["a"], w["a"])


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9, 100])
def test_a_header_longer_than_the_file_is_not_read(tmp_path: Path, length: int) -> None:
    assert f"claims {length:,} bytes" in refusal(write(tmp_path / "w", {"a": GOOD}, length=length))


@pytest.mark.parametrize(
    "header",
    [
        {"a": GOOD, "b": GOOD},
        {"a": GOOD, "b": {**GOOD, "data_offsets": [8, 24]}},
        {"a": {**GOOD, "data_offsets": [16, 32]}},
        {"a": {**GOOD, "data_offsets": [-16, 0]}},
        {"a": {**GOOD, "data_offsets": [0, 2**62]}},
        {"a": {**GOOD, "shape": [2**31, 2**31]}},
        {"a": {**GOOD, "shape": [-2, -2]}},
        {"a": {**GOOD, "shape": [2.0, 2.0]}},
        {"a": {**GOOD, "shape": "22"}},
        {"a": {**GOOD, "shape": [True, 4]}},
        {"a": {**GOOD, "dtype": "F31"}},
        {"a": {**GOOD, "dtype": ["F32"]}},
        {"a": {"dtype": "F32", "shape": [2, 2]}},
        {"a": 3},
        {"a": None},
        [],
        {},
        b'{"a": {"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}, "a": 1}',
        b'{"a": ',
        b"\xff\xfe",
        b"[" * 50_000,
    ],
    ids=lambda header: str(header)[:60],
)
def test_a_header_that_the_file_does_not_bear_out(tmp_path: Path, header: object) -> None:
    refusal(write(tmp_path / "w", header))


def test_tensors_that_overlap_or_leave_gaps_are_named(tmp_path: Path) -> None:
    twice = {"a": GOOD, "b": GOOD}
    assert "'b' begins at 0, where 16 is due" in refusal(write(tmp_path / "w", twice))
    late = {"a": {**GOOD, "data_offsets": [4, 20]}}
    assert "begins at 4" in refusal(write(tmp_path / "w", late, b"\0" * 20))
    assert "20 follow its header" in refusal(write(tmp_path / "w", {"a": GOOD}, b"\0" * 20))


@quietly
@given(st.binary(max_size=80))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random"
    path.write_bytes(content)
    with pytest.raises(DictionaryError):
        read_safetensors(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@quietly
@given(st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), values))
def test_any_entry_of_a_header(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write(tmp_path / "w", {"a": {**GOOD, **changes}})
    with contextlib.suppress(DictionaryError):
        assert read_safetensors(path)["a"].numel() == 4
