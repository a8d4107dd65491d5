"""The closest valid name to a misspelt one, for messages."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(found: str, valid: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing where no valid name is close."""
    from difflib import get_close_matches

    close = get_close_matches(found, list(valid), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
