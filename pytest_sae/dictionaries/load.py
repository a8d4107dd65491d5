"""Loading a dictionary: the family is found from what lies there, then checked and proven."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pytest_sae.dictionaries.layouts import candidates, explain, layout_of, looks_like_dictionary
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch

    from pytest_sae.dictionaries.base import Dictionary

__all__ = ["candidates", "load", "looks_like_dictionary"]


class Family(Protocol):
    """What a module named in `layouts.LAYOUTS` offers."""

    def load(
        self, config: Path, weights: Path, *, source: str, device: str, dtype: torch.dtype | None
    ) -> Dictionary:
        """Read both files, refuse what `preflight` refuses, and return the dictionary."""


def load(
    path: Path | str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Dictionary:
    """Load the dictionary at a directory or weights file, ready to be evaluated.

    Nothing in the files is executed, nothing is downloaded. The files are checked (`preflight`)
    and the identity that erasure rests on is proven on random inputs (`prove`).

    Args:
        path: a directory, its weights file, or a directory that holds exactly one dictionary.
        device: where the weights go.
        dtype: the type to encode in; None means that of the file, but at least float32.

    Raises:
        DictionaryError: no dictionary, several of them, or one that must not be evaluated.
    """
    found = candidates(path)
    layout = layout_of(found[0]) if len(found) == 1 else None
    if layout is None:
        raise DictionaryError(explain(path))
    family = cast(Family, import_module(f"pytest_sae.dictionaries.{layout.family}"))
    dictionary = family.load(
        found[0] / layout.config,
        found[0] / layout.weights,
        source=str(path),
        device=str(device),
        dtype=dtype,
    )
    from pytest_sae.dictionaries.prove import prove

    prove(dictionary)
    return dictionary
