"""Where things stand in a TOML file; tomllib knows no lines, so they are looked up in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

_METRIC = re.compile(r"\s*\[\s*metrics\s*\.\s*(?:\"([^\"]*)\"|'([^']*)'|([^\]\s]*))\s*\]")
_OVERRIDE = re.compile(r"\s*\[\[\s*[\"']?override[\"']?\s*\]\]")
_TABLE = re.compile(r"\s*\[")


class TomlText:
    """The lines of a file, read once for all that is looked up in it.

    Args:
        text: all of it.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def first(self, pattern: str | re.Pattern[str], after: int = 0) -> int:
        """Return the number of the first line that a pattern matches, 0 if none does."""
        return _first(pattern, enumerate(self._lines[after:], after + 1))

    def in_table(self, pattern: str, header: int) -> int:
        """Return the same for the lines between a header and the next one."""
        lines = enumerate(self._lines[header:], header + 1)
        return _first(pattern, takewhile(lambda each: not _TABLE.match(each[1]), lines))

    @cached_property
    def metrics(self) -> Mapping[str, int]:
        """The line of the header of each table of a metric."""
        matches = ((n, _METRIC.match(line)) for n, line in enumerate(self._lines, 1))
        found: dict[str, int] = {}
        for n, match in matches:
            if match:
                found.setdefault(next(name for name in match.groups() if name is not None), n)
        return found


def _first(pattern: str | re.Pattern[str], numbered: Iterable[tuple[int, str]]) -> int:
    return next((n for n, line in numbered if re.match(pattern, line)), 0)


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
    text: TomlText
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
        there = self.text.metrics.get(self.table)
        return there or self.text.first(rf".*{re.escape(self.table)}") or 1

    def _header_of_override(self) -> int:
        found = 0
        for _ in range(self.override):
            found = self.text.first(_OVERRIDE, found) or found
        return found or self.text.first(r"\s*override\b") or 1

    def _key(self, key: str, header: int) -> int:
        if not key:
            return header
        # At the start of a line, as a table of its own, or inside an inline table.
        quoted = rf"[\"']?{re.escape(key)}[\"']?\s*"
        pattern = rf"\s*{quoted}[=.]|\s*\[+\s*{quoted}[.\]]|[^#]*[{{,]\s*{quoted}="
        if not self.table and not self.override:
            return self.text.first(pattern) or 1
        return self.text.in_table(pattern, header) or header
