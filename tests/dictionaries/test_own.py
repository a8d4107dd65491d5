"""Somebody's own dictionary: an object that keeps the protocol, or a package's entry point."""

from __future__ import annotations

import doctest
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries import check as checking
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.check import check
from pytest_sae.dictionaries.formats import entry_points
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import tokens, unit

ROWS = unit(20, 8)


class Own:
    """The least that keeps the protocol."""

    info = DictionaryInfo("mine", "mine", None, None, None)
    fingerprint = "mine"
    d_in, d_out, d_sae = 8, 8, 20
    device, dtype = torch.device("cpu"), torch.float32
    decoder_rows: Any = None
    encoder_rows: Any = None

    def encode(self, x: Tensor) -> Tensor:
        return (x @ ROWS.T).relu()

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.encode(x) @ ROWS

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        return z[:, latents] @ ROWS[latents]

    def const(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def changed(**changes: Any) -> Own:
    own = Own()
    for name, value in changes.items():
        setattr(own, name, value)
    return own


def test_an_object_that_keeps_the_protocol_comes_back() -> None:
    own = Own()
    assert check(own) is own
    check(changed(decoder_rows=ROWS, encoder_rows=ROWS))


def test_the_example_of_the_documentation_runs() -> None:
    assert doctest.testmod(checking) == doctest.TestResults(failed=0, attempted=4)


class Noisy(Own):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x) + torch.rand(())


class InPlace(Own):
    def const(self, x: Tensor) -> Tensor:
        return x.zero_()


def failing(*_: Tensor) -> Tensor:
    raise KeyError("W_enc")


WRONG: list[tuple[object, str]] = [
    (object(), r"has no info, fingerprint, .* encode\(\), reconstruct\(\)"),
    (changed(info="mine"), "has a str as info, not a DictionaryInfo"),
    (changed(fingerprint=b"x"), "has a bytes as fingerprint, not a str"),
    (changed(fingerprint=""), "empty fingerprint"),
    (changed(device="cpu"), "has a str as device, not a device"),
    (changed(d_sae=20.0, d_in=0), "20.0 as d_sae, .*; it has 0 as d_in|0 as d_in.*20.0 as d_sae"),
    (changed(decoder_rows=ROWS.T), r"decoder_rows of the shape \(8, 20\), not \(20, 8\)"),
    (changed(encoder_rows=ROWS.tolist()), "has a list as encoder_rows, not a tensor"),
    (changed(encode=lambda x: x), r"encode\(x\) of the shape \(5, 8\), not \(5, 20\)"),
    (changed(const=lambda x: torch.zeros(8)), r"const\(x\) of the shape \(8,\), not \(5, 8\)"),
    (changed(const=lambda x: None), r"has a NoneType as const\(x\)"),
    (changed(encode=lambda x: torch.ones(5, 20).long()), r"encode\(x\) as torch.int64 on cpu"),
    (changed(contribution=failing), r"raises KeyError in contribution\(x, z, latents\)"),
    (Noisy(), "encodes the same tokens differently the second time"),
    (InPlace(), "changes the activations that it is given"),
    (changed(const=lambda x: torch.ones_like(x)), "differs from const plus the contributions"),
    (changed(decoder_rows=2 * ROWS), "z times decoder_rows differs"),
]


@pytest.mark.parametrize(("own", "message"), WRONG)
def test_what_breaks_the_protocol_is_said(own: object, message: str) -> None:
    with pytest.raises(DictionaryError, match=message):
        check(own)


def installed(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    """Pretend that a package with these entry points is installed."""
    package = ModuleType("somebodys_package")
    vars(package).update(functions)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    found = metadata.EntryPoints(
        metadata.EntryPoint(name, f"{package.__name__}:{name}", entry_points.GROUP)
        for name in functions
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **by: found.select(**by))


def test_a_packages_own_family_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def load(path: str, device: str, dtype: torch.dtype | None) -> Own:
        called.append((path, device, dtype))
        return Own()

    installed(monkeypatch, mine=load)
    assert entry_points.names() == ("mine",)
    dictionary = entry_points.load("mine", "hub:somewhere", dtype=torch.float32)
    assert called == [("hub:somewhere", "cpu", torch.float32)]
    assert dictionary.encode(tokens(3, 8)).shape == (3, 20)


def test_nothing_is_imported_to_list_names(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("broken", "no_such_package:load", entry_points.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **by: metadata.EntryPoints([point]))
    assert entry_points.names() == ("broken",)
    with pytest.raises(
        DictionaryError, match=r"no_such_package:load, which .* ModuleNotFoundError"
    ):
        entry_points.load("broken", "path")


def test_what_a_package_makes_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, mine=lambda *_: object())
    with pytest.raises(DictionaryError, match=r"^p, made by .*: object is no dictionary"):
        entry_points.load("mine", "p")


def test_a_name_that_no_package_brings_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, mine=lambda *_: Own())
    with pytest.raises(DictionaryError, match=r"'mien'. Did you mean 'mine'"):
        entry_points.load("mien", "p")


def test_two_packages_with_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [metadata.EntryPoint("mine", f"{p}:load", entry_points.GROUP) for p in ("a", "b")]
    found = metadata.EntryPoints(points)
    monkeypatch.setattr(metadata, "entry_points", lambda **by: found.select(**by))
    with pytest.raises(DictionaryError, match="brought by a:load and b:load"):
        entry_points.load("mine", "p")


def test_a_conftests_function_is_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "_registered", {})
    entry_points.register_format("mine", lambda path, device, dtype: changed(fingerprint=path))
    assert "mine" in entry_points.names()
    assert resolve(["mine:any thing"])[0].family == "mine"
    assert load("any thing", family="mine").fingerprint == "any thing"
    entry_points.register_format("mine", lambda *_: object())
    with pytest.raises(DictionaryError, match=r"made by tests\..*lambda.*: object is no"):
        load("p", family="mine")


@pytest.mark.parametrize("name", ["", "x", "two words", "a:b", "sae_lens", "9lives"])
def test_a_name_that_could_not_be_typed_is_no_family(name: str) -> None:
    with pytest.raises(DictionaryError, match="cannot be called"):
        entry_points.register_format(name, lambda *_: Own())


def test_the_old_name_still_registers_a_format_and_says_how_it_is_called_now() -> None:
    with pytest.warns(DeprecationWarning, match="register_format"):
        entry_points.register_family("older", lambda *_: Own())
    assert "older" in entry_points.names()
