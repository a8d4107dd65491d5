"""Witnesses: modules of the libraries that wrote the files, where they are installed."""

from __future__ import annotations

import sys
from importlib import import_module, util
from types import ModuleType
from typing import Any

import pytest


def submodule(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """Import a module of a package without the package's own `__init__`, else skip.

    The latter imports trainers, plots and clients that nothing here needs.
    """
    package = name.partition(".")[0]
    found = util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    shell = ModuleType(package)
    shell.__path__ = list(found.submodule_search_locations)
    monkeypatch.setitem(sys.modules, package, shell)
    for each in [each for each in sys.modules if each.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, each)
    try:
        return import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} needs {error.name}")
