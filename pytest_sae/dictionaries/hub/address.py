"""What `hf:owner/repo@revision/path` says: a place in a repository of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from pytest_sae.errors import OptionError

SCHEME = "hf:"
_ADDRESS = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)"
    # A branch may have slashes: those of the hub's own are known, others are written %2F.
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?"
    r"(?:/(?P<path>.*))?",
    re.DOTALL,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Address:
    """A place in a repository of the hub.

    Args:
        repo: `owner/name`.
        revision: a branch, tag or commit.
        path: a directory or file in it, with / between parts; empty for its root.
    """

    repo: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}@{self.revision}/{self.path}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision) is not None


def parse(text: str) -> Address:
    """Return the address that a value of --sae names.

    Args:
        text: `hf:owner/repo@revision/path`; the revision is `main` where there is none.

    Raises:
        OptionError: no address.
    """
    match = _ADDRESS.fullmatch(text.removeprefix(SCHEME))
    path = (match["path"] or "").rstrip("/") if match else ""
    revision = unquote(match["revision"] or "main") if match else ""
    parts = [*revision.split("/"), *(path.split("/") if path else ())]
    if match is None or {"", ".", ".."} & set(parts):
        raise OptionError(
            f"--sae={text} is no address on the hub. Expected hf:owner/repo, "
            "hf:owner/repo/path or hf:owner/repo@revision/path (a slash in a branch's name is "
            "written %2F)."
        )
    return Address(match["repo"], revision, path)
