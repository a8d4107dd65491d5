"""Loading a dictionary: it is read, its family is recognised, and it is checked and proven."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.layouts import candidates, explain, files_of, looks_like_dictionary
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.dictionaries.content import Content

__all__ = ["candidates", "load", "looks_like_dictionary", "read"]


def load(
    path: Path | str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    family: str = "",
    settings: Iterable[tuple[str, str]] = (),
) -> Dictionary:
    """Load the dictionary at a directory or weights file, ready to be evaluated.

    Nothing in the files is executed, nothing is downloaded. The files are checked (`preflight`)
    and the identity that erasure rests on is proven on random inputs (`prove`).

    Args:
        path: a directory, its weights file, or a directory that holds exactly one dictionary.
        device: where the weights go.
        dtype: the type to encode in; None means that of the file, but at least float32.
        family: one of `formats.NAMES`, or one that an installed package brings; empty means the
            one that recognises the files.
        settings: what the files do not say, by name; the family says which there are. `damage`
            asks any of them for a copy with something wrong (`damaged`).

    Returns:
        The dictionary, checked and proven.

    Raises:
        DictionaryError: no dictionary, several of them, or one that must not be evaluated.
    """
    from pytest_sae.dictionaries.damaged import SETTING, damaged

    given = [(str(name), str(value)) for name, value in settings]
    damage = dict(given).get(SETTING, "")
    files = [each for each in given if each[0] != SETTING]
    dictionary = _whole(path, str(device), dtype, family, files, damage)
    return damaged(dictionary, damage) if damage else dictionary


def _whole(
    path: Path | str,
    device: str,
    dtype: torch.dtype | None,
    family: str,
    settings: Iterable[tuple[str, str]],
    damage: str,
) -> Dictionary:
    from pytest_sae.dictionaries.damaged import damaged_files
    from pytest_sae.dictionaries.formats import NAMES, entry_points, registry
    from pytest_sae.dictionaries.prove import prove

    if family and family not in NAMES and registry.known(family):
        _refuse_settings(path, family, settings)
        return entry_points.load(family, path, device=device, dtype=dtype)
    if family:
        registry.family(family)  # an unknown one is said before anything is read
    content = read(path, settings)
    content = damaged_files(content, damage) if damage else content
    dictionary = registry.build(content, family, device=device, dtype=dtype)
    prove(dictionary)
    return dictionary


def read(path: Path | str, settings: Iterable[tuple[str, str]] = ()) -> Content:
    """Read the files of the dictionary at a path, without taking them for any family.

    Args:
        path: a directory, its weights file, or a directory that holds exactly one dictionary.
        settings: what the files do not say, by name; that of `damaged` is no business of theirs.

    Returns:
        Weights, configuration and settings.

    Raises:
        DictionaryError: no dictionary, several of them, or files that cannot be read safely.
    """
    found = candidates(path)
    files = files_of(found[0]) if len(found) == 1 else None
    if files is None:
        raise DictionaryError(explain(path))
    from pytest_sae.dictionaries.containers import read_beside, read_configuration, read_weights
    from pytest_sae.dictionaries.content import Content
    from pytest_sae.dictionaries.damaged import SETTING

    config = read_configuration(files.config) if files.config else {}
    tensors, inside = read_weights(files.weights)
    return Content(
        source=str(path),
        weights=files.weights,
        config=_together(config, inside, str(path)),
        tensors=tensors,
        settings={str(name): str(value) for name, value in settings if name != SETTING},
        beside={name: read_beside(path) for name, path in files.beside.items()},
    )


def _refuse_settings(path: Path | str, family: str, settings: Iterable[tuple[str, str]]) -> None:
    given = ", ".join(name for name, _ in settings)
    if given:
        raise DictionaryError(
            f"{path} is given {given}, and the family {family} of another package takes no "
            "settings. Expected its path alone: let that package's own function know them."
        )


def _together(
    config: dict[str, object], inside: dict[str, object], source: str
) -> dict[str, object]:
    """The configuration, with the plain values that some files keep among their weights."""
    for name in sorted(config.keys() & inside.keys()):
        if config[name] != inside[name]:
            raise DictionaryError(
                f"{source}: the configuration says {name} = {config[name]!r:.80}, the weights "
                f"file {inside[name]!r:.80}. Expected one of them: do the files belong together?"
            )
    return {**inside, **config}
