"""Where things stand in a TOML file; tomllib knows no lines, so they are looked up in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A table of a file.

    Args:
        file: the file, as shown to people.
        text: all of it.
        table: name of the metric whose table it is, empty for the whole file.
        override: number of the override that it is, from 1; 0 if it is none.
    """

    file: str
    text: str
    table: str
    override: int = 0

    def lines(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the line of the header (under "") and of each key."""
        header = self.header()
        return {"": header, **{key: self._key(key, header) for key in keys}}

    def at(self, key: str = "") -> str:
        """Return `file:line` of a key, or of the header."""
        return f"{self.file}:{self.lines([key]).get(key, 1)}"

    def header(self) -> int:
        """Return the line of the header."""
        if self.override:
            return self._header_of_override()
        if not self.table:
            return 1
        name = re.escape(self.table)
        header = rf"\s*\[\s*metrics\s*\.\s*(?:\"{name}\"|'{name}'|{name})\s*\]"
        return self._first(header) or self._first(rf".*{name}") or 1

    def _header_of_override(self) -> int:
        found = 0
        for _ in range(self.override):
            found = self._first(r"\s*\[\[\s*[\"']?override[\"']?\s*\]\]", found) or found
        return found or self._first(r"\s*override\b") or 1

    def _key(self, key: str, header: int) -> int:
        if not key:
            return header
        # At the start of a line, as a table of its own, or inside an inline table.
        quoted = rf"[\"']?{re.escape(key)}[\"']?\s*"
        pattern = rf"\s*{quoted}[=.]|\s*\[+\s*{quoted}[.\]]|[^#]*[{{,]\s*{quoted}="
        if not self.table and not self.override:
            return self._first(pattern) or 1
        found, until = self._first(pattern, header), self._first(r"\s*\[", header)
        return found if found and (not until or found < until) else header

    def _first(self, pattern: str, after: int = 0) -> int:
        numbered = enumerate(self.text.splitlines(), 1)
        return next((n for n, line in numbered if n > after and re.match(pattern, line)), 0)
