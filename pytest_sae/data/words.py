"""What a word is, and a text without some of them.

words_of(text) -> frozenset of lower-case words
delete(text, words) -> str
"""

from __future__ import annotations

import re
from collections.abc import Collection

#: Letters and digits, with apostrophes between them.
WORD = r"[^\W_]+(?:['\u2019][^\W_]+)*"
_WORD = re.compile(WORD)
_SPACED = re.compile(rf"(\s*)({WORD})")


def words_of(text: str) -> frozenset[str]:
    """Return the distinct words of a text, in lower case."""
    return frozenset(word.lower() for word in _WORD.findall(text))


def delete(text: str, words: Collection[str]) -> str:
    """Return a text without some words, whole and in any case; the rest stays as it is.

    The white space before a deleted word goes with it; a text whose first word goes begins with
    the next one.

    Args:
        text: any.
        words: in lower case.
    """

    def kept(found: re.Match[str]) -> str:
        return "" if found[2].lower() in words else found[0]

    left = _SPACED.sub(kept, text)
    return left if text[:1].isspace() else left.lstrip()
