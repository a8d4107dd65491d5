"""torch.save files give tensors and plain values; whatever would have to be run is refused."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.containers.torch_file import read_torch
from pytest_sae.errors import DictionaryError

quietly = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)


@dataclass
class Settings:
    """What a training script may have saved beside its weights."""

    lr: float = 0.1


class _Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


class _Calls:
    """Pickled as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def saved(path: Path, value: object, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def pickled_as(path: Path, pickled: bytes) -> Path:
    """A torch.save archive with another pickle in it."""
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match=r"Expected|copy it") as caught:
        read_torch(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_state_dict_comes_as_it_was_saved(tmp_path: Path) -> None:
    linear = torch.nn.Linear(3, 2)
    tensors, plain = read_torch(saved(tmp_path / "a.pt", linear.state_dict()))
    assert tensors.keys() == {"weight", "bias"}
    assert torch.equal(tensors["weight"], linear.weight)
    assert not tensors["weight"].requires_grad
    assert plain == {}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_number_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    value = torch.arange(6).reshape(2, 3).to(dtype)
    tensors, _ = read_torch(saved(tmp_path / "a.pt", {"a": value, "b": value.T, "c": value[1]}))
    assert torch.equal(tensors["a"], value)
    assert torch.equal(tensors["b"], value.T)
    assert torch.equal(tensors["c"], value[1])


def test_nested_tensors_get_dotted_names_and_plain_values_stay_nested(tmp_path: Path) -> None:
    value = {
        "state_dict": collections.OrderedDict(w=torch.ones(2), k=3),
        "cfg": {"k": 32, "names": ["a", "b"], "inner": {"lr": 0.5, "none": None, "on": True}},
        "made": {"dtype": torch.bfloat16, "device": torch.device("cuda:1"), "on": (1, 2)},
        "list": [torch.zeros(1), torch.ones(1)],
        "parameter": torch.nn.Parameter(torch.ones(1)),
        "activation": "TopK",
    }
    tensors, plain = read_torch(saved(tmp_path / "a.pt", value))
    assert tensors.keys() == {"state_dict.w", "list.0", "list.1", "parameter"}
    assert plain == {
        "state_dict": {"k": 3},
        "cfg": {"k": 32, "names": ["a", "b"], "inner": {"lr": 0.5, "none": None, "on": True}},
        "made": {"dtype": "torch.bfloat16", "device": "cuda:1", "on": [1, 2]},
        "activation": "TopK",
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_never_run(tmp_path: Path, legacy: bool) -> None:
    path, trace = tmp_path / "ae.pt", tmp_path / "executed"
    value = {"w": torch.ones(2), "trap": _Malicious(trace)}
    saved(path, value, _use_new_zipfile_serialization=not legacy)
    assert "pickle" in refusal(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the trap itself must work"


def test_a_file_of_before_torch_1_6_is_refused_because_its_size_cannot_be_known(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path / "a.pt", {"w": torch.ones(2)}, _use_new_zipfile_serialization=False)
    assert "is a pickle" in refusal(path)
    assert "save_file" in refusal(path)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"cfg": Settings()}, "Settings"),
        ({"k": np.float64(3.0)}, "numpy"),
        ({"w": np.ones(2)}, "numpy"),
        ({"path": Path("x")}, "pathlib"),
        ({"call": _Calls(bytearray, 10**12)}, "bytearray"),
        ({"call": _Calls(torch.Tensor, 10**12)}, "torch"),
        ({"call": _Calls(eval, "1 + 1")}, "eval"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_needs_more_than_tensors_names_it_and_says_how_to_convert(
    tmp_path: Path, value: object, named: str
) -> None:
    message = refusal(saved(tmp_path / "a.pt", value))
    assert named in message
    assert "save_file" in message


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_pickle_protocols_are_read_or_refused_but_never_run(
    tmp_path: Path, protocol: int
) -> None:
    trace = tmp_path / "executed"
    trapped = pickled_as(tmp_path / "a.pt", pickle.dumps(_Malicious(trace), protocol))
    assert "was not opened" in refusal(trapped)
    assert not trace.exists()


@pytest.mark.parametrize("value", [[torch.ones(2)], "text", 3, None, {3, 4}])
def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path: Path, value: object) -> None:
    refusal(saved(tmp_path / "a.pt", value))


def test_one_list_held_a_billion_times_is_not_unrolled(tmp_path: Path) -> None:
    laughs: list[object] = ["ha"]
    for _ in range(12):
        laughs = [laughs] * 10
    assert "10,000 values" in refusal(saved(tmp_path / "a.pt", {"laughs": laughs}))


def test_a_view_of_more_than_its_storage_is_not_believed(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(2**40)
    assert "of 4 bytes" in refusal(saved(tmp_path / "a.pt", {"w": wide}))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(3).to_sparse(),
        torch.ones(3, device="meta"),
    ],
    ids=["sparse", "meta"],
)
def test_tensors_that_are_no_plain_arrays_are_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    refusal(saved(tmp_path / "a.pt", {"w": tensor}))


def test_a_zip_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", b"\0" * 2**25)
    assert "a zip bomb" in refusal(path)


def test_a_huge_pickle_is_not_scanned(tmp_path: Path) -> None:
    path = pickled_as(tmp_path / "a.pt", pickle.dumps({"a" * 2_000_000: 1}, 2))
    assert "data.pkl" in refusal(path)


@pytest.mark.parametrize("keep", [0, 1, 10, 300, -1, -40])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path / "a.pt", {"w": torch.ones(50), "v": torch.ones(3)})
    path.write_bytes(path.read_bytes()[:keep])
    refusal(path)


@quietly
@given(st.binary(max_size=80))
def test_random_bytes_and_random_pickles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random.pt"
    path.write_bytes(content)
    refusal(path)
    refusal(pickled_as(path, content))


@quietly
@given(st.integers(0, 1100), st.binary(min_size=1, max_size=6))
def test_any_damage(tmp_path: Path, place: int, new: bytes) -> None:
    path = saved(tmp_path / "a.pt", {"w": torch.ones(4, 5), "v": torch.ones(3), "k": 3})
    original = path.read_bytes()
    path.write_bytes(original[:place] + new + original[place + len(new) :])
    with contextlib.suppress(DictionaryError):
        read_torch(path)


@quietly
@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_any_damage_to_the_pickle_in_an_archive_that_is_fine(
    tmp_path: Path, place: int, new: bytes
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("a/data.pkl")
    with contextlib.suppress(DictionaryError):
        read_torch(pickled_as(path, pickled[:place] + new + pickled[place + len(new) :]))
