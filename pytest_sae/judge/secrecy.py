"""Secrets of the environment: known by the names of their variables, never let out."""

from __future__ import annotations

import json
import os

_ENDINGS = ("KEY", "TOKEN", "SECRET")
_SHORTEST = 8  # shorter values would be found by chance in ordinary text


def leaked(text: str) -> str | None:
    """Return the name of an environment variable whose secret value stands in text, else None.

    Also where the text is JSON, in which a quote or a backslash of the value is escaped.
    """
    found = (name for name, value in _secrets() if any(form in text for form in _forms(value)))
    return next(found, None)


def scrubbed(text: str) -> str:
    """Return text with the values of secret environment variables replaced by their names."""
    for name, value in _secrets():
        for form in _forms(value):
            text = text.replace(form, f"<{name}>")
    return text


def _forms(value: str) -> tuple[str, ...]:
    return value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


def _secrets() -> list[tuple[str, str]]:
    """The longest first: one secret may be part of another."""
    found = [
        (name, value)
        for name, value in os.environ.items()
        if name.upper().endswith(_ENDINGS) and len(value) >= _SHORTEST
    ]
    return sorted(found, key=lambda pair: (-len(pair[1]), pair[0]))
