"""What `--sae` means: paths and globs become dictionaries with short unique ids."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_sae.dictionaries.layouts import WEIGHTS, candidates, explain
from pytest_sae.errors import OptionError

# Files that training leaves beside the weights; a glob may match them.
_BESIDE = frozenset({"sparsity.safetensors", "trainer_state.pt"})


@dataclass(frozen=True)
class SAESpec:
    """One dictionary under test.

    Args:
        id: unique in the run, made of [A-Za-z0-9._+] only, for test ids and reports.
        path: its directory.
        text: the `--sae` value that named it, as typed.
    """

    id: str
    path: str
    text: str


def resolve(texts: Sequence[str]) -> tuple[SAESpec, ...]:
    """Return the dictionaries that the values of `--sae` name, in order, each of them once.

    Args:
        texts: directories, weights files, or globs (whose matches are taken in sorted order).

    Raises:
        OptionError: a path that is no dictionary, that holds several, or a glob without a match.
    """
    named: dict[str, tuple[Path, str]] = {}
    for text in texts:
        for path in _paths(text):
            named.setdefault(os.path.realpath(path), (path, text))
    chosen = list(named.values())
    ids = _unique_ids([path for path, _ in chosen])
    return tuple(
        SAESpec(name, str(path), text) for name, (path, text) in zip(ids, chosen, strict=True)
    )


def _paths(text: str) -> list[Path]:
    if not text.strip():
        raise OptionError("--sae= is empty. Expected a directory, a weights file or a glob.")
    path = Path(text).expanduser()
    if path.exists() or not glob.has_magic(text):
        return [_one(path, text)]
    return [_one(match, text) for match in _matches(path, text)]


def _matches(pattern: Path, text: str) -> list[Path]:
    everything = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
    # READMEs and the like may lie there, but a directory that has lost its weights must not
    # drop out of the run unseen: it stays in, and is refused.
    matches = [path for path in everything if path.is_dir() or _is_weights(path)]
    if matches:
        return matches
    found = f"{len(everything)} other files" if everything else "nothing"
    raise OptionError(
        f"--sae={text} matches {found} in {Path.cwd()}. Expected at least one dictionary: "
        "check the pattern, and quote it so that the shell leaves it alone."
    )


def _is_weights(path: Path) -> bool:
    return path.suffix in WEIGHTS and path.name not in _BESIDE


def _one(path: Path, text: str) -> Path:
    found = candidates(path)
    if len(found) != 1:
        raise OptionError(f"--sae={text}: {explain(path)}")
    return found[0]


def _unique_ids(paths: Sequence[Path]) -> list[str]:
    parts = [Path(os.path.abspath(path)).parts[1:] for path in paths]
    lengths = [1] * len(parts)
    for _ in range(max(map(len, parts), default=0)):
        repeated = _repeated(_slugs(parts, lengths))
        slugs = zip(lengths, _slugs(parts, lengths), strict=True)
        lengths = [length + (slug in repeated) for length, slug in slugs]
    return _numbered(_slugs(parts, lengths))


def _slugs(parts: Sequence[Sequence[str]], lengths: Sequence[int]) -> list[str]:
    return [_slug(part[-length:]) for part, length in zip(parts, lengths, strict=True)]


def _slug(parts: Sequence[str]) -> str:
    return re.sub(r"[^A-Za-z0-9._+]+", "_", ".".join(parts)).lstrip(".") or "sae"


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _numbered(names: list[str]) -> list[str]:
    # Only paths that differ in nothing but replaced characters come here with a twin.
    unique: list[str] = []
    for name in names:
        twin, number = name, 2
        while twin in unique:
            twin, number = f"{name}+{number}", number + 1
        unique.append(twin)
    return unique
