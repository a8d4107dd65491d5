"""Formats that users bring: entry points of installed packages, or functions of a conftest."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.formats import NAMES
from pytest_sae.errors import DictionaryError, suggest

if TYPE_CHECKING:
    import torch

    from pytest_sae.dictionaries.base import Dictionary

GROUP = "pytest_sae.dictionaries"

#: (path, device, dtype) to a dictionary; dtype None means the type of the file.
Load = Callable[[str, str, "torch.dtype | None"], object]
_registered: dict[str, Load] = {}


def register_format(name: str, load: Load) -> None:
    """Let `--sae=NAME:PATH` name dictionaries that a function of a conftest makes.

    >>> def load(path, device, dtype):
    ...     ...  # return an object that keeps the protocol `Dictionary`
    >>> register_format("mine", load)

    Args:
        name: of letters, digits and underscores, two at least; no family's of this package.
        load: (path, device, dtype) to a `Dictionary`; what the path means is its own affair.

    Raises:
        DictionaryError: a name that cannot be one, or is taken.
    """
    if not re.fullmatch(r"[A-Za-z]\w+", name) or name in NAMES:
        raise DictionaryError(
            f"a family cannot be called {name!r}. Expected letters, digits and underscores, and "
            f"none of {', '.join(NAMES)}."
        )
    _registered[name] = load


def register_family(name: str, load: Load) -> None:
    """Do what `register_format` does, under its old name, which goes with the next release.

    Args:
        name: of the format.
        load: as of `register_format`.
    """
    message = "register_family is called register_format now: it registers a format of files"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    register_format(name, load)


def names() -> tuple[str, ...]:
    """Return the names of the families that users bring, sorted; no package is imported."""
    installed = {point.name for point in metadata.entry_points(group=GROUP)}
    return tuple(sorted(installed | _registered.keys()))


def load(
    name: str, path: Path | str, *, device: str = "cpu", dtype: torch.dtype | None = None
) -> Dictionary:
    """Return the dictionary that a user's own function makes of a path, checked and proven.

    A package declares `[project.entry-points."pytest_sae.dictionaries"]` with lines such as
    `mine = "mypackage.saes:load"`, where load(path, device, dtype) returns a `Dictionary`. It is
    the user's own installed code, and may do with the path what it likes.

    Args:
        name: of the entry point, or that was registered.
        path: as the user wrote it; need not exist.
        device: where the weights are to go.
        dtype: the type to encode in, None for the file's own.

    Raises:
        DictionaryError: no such name, two packages that bring it, or no `Dictionary` returned.
    """
    from pytest_sae.dictionaries.check import check

    made_by, function = _maker(name)
    try:
        found = function()(str(path), device, dtype)
    except DictionaryError:
        raise
    except Exception as error:
        raise DictionaryError(
            f"{path}: {made_by}, which brings the family {name}, raised "
            f"{type(error).__name__}: {error}. Expected a Dictionary: report it to whose it is."
        ) from error
    try:
        return check(found)
    except DictionaryError as error:
        raise DictionaryError(f"{path}, made by {made_by}: {error}") from error


def _maker(name: str) -> tuple[str, Callable[[], Load]]:
    """What brings a family, as messages call it, and how its function is got."""
    if name in _registered:
        function = _registered[name]
        called = getattr(function, "__qualname__", type(function).__name__)
        return f"{getattr(function, '__module__', '?')}:{called}", lambda: function
    point = _point(name)
    return point.value, point.load


def _point(name: str) -> metadata.EntryPoint:
    points = {
        point.value: point for point in metadata.entry_points(group=GROUP) if point.name == name
    }
    if len(points) == 1:
        return next(iter(points.values()))
    if points:
        raise DictionaryError(
            f"the family {name} is brought by {' and '.join(sorted(points))}. Expected one: "
            "uninstall one of the packages."
        )
    raise DictionaryError(
        f"no installed package brings a family {name!r}.{suggest(name, names())} Expected "
        f"{', '.join(names()) or f'an entry point of the group {GROUP}'}."
    )
