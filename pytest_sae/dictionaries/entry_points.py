"""Families that other packages bring: entry points of the group `pytest_sae.dictionaries`."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.errors import DictionaryError
from pytest_sae.suggest import suggest

if TYPE_CHECKING:
    import torch

    from pytest_sae.dictionaries.base import Dictionary

GROUP = "pytest_sae.dictionaries"


def names() -> tuple[str, ...]:
    """Return the names of the families that installed packages bring, sorted; none is imported."""
    return tuple(sorted({point.name for point in metadata.entry_points(group=GROUP)}))


def load(
    name: str, path: Path | str, *, device: str = "cpu", dtype: torch.dtype | None = None
) -> Dictionary:
    """Return the dictionary that a package's own function makes of a path, checked and proven.

    A package declares `[project.entry-points."pytest_sae.dictionaries"]` with lines such as
    `mine = "mypackage.saes:load"`, where load(path, device, dtype) returns a `Dictionary`. It is
    the user's own installed code, and may do with the path what it likes.

    Args:
        name: of the entry point.
        path: as the user wrote it; need not exist.
        device: where the weights are to go.
        dtype: the type to encode in, None for the file's own.

    Raises:
        DictionaryError: no such name, two packages that bring it, or no `Dictionary` returned.
    """
    from pytest_sae.dictionaries.check import check

    point = _point(name)
    try:
        found = point.load()(str(path), device, dtype)
    except DictionaryError:
        raise
    except Exception as error:
        raise DictionaryError(
            f"{path}: {point.value}, which brings the family {name}, raised "
            f"{type(error).__name__}: {error}. Expected a Dictionary: report it to that package."
        ) from error
    try:
        return check(found)
    except DictionaryError as error:
        raise DictionaryError(f"{path}, made by {point.value}: {error}") from error


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
