"""Matryoshka: the first n latents are a dictionary of their own, if training had that width."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.dictionaries.content import Content, whole_setting
from pytest_sae.errors import DictionaryError


def widths(declared: object, d_sae: int) -> tuple[int, ...]:
    """Return the declared widths below and up to d_sae; empty if they are no rising numbers.

    Args:
        declared: what the configuration says of them.
        d_sae: number of latents.
    """
    if not isinstance(declared, (list, tuple)) or not declared:
        return ()
    whole = [each for each in declared if isinstance(each, int) and not isinstance(each, bool)]
    if len(whole) < len(declared) or sorted(set(whole)) != whole or whole[0] < 1:
        return ()
    return tuple(sorted({*whole, d_sae})) if whole[-1] <= d_sae else ()


def prefix(content: Content, prefixes: Sequence[int]) -> int | None:
    """Return how many of the first latents the setting `prefix` leaves, None without it.

    Args:
        content: with the user's settings.
        prefixes: the widths that training had.

    Raises:
        DictionaryError: a width that training did not have.
    """
    chosen = whole_setting(content, "prefix")
    if chosen is None or chosen in prefixes:
        return chosen
    known = ", ".join(map(str, prefixes)) or "none: it is no Matryoshka dictionary"
    raise DictionaryError(
        f"{content.source} is given prefix={chosen}. Expected a width that it was trained to "
        f"stand alone with ({known})."
    )
