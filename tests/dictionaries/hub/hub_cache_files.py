"""A cache of the hub's client, populated by hand as the client does it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.dictionaries.hub.hub_server import digest

COMMIT = "c" * 40
Files = dict[str, bytes]


def files_in(directory: Path) -> Files:
    """The files of a directory by name, with their contents."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def below(directory: str, files: Files) -> Files:
    """The files as they are in a directory of a repository."""
    return {f"{directory}/{name}": content for name, content in files.items()}


def cache(home: Path, repo: str, files: Files, *, commit: str = COMMIT, ref: str = "main") -> Path:
    """Populate a cache as the hub's client does, and return it."""
    storage = home / f"models--{repo.replace('/', '--')}"
    for name, content in files.items():
        blob = storage / "blobs" / digest(content)
        link = storage / "snapshots" / commit / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(os.path.relpath(blob, link.parent))
    named = storage / "refs" / ref
    named.parent.mkdir(parents=True, exist_ok=True)
    named.write_text(commit)
    return storage
