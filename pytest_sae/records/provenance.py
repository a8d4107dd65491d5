"""What the workers of a run, or of several, say about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """What workers said: the union, so that it does not depend on who did what; work by worker."""

    environment: dict[str, Any]
    models: dict[str, Any]
    data: dict[str, Any]
    work: dict[str, Any]


def united(described: Mapping[str, Mapping[str, Any]]) -> Provenance:
    """Return what the workers said about environment, models, data and work.

    Args:
        described: `EvalSession.describe()` by worker.
    """
    union: dict[str, Any] = {}
    for _, each in sorted(described.items()):
        unite(union, {name: value for name, value in each.items() if name != "work"})
    models, data = union.pop("models", {}), union.pop("data", {})
    work = {worker: each.get("work", {}) for worker, each in sorted(described.items())}
    return Provenance(union, models, data, work)


def unite(union: dict[str, Any], added: Mapping[str, Any]) -> None:
    """Add what another worker said.

    Args:
        union: of what was said before; changed.
        added: by name; what contradicts is kept beside the other.
    """
    for key, value in added.items():
        there = union.setdefault(key, value)
        if isinstance(there, dict) and isinstance(value, Mapping):
            union[key] = there = dict(there)
            unite(there, value)
        elif there != value:
            # Workers on different hardware: keep both, and let the reader see it.
            union[key] = sorted({str(there), str(value)})
