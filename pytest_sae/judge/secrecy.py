"""Secrets of the environment: known by their variables' names and by their form, never let out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

# Words in whose end a part of a variable's name says that it holds a secret: OPENAI_API_KEY_2.
_WORDS = (
    "KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWORDS", "PASSWD",
    "PASSPHRASE", "CREDENTIAL", "CREDENTIALS",
)  # fmt: skip
# Too short to be looked for in the end of a longer part: PASS is, COMPASS is not; nor is PWD alone.
_WHOLE = ("PASS", "PAT", "PWD", "AUTH", "COOKIE")
_DIRECTORIES = ("PWD", "OLDPWD")
_SHORTEST = 8  # shorter values would be found by chance in ordinary text
# What services give out, whatever the variable is called.
_FORMS = re.compile(
    r"\bsk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic and those after them
    r"|\bhf_[A-Za-z0-9]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # a JSON web token
)
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


def leaked(text: str) -> str | None:
    """Return the name of an environment variable whose secret value stands in text, else None.

    Also where the text is JSON, in which a quote or a backslash of the value is escaped, or an
    address, in which they stand as %22 and %5C.

    Args:
        text: that is to be written or sent.
    """
    found = (name for name, value in _secrets() if any(form in text for form in _spelled(value)))
    return next(found, None)


def scrubbed(text: str) -> str:
    """Return text with the values of secret environment variables replaced by their names.

    What has the form of a secret goes too, whoever it belongs to.

    Args:
        text: for people.
    """
    for name, value in _secrets():
        for form in _spelled(value):
            text = text.replace(form, f"<{name}>")
    text = _FORMS.sub("<secret>", text)
    return _IN_ADDRESS.sub(lambda found: found[0].replace(f":{found[1]}@", ":<secret>@"), text)


def _spelled(value: str) -> tuple[str, ...]:
    escaped = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
    return value, *escaped, quote(value, safe="", errors="surrogateescape")


def _secrets() -> list[tuple[str, str]]:
    """The longest first: one secret may be part of another."""
    found = {
        (name, secret)
        for name, value in os.environ.items()
        for secret in _within(name, value)
        if len(secret) >= _SHORTEST
    }
    return sorted(found, key=lambda pair: (-len(pair[1]), pair[0]))


def _within(name: str, value: str) -> Iterator[str]:
    """Give what is secret of a variable: all of it, or the parts that have the form of secrets."""
    if _names_a_secret(name):
        yield value
    for found in _FORMS.finditer(value):
        yield found[0]
    for found in _IN_ADDRESS.finditer(value):
        yield from (found[1], unquote(found[1]))


def _names_a_secret(name: str) -> bool:
    if name in _DIRECTORIES:
        return False
    parts = re.split(r"[^A-Z]+", name.upper())
    return any(part in _WHOLE or part.endswith(_WORDS) for part in parts)
