"""The families of dictionaries: which there are, and which one a content belongs to."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from pytest_sae.dictionaries.formats import NAMES, entry_points
from pytest_sae.dictionaries.formats.state_dict import unwrapped
from pytest_sae.dictionaries.keys import Keys, remarks
from pytest_sae.errors import DictionaryError, suggest

if TYPE_CHECKING:
    import torch

    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.dictionaries.content import Content

_TENSORS_LISTED = 12


class Format(Protocol):
    """What a module named in `NAMES` offers."""

    NAME: str
    KEYS: Keys

    def recognise(self, content: Content) -> bool:
        """Whether names and shapes of tensors and the configuration are this family's."""

    def build(self, content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
        """Return the dictionary, unless `preflight` refuses it.

        Args:
            content: what was read; where it is forced, `recognise` may be false of it.
            device: where the weights go.
            dtype: the type to encode in, None for that of the file, but at least float32.

        Raises:
            DictionaryError: one that must not be evaluated.
        """


def family(name: str) -> Format:
    """Return one of `NAMES`.

    Raises:
        DictionaryError: there is none of that name.
    """
    if name not in NAMES:
        raise DictionaryError(unknown(name))
    return cast(Format, import_module(f"pytest_sae.dictionaries.formats.{name}"))


def known(name: str) -> bool:
    """Whether a family of that name is one of these, or is brought by an installed package."""
    return name in NAMES or name in entry_points.names()


def unknown(name: str) -> str:
    """Return what to say about a name that is no family's."""
    names = (*NAMES, *entry_points.names())
    return f"no family is called {name!r}.{suggest(name, names)} Expected {', '.join(names)}."


def recognised(content: Content) -> Format:
    """Return the one family that recognises the content.

    Raises:
        DictionaryError: none does, or several do.
    """
    found = [each for each in map(family, NAMES) if each.recognise(content)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(each.NAME for each in found)
        raise DictionaryError(
            f"{content.source} could be of the families {names}. Expected one: say which by "
            f"--sae={found[0].NAME}:{content.source}"
        )
    raise DictionaryError(
        f"{content.source} belongs to no known family: {content.weights.name} has "
        f"{_listed(content)}, and the configuration has {_keys(content)}. Expected a dictionary "
        f"of {', '.join(NAMES)}: if its configuration lies elsewhere copy it beside the weights, "
        f"or say the family by --sae=family:{content.source}"
    )


def build(content: Content, forced: str, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return the dictionary of the family that recognises the content, or of the forced one.

    A family may be forced on content that it does not recognise, such as one without its
    configuration, and then it need not have all that it takes for granted.

    Args:
        content: what was read.
        forced: one of `NAMES`, empty for the one that recognises the content.
        device: where the weights go.
        dtype: the type to encode in.

    Raises:
        DictionaryError: no family, several, or a dictionary that must not be evaluated.
    """
    chosen = family(forced) if forced else recognised(content)
    try:
        dictionary = chosen.build(content, device=device, dtype=dtype)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if not forced or chosen.recognise(content):
            raise
        raise DictionaryError(
            f"{content.source} is said to be of the family {forced}, and does not look like it: "
            f"{content.weights.name} has {_listed(content)}, and the configuration has "
            f"{_keys(content)} ({type(error).__name__}: {str(error)[:200]}). Expected that "
            "family's files: leave the family out to see which one recognises them."
        ) from error
    said = remarks(unwrapped(content), chosen.KEYS, chosen.NAME)
    dictionary.info = replace(dictionary.info, remarks=(*dictionary.info.remarks, *said))
    return dictionary


def _listed(content: Content) -> str:
    names = [f"{name} {tuple(t.shape)}" for name, t in sorted(content.tensors.items())]
    more = f" and {len(names) - _TENSORS_LISTED} more" if len(names) > _TENSORS_LISTED else ""
    return f"{', '.join(names[:_TENSORS_LISTED])}{more}" if names else "no tensors"


def _keys(content: Content) -> str:
    keys = [str(key)[:40] for key in list(content.config)[:_TENSORS_LISTED]]
    return ", ".join(keys) or "nothing"
