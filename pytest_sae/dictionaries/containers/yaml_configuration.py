"""YAML configurations, in which nothing may stand for more than is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_sae.errors import DictionaryError

_MOST_BYTES = 2**18  # published ones have some kilobytes, and parsing them is slow


def parse(content: bytes, path: Path) -> object:
    """Return what a YAML document says, of plain types alone.

    Args:
        content: of the file.
        path: of the file, for messages.

    Raises:
        DictionaryError: no YAML, too large, or with an alias, which may stand for any number of
            things, or with a key that stands twice.
    """
    import yaml  # type: ignore[import-untyped]

    if len(content) > _MOST_BYTES:
        raise DictionaryError(
            f"{path} has {len(content):,} bytes. Expected a configuration of at most "
            f"{_MOST_BYTES:,}: is it another file?"
        )
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        _refuse_repeated(root, path)
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise DictionaryError(
            f"{path} is no YAML ({str(error)[:200]}). Expected the configuration that the "
            "dictionary was saved with: save it again."
        ) from error


def _refuse_repeated(root: Any, path: Path) -> None:
    """Refuse a node that stands at two places, and a key that stands twice in one mapping."""
    seen: set[int] = set()
    left = [] if root is None else [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            raise DictionaryError(f"{path} has an alias. Expected every value where it counts.")
        seen.add(id(node))
        keys = [key.value for key, _ in _pairs(node)]
        repeated = [str(key)[:80] for key in keys if keys.count(key) > 1]
        if repeated:
            raise DictionaryError(
                f"{path}: the key {repeated[0]!r} stands twice. Expected one value for it."
            )
        left += _children(node)


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return list(node.value) if node.id == "mapping" else []


def _children(node: Any) -> Iterator[Any]:
    for key, value in _pairs(node):
        yield from (key, value)
    if node.id == "sequence":
        yield from node.value
