"""Configurations, with a bound on everything that a hostile one could blow up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pytest_sae.dictionaries.containers.lfs_pointer import refuse_pointer
from pytest_sae.errors import DictionaryError

_MOST_BYTES = 4 * 2**20  # published ones have some kilobytes
_MOST_LEVELS = 32


class _RepeatedError(ValueError):
    """A key that stands twice in one object."""


def read_configuration(path: Path) -> dict[str, object]:
    """Return the object that a configuration file holds.

    It is JSON, or by its name YAML.

    Raises:
        DictionaryError: unreadable, too large or too deep, no JSON, no object, or with a key
            that stands twice.
    """
    refuse_pointer(path)
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise DictionaryError(
                f"{path} has {size:,} bytes. Expected a configuration of at most "
                f"{_MOST_BYTES:,}: is it another file?"
            )
        value = _parsed(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DictionaryError(
            f"{path} is no {_language(path)} ({_short(error)}). Expected the configuration that "
            "the dictionary was saved with: save it again."
        ) from error
    if not isinstance(value, dict):
        raise DictionaryError(
            f"{path} holds a {_language(path)} {type(value).__name__}. Expected an object with the "
            "configuration that the dictionary was saved with: save it again."
        )
    _refuse_depth(value, path)
    return value


def _language(path: Path) -> str:
    return "YAML" if path.suffix == ".yaml" else "JSON"


def _parsed(path: Path) -> object:
    if _language(path) == "JSON":
        return json.loads(path.read_bytes(), object_pairs_hook=_object)
    from pytest_sae.dictionaries.containers.yaml_configuration import parse

    return parse(path.read_bytes(), path)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _RepeatedError(f"the key {name[:80]!r} stands twice in one object")
            seen.add(name)
    return value


def _refuse_depth(value: object, path: Path) -> None:
    level: list[object] = [value]
    for _ in range(_MOST_LEVELS):
        level = [child for each in level for child in _children(each)]
        if not level:
            return
    raise DictionaryError(
        f"{path} nests deeper than {_MOST_LEVELS} levels. Expected a plain configuration: is it "
        "another file?"
    )


def _children(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else f"{text[:200]}..."
