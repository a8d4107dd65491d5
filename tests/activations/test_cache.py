"""What is kept can be listed, checked and kept small; who makes an entry is never disturbed."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.activations.cache import damaged, entries, prune
from pytest_sae.activations.store import Store, digest, shard_path
from pytest_sae.activations.unfinished import DAY, MARK, abandoned, beginning
from pytest_sae.cli import main

NOW = 1_700_000_000.0


def key(number: int) -> dict[str, object]:
    return {"step": "test", "number": number}


def value(number: int, size: int = 100) -> dict[str, torch.Tensor]:
    return {"a": torch.full((size,), float(number))}


def filled(directory: Path, sizes: list[int]) -> Path:
    """Entries of so many floats, each used a second after the one before it."""
    store = Store(directory)
    for number, size in enumerate(sizes):
        store.get(key(number), lambda number=number, size=size: value(number, size))
        os.utime(directory / digest(key(number)) / "index.json", (NOW + number, NOW + number))
    return directory


def numbers(directory: Path) -> list[int]:
    names = {digest(key(number)): number for number in range(10)}
    return [names[each.path.name] for each in entries(directory)]


def test_what_is_kept_is_listed_by_its_last_use(tmp_path: Path) -> None:
    filled(tmp_path, [10, 1000, 100])
    Store(tmp_path).get(key(0), lambda: value(0))  # found, so used now
    assert numbers(tmp_path) == [1, 2, 0]
    found = entries(tmp_path)
    assert {each.step for each in found} == {"test"}
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert sum(each.bytes for each in found) == on_disk
    assert entries(tmp_path / "not there") == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=5), st.integers(0, 12_000))
def test_pruning_keeps_the_most_recent_that_fit(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int
) -> None:
    directory = filled(tmp_path_factory.mktemp("cache"), sizes)
    before = entries(directory)
    removed = prune(directory, limit)
    left = entries(directory)
    assert [*removed, *left] == before
    assert sum(each.bytes for each in left) <= limit
    if removed:
        assert sum(each.bytes for each in [removed[-1], *left]) > limit


def test_what_a_run_uses_and_what_others_hold_is_not_pruned(tmp_path: Path) -> None:
    filled(tmp_path, [100, 100, 100])
    with Store(tmp_path).locked(digest(key(0))):
        assert len(prune(tmp_path, 0, since=NOW + 2)) == 1
    assert numbers(tmp_path) == [0, 2]
    Path(tmp_path, f"abc{MARK}{HERE}-{os.getppid()}-x").mkdir()
    prune(tmp_path, 0)
    assert [each.step for each in entries(tmp_path)] == ["unfinished"]


def test_damage_is_found(tmp_path: Path) -> None:
    filled(tmp_path, [100, 100])
    shard_path(tmp_path / digest(key(1)), 0).write_bytes(b"x")
    [(entry, problem)] = damaged(tmp_path)
    assert entry.path.name == digest(key(1))
    assert "is not what was written" in problem


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system without them."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_where_there_are_no_locks_the_second_takes_what_the_first_made(tmp_path: Path) -> None:
    other = Store(tmp_path)

    def make() -> dict[str, torch.Tensor]:
        other.get(key(0), lambda: value(7))  # another host makes it at the same time
        return value(7)

    assert torch.equal(Store(tmp_path).get(key(0), make)["a"], value(7)["a"])
    assert [each.path.name for each in entries(tmp_path)] == [digest(key(0))]
    assert damaged(tmp_path) == []


@pytest.mark.usefixtures("no_locks")
def test_a_damaged_entry_of_the_first_is_replaced_by_the_second(tmp_path: Path) -> None:
    other = Store(tmp_path)

    def make() -> dict[str, torch.Tensor]:
        other.get(key(0), lambda: value(1))
        shard_path(tmp_path / digest(key(0)), 0).write_bytes(b"x")
        return value(1)

    with pytest.warns(UserWarning, match="damaged"):
        Store(tmp_path).get(key(0), make)
    assert damaged(tmp_path) == []


def unfinished(directory: Path, host: str, process: int, age: float) -> Path:
    made = directory / f"abc{MARK}{host}-{process}-xyz"
    made.mkdir()
    (made / "00000.safetensors").write_bytes(b"half")
    for path in (made / "00000.safetensors", made):
        os.utime(path, (time.time() - age,) * 2)
    return made


HERE = beginning("x").split(MARK)[1].split("-")[0]
DEAD = 2**22 + 1  # above the largest number that a process may have


@pytest.mark.parametrize(
    ("host", "process", "age", "locked", "gone"),
    [
        ("elsewhere", 1, DAY / 2, True, False),
        ("elsewhere", 1, DAY * 2, True, True),
        ("elsewhere", 1, DAY * 2, False, True),
        (HERE, os.getppid(), DAY * 2, True, False),
        (HERE, DEAD, 1.0, True, True),
        (HERE, DEAD, 1.0, False, False),
        (HERE, DEAD, DAY * 2, False, True),
    ],
)
def test_only_what_nobody_will_finish_is_abandoned(
    tmp_path: Path, host: str, process: int, age: float, locked: bool, gone: bool
) -> None:
    made = unfinished(tmp_path, host, process, age)
    assert abandoned(made, locked) is gone
    if locked:
        Store(tmp_path)
        assert made.exists() is not gone


def test_an_entry_that_is_being_made_names_its_maker() -> None:
    name = beginning("abc")
    assert name.startswith(f"abc{MARK}")
    assert name.endswith(f"-{os.getpid()}-")
    assert socket.gethostname().split("-")[0].split("_")[0] in name


def cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main(["cache", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_the_command_line_tells_checks_and_makes_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path, [300_000, 300_000])
    status, said = cli(capsys, "info", tmp_path)
    assert status == 0
    assert f"{tmp_path}: 2.3 MiB in 2 entries, unused for " in said
    assert "  test: 2.3 MiB in 2 entries\n" in said
    assert cli(capsys, "verify", tmp_path) == (0, f"{tmp_path}: 0 of 2 entries damaged\n")
    shard_path(tmp_path / digest(key(1)), 0).write_bytes(b"x")
    status, said = cli(capsys, "verify", tmp_path)
    assert status == 1
    assert "1 of 2 entries damaged" in said
    assert cli(capsys, "prune", tmp_path, "--to=1M")[1] == (
        f"{tmp_path}: 1 entry removed (1.1 MiB), 0.0 MiB left\n"
    )
    assert numbers(tmp_path) == [1]


def test_what_is_no_cache_or_no_size_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(capsys, "info", tmp_path / "nowhere")[0] == 2
    status, said = cli(capsys, "prune", tmp_path, "--to=much")
    assert status == 2
    assert "--to=much: expected bytes such as 500M or 200G" in said
