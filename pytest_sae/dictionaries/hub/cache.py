"""The hub's cache on this machine: what it has of a repository, and whether it is intact.

The cache is the hub client's own, laid out as `models--owner--repo/{refs,snapshots,blobs}`;
nothing is written to it here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DIGESTS = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """What is known of a file of a repository.

    Args:
        size: in bytes, None if unknown.
        digest: the SHA-256 of a large file, the git blob id of another; None if unknown.
    """

    size: int | None
    digest: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit.

    Args:
        commit: 40 hexadecimal digits.
        files: by name, with / between parts.
        cached: whether these are only the files that the cache has.
    """

    commit: str
    files: Mapping[str, HubFile]
    cached: bool = False


def snapshot(repo: str, commit: str) -> Path:
    """Return the directory of the cache that has, or will have, a repository's files."""
    return _storage(repo) / "snapshots" / commit


def listing(repo: str, revision: str) -> Listing | None:
    """Return the files that the cache has at a revision, None if it does not know that."""
    storage = _storage(repo)
    ref = storage / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    root = storage / "snapshots" / commit
    if not root.is_dir():
        return None
    files = {path.relative_to(root).as_posix(): _blob(path) for path in _files(root)}
    return Listing(commit, files, cached=True)


def problem(path: Path, file: HubFile) -> str | None:
    """Return why a file is not the one that the hub has, None if it is."""
    size = path.stat().st_size
    whole = file.size is None or size == file.size
    if whole and (file.digest is None or _digest(path, file.digest) == file.digest):
        return None
    where = path.resolve()
    if not whole:
        found = f"{where} has {size} bytes, and {path.name} on the hub has {file.size}"
    else:
        found = (
            f"{where} is {_digest(path, str(file.digest))[:16]}…, and {path.name} on the hub is "
            f"{str(file.digest)[:16]}…"
        )
    return (
        f"{found}: it is damaged, or not what was published. Expected the same bytes: delete "
        "that file to download it again, and tell the repository's owner if that does not help."
    )


def _storage(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def _blob(path: Path) -> HubFile:
    """A file that the cache keeps once, under the digest that the hub gave for it."""
    blob = path.resolve()
    known = blob.parent.name == "blobs" and _DIGESTS.fullmatch(blob.name)
    return HubFile(None, blob.name if known else None)


def _digest(path: Path, like: str) -> str:
    """The digest of a file, of the kind that another one is."""
    if len(like) == 64:
        digest = hashlib.sha256()
    else:  # git's name for a blob is no protection, but what there is for a small file
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
