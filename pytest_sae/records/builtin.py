"""Values as exact builtins: what travels between processes and stands in JSON."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any


def to_builtin(value: object) -> Any:
    """Return value as exact builtins for strict JSON; NaN and infinities become None.

    execnet refuses subclasses of builtins: one numpy.float64 on a report silences a whole xdist
    worker. So every leaf is rebuilt, and what has no counterpart becomes its text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return to_builtin(value.value)
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {str(to_builtin(key)): to_builtin(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_builtin(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((to_builtin(item) for item in value), key=repr)
    # numpy scalars, arrays and tensors, none of which may be imported here.
    unpack = getattr(value, "tolist", None)
    return to_builtin(unpack()) if callable(unpack) else str(value)


def writable(text: str) -> str:
    """Return a text that a file can hold: half of a surrogate pair becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def writable_in(value: Any) -> Any:
    """Return builtins whose texts all can be held by a file.

    Names of files may be no UTF-8, and somebody's texts no whole characters.
    """
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, dict):
        return {writable(key): writable_in(each) for key, each in value.items()}
    return [writable_in(each) for each in value] if isinstance(value, list) else value
