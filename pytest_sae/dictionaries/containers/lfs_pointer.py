"""What a clone has of a large file that git-lfs did not fetch: three lines that name it."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_sae.errors import DictionaryError

_START = b"version https://git-lfs"
_MOST_BYTES = 1024  # they have about 130


def refuse_pointer(path: Path) -> None:
    """Refuse a file that is the pointer of git-lfs to the one that is wanted.

    Raises:
        DictionaryError: it is one; the message says how to get the file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_MOST_BYTES)
    except OSError:
        return  # whoever reads it says why
    if not start.startswith(_START):
        return
    size = re.search(rb"^size (\d{1,20})$", start, re.MULTILINE)
    told = f" of {int(size[1]):,} bytes" if size else ""
    raise DictionaryError(
        f"{path} is a pointer of git-lfs to a file{told}, which the clone has not fetched. "
        "Expected the file itself: run `git lfs install && git lfs pull` in the clone, or name it "
        "on the hub (--sae=hf:OWNER/NAME/PATH)."
    )
