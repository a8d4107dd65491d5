"""npz files give arrays of numbers or are refused: no objects, no bombs, no names that escape."""

from __future__ import annotations

import contextlib
import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.containers.npz_file import read_npz
from pytest_sae.errors import DictionaryError

quietly = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


class _Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_of_shape(shape: str, descr: str = "'<f4'", data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def write(path: Path, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match="no readable npz") as caught:
        read_npz(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", "|u1", "|b1"])
def test_arrays_come_as_they_were_saved(tmp_path: Path, save: Any, dtype: str) -> None:
    path = tmp_path / "w.npz"
    whole = np.arange(6).reshape(2, 3).astype(dtype)
    save(path, whole=whole, turned=whole.T, scalar=whole[1, 1], nothing=whole[:0])
    read = read_npz(path)
    assert list(read) == ["nothing", "scalar", "turned", "whole"]
    assert torch.equal(read["whole"], torch.from_numpy(whole.astype(whole.dtype.newbyteorder("="))))
    assert torch.equal(read["turned"], read["whole"].T)
    assert read["scalar"].shape == ()
    assert read["nothing"].shape == (0, 3)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path, trace = tmp_path / "w.npz", tmp_path / "executed"
    array = np.empty(1, dtype=object)
    array[0] = _Malicious(trace)
    np.savez(path, W_enc=array)
    assert "object" in refusal(path)
    assert not trace.exists()
    np.load(path, allow_pickle=True)["W_enc"]
    assert trace.exists(), "the trap itself must work"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    zeros = np.zeros(2**25, np.float32)  # 128 MiB in 128 KiB
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, W_enc=zeros)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        assert "a zip bomb" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_biases_of_zeros_are_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez_compressed(path, b_enc=np.zeros(2**16, np.float32))
    assert read_npz(path)["b_enc"].shape == (2**16,)


@pytest.mark.parametrize(
    "shape", ["(10**12,)", "(1000000000000,)", "(4, -1)", "(2,)", "(0,)", "3", "('a',)", "(2.5,)"]
)
def test_a_shape_that_its_entry_has_no_room_for_allocates_nothing(
    tmp_path: Path, shape: str
) -> None:
    refusal(write(tmp_path / "w.npz", **{"a.npy": npy_of_shape(shape, data=b"\0" * 4)}))


@pytest.mark.parametrize("descr", ["'<c8'", "'<U4'", "'|S4'", "'|V2'", "[('a', '<f4')]", "'x'"])
def test_what_is_no_number_is_refused(tmp_path: Path, descr: str) -> None:
    refusal(write(tmp_path / "w.npz", **{"a.npy": npy_of_shape("(1,)", descr, b"\0" * 16)}))


@pytest.mark.parametrize("name", ["../a.npy", "/a.npy", "b/../../a.npy", "C:a.npy", "..\\a.npy"])
def test_names_that_escape_are_refused(tmp_path: Path, name: str) -> None:
    assert "leaves its place" in refusal(write(tmp_path / "w.npz", **{name: npy(np.ones(2))}))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["w.npz"]


def test_other_entries_and_entries_that_stand_twice_are_refused(tmp_path: Path) -> None:
    assert "no .npy" in refusal(write(tmp_path / "w.npz", **{"a.txt": b"hello"}))
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.writestr("a.npy", npy(np.ones(2)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", npy(np.ones(2)))
    assert "stands 2 times" in refusal(tmp_path / "v.npz")


@pytest.mark.parametrize("keep", [0, 10, 200, -1, -30])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, a=np.ones(50), b=np.ones(3))
    path.write_bytes(path.read_bytes()[:keep])
    refusal(path)


@quietly
@given(st.binary(max_size=80))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random.npz"
    for whole in (content, None):
        if whole is None:
            write(path, **{"a.npy": content})
        else:
            path.write_bytes(whole)
        refusal(path)


@quietly
@given(st.integers(0, 700), st.binary(min_size=1, max_size=6))
def test_any_damage(tmp_path: Path, place: int, new: bytes) -> None:
    path = tmp_path / "w.npz"
    np.savez_compressed(path, a=np.ones((4, 5)), b=np.ones(3))
    original = path.read_bytes()
    path.write_bytes(original[:place] + new + original[place + len(new) :])
    with contextlib.suppress(DictionaryError):
        read_npz(path)
