"""Which files of a repository make a dictionary, known by their names alone."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pytest_sae.dictionaries.layouts import (
    INDEX,
    LAYOUTS,
    PICKLES,
    READABLE,
    Layout,
    beside_alone,
    index_of_part,
    pickle_refused,
    shards,
)
from pytest_sae.errors import suggest

_DEPTH = 4
_LISTED = 8


def is_glob(path: str) -> bool:
    """Whether a path stands for several."""
    return any(sign in path for sign in "*?")


def places(names: Collection[str], path: str) -> list[str]:
    """Return what a path of a repository may mean, sorted.

    Args:
        names: the repository's files, with / between parts.
        path: a weights file, a directory that is a dictionary or has some below it, or a glob of
            these; empty for the root.

    Returns:
        Weights files and directories of one dictionary.
    """
    if is_glob(path) and path not in names:
        matches = {each for each in _everything(names) if _matches(each, path)}
        return sorted({place for each in matches for place in _own(names, each)})
    return _own(names, path) or _below(names, path)


def files(names: Collection[str], place: str) -> list[str]:
    """Return the files to download for one of `places`: weights, and what belongs to them.

    Args:
        names: the repository's files, with / between parts.
        place: a weights file, or a directory of one dictionary.
    """
    own = {_join(place, each) for each in _weights(names, place)}
    weights = {place.removesuffix(INDEX)} if place in names else own
    parts = {each for whole in weights for each in (whole + INDEX, *shards(names, whole))}
    beside = {
        _join(_up(each, layout), name)
        for each in weights
        for layout in LAYOUTS
        for name in (layout.config, *layout.beside)
        if name and PurePosixPath(each).match(layout.weights)
    }
    if place in names and not beside & set(names):
        beside = set(beside_alone(place))
    return sorted((weights | parts | beside) & set(names))


def explain(names: Collection[str], path: str, where: str) -> str:
    """Return why a path means no dictionary, or several: what is there, and what to do.

    Args:
        names: the repository's files, with / between parts.
        path: that was asked for.
        where: the repository and its revision, for the message.
    """
    found = places(names, path)
    if found:
        return (
            f"{path or 'its root'} of {where} holds {len(found)} dictionaries and is none itself: "
            f"{_some(found)}. Expected one: add its path, or name several with a quoted glob."
        )
    expected = (
        f"Expected a directory with one of {', '.join(each.names() for each in LAYOUTS)}; or one "
        f"file ({', '.join(READABLE)}) by its path"
    )
    if path in names:
        if PurePosixPath(path).suffix in PICKLES:
            return pickle_refused(Path(where, path))
        return f"{path} of {where} is no dictionary's weights. {expected}."
    inside = sorted(each for each in names if each.startswith(f"{path}/" if path else ""))
    if inside:
        return f"{path or 'the root'} of {where} has {_some(inside)}. {expected}."
    near = suggest(
        path, [each for each in _everything(names) if each.count("/") == path.count("/")]
    )
    return f"{where} has no {path}.{near} It has {_some(_top(names))}. {expected}."


def _own(names: Collection[str], path: str) -> list[str]:
    """The path itself, or its weights files if they are several."""
    path = index_of_part(path) or path
    if path in names:
        return [path] if PurePosixPath(path.removesuffix(INDEX)).suffix in READABLE else []
    weights = _weights(names, path)
    return [path] if len(weights) == 1 else [_join(path, each) for each in weights]


def _weights(names: Collection[str], directory: str) -> list[str]:
    """The weights files of a directory that has them as a layout says."""
    return sorted({each.weights for each in LAYOUTS if _has(names, directory, each)})


def _has(names: Collection[str], directory: str, layout: Layout) -> bool:
    whole = _join(directory, layout.weights)
    config = layout.config is None or _join(directory, layout.config) in names
    return config and (whole in names or whole + INDEX in names)


def _below(names: Collection[str], path: str) -> list[str]:
    """The nearest that lie below, level by level: not what lies below another one."""
    children: dict[str, list[str]] = {}
    for directory in _everything(names) - set(names):
        children.setdefault(directory.rpartition("/")[0], []).append(directory)
    found: list[str] = []
    level = [path]
    for _ in range(_DEPTH):
        own = {each: _own(names, each) for up in level for each in children.get(up, ())}
        found += [place for places in own.values() for place in places]
        level = [each for each, places in own.items() if not places]
    return sorted(found)


def _everything(names: Collection[str]) -> set[str]:
    """Files, and the directories that they lie in."""
    parents = {str(up) for each in names for up in PurePosixPath(each).parents}
    return set(names) | parents - {"."}


def _matches(path: str, pattern: str) -> bool:
    parts, patterns = path.split("/"), pattern.split("/")
    pairs = zip(parts, patterns, strict=False)
    return len(parts) == len(patterns) and all(fnmatchcase(*pair) for pair in pairs)


def _up(weights: str, layout: Layout) -> str:
    """The directory that a layout's weights lie in, which may be deeper than their own."""
    return str(PurePosixPath(weights).parents[len(PurePosixPath(layout.weights).parts) - 1])


def _join(directory: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(directory, name))


def _top(names: Collection[str]) -> list[str]:
    return sorted({each.split("/")[0] for each in names})


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more if names else "nothing"
