"""The hub's cache on this machine: what it has of a repository, and whether it is intact.

The cache is the hub client's own, which is asked for it; nothing is written to it here.
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


def snapshot(repo: str, revision: str) -> Path:
    """Return the directory of the cache that has files of a repository, named by their commit.

    Args:
        repo: OWNER/NAME on the hub.
        revision: a branch, a tag or a commit.

    Raises:
        OSError: the cache does not know the revision, or has no file of it.
        ValueError: no name of a repository.
    """
    from huggingface_hub import snapshot_download

    # No file is asked for: the client refuses a snapshot that lacks one that is.
    path = snapshot_download(repo, revision=revision, allow_patterns=[], local_files_only=True)
    return Path(path)


def path(repo: str, commit: str, name: str) -> Path | None:
    """Return where the cache has a file of a repository, None if it has it not.

    Args:
        repo: OWNER/NAME on the hub.
        commit: at which the file is wanted.
        name: of the file, with / between parts.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, name, revision=commit, local_files_only=True))
    except (OSError, ValueError):
        return None


def listing(repo: str, revision: str) -> Listing | None:
    """Return the files that the cache has at a revision, None if it does not know that.

    Args:
        repo: OWNER/NAME on the hub.
        revision: a branch, a tag or a commit.
    """
    try:
        root = snapshot(repo, revision)
    except (OSError, ValueError):
        return None
    paths = [path for path in root.rglob("*") if path.is_file()]
    files = {path.relative_to(root).as_posix(): _blob(path) for path in paths}
    return Listing(root.name, files, cached=True)


def problem(path: Path, file: HubFile) -> str | None:
    """Return why a file is not the one that the hub has, None if it is.

    Args:
        path: where the file lies on this machine.
        file: what the hub says of it; what it does not say is not compared.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    size = path.stat().st_size
    where = path.resolve()
    if file.size is not None and size != file.size:
        found = f"{where} has {size} bytes, and {path.name} on the hub has {file.size}"
    elif file.digest is None or (digest := _digest(path, file.digest)) == file.digest:
        return None
    else:
        found = f"{where} is {digest[:16]}…, and {path.name} on the hub is {file.digest[:16]}…"
    return (
        f"{found}: it is damaged, or not what was published. Expected the same bytes: delete "
        "that file to download it again, and tell the repository's owner if that does not help."
    )


def _blob(path: Path) -> HubFile:
    """A link to the hub's digest of a file, which the client tells only by scanning everything."""
    name = path.readlink().name if path.is_symlink() else ""
    return HubFile(None, name if _DIGESTS.fullmatch(name) else None)


def _digest(path: Path, like: str) -> str:
    """The digest of a file, of the kind that another one is."""
    digest = hashlib.sha256()
    if len(like) == 40:  # git's name for a blob: no protection, but what a small file has
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()
