"""The cache gives back what was put in, or makes it again and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.activations.store import CacheWarning, Store, digest
from pytest_sae.errors import CacheError

KEY = {"step": "test", "texts": ["ä", "b"], "n": 3}


def value() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def never() -> dict[str, torch.Tensor]:
    raise AssertionError("made although it was there")


def the_entry(directory: Path) -> Path:
    return directory / digest(KEY)


def same(found: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(found[name], tensor) for name, tensor in value().items())


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_is_there_is_not_made_again(tmp_path: Path, in_memory: bool) -> None:
    store = Store(None if in_memory else tmp_path)
    assert same(store.get(KEY, value))
    assert same(store.get(dict(reversed(KEY.items())), never))
    assert store.work.cache_misses == 1
    assert not in_memory or not list(tmp_path.iterdir())


def test_a_later_session_finds_it(tmp_path: Path) -> None:
    Store(tmp_path).get(KEY, value)
    later = Store(tmp_path)
    assert same(later.get(KEY, never))
    assert (later.work.cache_hits, later.work.cache_misses) == (1, 0)
    assert later.work.bytes_read > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.bool])
def test_every_dtype_comes_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(5, 4).to(dtype).T
    Store(tmp_path).get(KEY, lambda: {"x": tensor})
    found = Store(tmp_path).get(KEY, never)["x"]
    assert found.dtype == dtype
    assert torch.equal(found, tensor)


LEAVES = st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.5, "", "1", "true", "ä"])
JSON = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.sampled_from("ab"), LEAVES)
KEYS = st.dictionaries(st.sampled_from("ab"), JSON, max_size=2)


@settings(deadline=None)
@given(KEYS, KEYS)
def test_keys_differ_exactly_if_their_content_does(one: dict, other: dict) -> None:
    same_text = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same_text


def test_a_key_must_be_builtins() -> None:
    with pytest.raises(TypeError):
        digest({"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="JSON"):
        digest({"x": float("nan")})


def _truncate(entry: Path) -> None:
    shard = entry / "00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-5])


def _flip(entry: Path) -> None:
    shard = entry / "00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))


def _pickle(entry: Path) -> None:
    torch.save({"a": torch.zeros(1)}, entry / "00000.safetensors")


def _remove_shard(entry: Path) -> None:
    (entry / "00000.safetensors").unlink()


def _index(text: str) -> Callable[[Path], object]:
    return lambda entry: (entry / "index.json").write_text(text)


def _other_key(entry: Path) -> None:
    index = json.loads((entry / "index.json").read_text())
    index["key"]["n"] = 4
    (entry / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "damage",
    [
        _truncate, _flip, _pickle, _remove_shard, _other_key, _index(""), _index("[]"),
        _index("{}"), _index('{"format": 1, "key": 3, "sha256": 4}'), _index("[" * 100_000),
        lambda entry: (entry / "index.json").unlink(),
    ],
)  # fmt: skip
def test_a_damaged_entry_is_made_again_with_a_warning(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    Store(tmp_path).get(KEY, value)
    damage(the_entry(tmp_path))
    with pytest.warns(CacheWarning, match="is damaged .*: it is discarded and made again"):
        assert same(Store(tmp_path).get(KEY, value))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(Store(tmp_path).get(KEY, never))
    assert {path.name for path in tmp_path.iterdir()} == {"locks", digest(KEY)}


def test_an_entry_that_vanishes_in_use_is_told(tmp_path: Path) -> None:
    Store(tmp_path).get(KEY, value)
    store = Store(tmp_path)
    entry = store.find(KEY)
    assert entry is not None
    _truncate(the_entry(tmp_path))
    with pytest.raises(CacheError, match=r"removed or changed while it was in use.*run again"):
        list(entry)


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.get(KEY, lambda: {"a": torch.zeros(1 // 0)})
    with pytest.raises(ZeroDivisionError):
        write_half(store)
    assert {path.name for path in tmp_path.iterdir()} == {"locks"}
    assert same(store.get(KEY, value))


def write_half(store: Store) -> None:
    with store.making([KEY]), store.writing(KEY) as writer:
        writer.add(value())
        raise ZeroDivisionError


def test_an_os_error_of_the_maker_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        Store(tmp_path).get(KEY, make)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that this process cannot write, also when the tests run as root."""
    directory = tmp_path / "cache"
    directory.mkdir()
    user = os.geteuid()
    for path in (directory, tmp_path, tmp_path.parent, tmp_path.parent.parent):
        path.chmod(0o755)
    directory.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    yield directory
    if user == 0:
        os.seteuid(0)
    directory.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_read_only_directory_is_told_at_once(read_only: Path) -> None:
    with pytest.raises(CacheError, match=r"cannot write .*--sae-cache=DIR.*--sae-cache=off"):
        Store(read_only)


def test_a_file_is_no_cache_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot write"):
        Store(tmp_path / "file")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_sae.activations.store.save_file", full)
    with pytest.raises(CacheError, match="No space left on device"):
        Store(tmp_path).get(KEY, value)
    assert {path.name for path in tmp_path.iterdir()} == {"locks"}


MAKER = """
import sys, time, pathlib, torch
from pytest_sae.activations.store import Store
directory, mode = sys.argv[1:]
key = {"step": "test", "texts": ["ä", "b"], "n": 3}
store = Store(directory)
def make():
    with open(directory + "/made", "a") as log: log.write("x")
    time.sleep(0.7)
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}
if mode == "get":
    print(float(store.get(key, make)["a"].sum()))
else:
    with store.making([key]), store.writing(key) as writer:
        writer.add(make())
        print("half", flush=True)
        time.sleep(60)
"""


def start(directory: Path, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(MAKER), str(directory), mode]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def test_two_processes_make_a_key_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, "get") for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs == ["15.0\n", "15.0\n"]
    assert (tmp_path / "made").read_text() == "x"


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    process = start(tmp_path, "write")
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    assert Store(tmp_path).find(KEY) is None
    assert list(tmp_path.glob("*.unfinished-*")), "a living writer's files must not be swept"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob("*.unfinished-*"))
    begun = time.perf_counter()
    store = Store(tmp_path)
    assert store.find(KEY) is None
    assert same(store.get(KEY, value))
    assert time.perf_counter() - begun < 30, "waits for a lock whose owner is dead"
    assert not list(tmp_path.glob("*.unfinished-*"))
