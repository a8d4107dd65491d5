"""Dictionaries that read and write several sites: they are measured at one of those at a time.

What is read stands side by side (`Site.parts`), the reconstruction and what ablating a latent
removes are those at one written site, chosen by the setting `at`; `at=each` means all, one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_sae.dictionaries.containers import read_configuration
from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.layouts import files_of
from pytest_sae.errors import DictionaryError

AT = "at"
EACH = "each"
BESIDE = "+"  # between the names of sites that are read side by side
#: Where configurations list the sites that are written, one after the other.
LISTS = ("hook_points_out", "hook_points")
_MOST = 1000


def hooks(config: Mapping[str, object], name: str, source: str) -> tuple[str, ...]:
    """Return a declared list of hook names.

    Args:
        config: of the dictionary.
        name: of the key.
        source: where it is from, for messages.

    Raises:
        DictionaryError: no list of distinct names.
    """
    listed = config.get(name)
    if isinstance(listed, (list, tuple)) and 0 < len(listed) <= _MOST:
        names = tuple(each for each in listed if isinstance(each, str) and each)
        if len(names) == len(listed) == len(set(names)):
            return names
    raise DictionaryError(
        f"{source} declares {name} = {str(listed)[:200]}. Expected the names of the hooks, each "
        "once: what was trained on several models cannot be evaluated on one."
    )


def written(content: Content, names: Sequence[str]) -> int:
    """Return which of the written sites the setting `at` means, by its index or its name.

    Args:
        content: with the user's settings.
        names: of the sites that are written, in their order.

    Raises:
        DictionaryError: none is given, or there is no such site.
    """
    given = content.settings.get(AT)
    if given in names:
        return names.index(str(given))
    if given and given.isascii() and given.isdigit() and len(given) < 5 and int(given) < len(names):
        return int(given)
    listed = ", ".join(f"{place} ({name})" for place, name in enumerate(names))
    said = f"is given {AT}={given}" if given else "reconstructs several sites"
    raise DictionaryError(
        f"{content.source} {said}. Expected the one that it is to be measured at, of {listed}: "
        f"--sae={AT}=0:{content.source}, or --sae={AT}={EACH}:{content.source} for all in turn."
    )


def places(path: Path) -> range:
    """Return the indices of the sites that the dictionary at a path writes, for `at=each`.

    Raises:
        DictionaryError: its configuration lists none.
    """
    files = files_of(path)
    config = read_configuration(files.config) if files and files.config else {}
    name = next((name for name in LISTS if name in config), None)
    if name is None:
        raise DictionaryError(
            f"{path} is to be measured at each of its sites, and its configuration lists none. "
            f"Expected one of {', '.join(LISTS)}: leave {AT}={EACH} out."
        )
    return range(len(hooks(config, name, str(path))))
