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
        _unite(union, {name: value for name, value in each.items() if name != "work"})
    models, data = union.pop("models", {}), union.pop("data", {})
    work = {worker: each.get("work", {}) for worker, each in sorted(described.items())}
    return Provenance(union, models, data, work)


def _unite(union: dict[str, Any], added: Mapping[str, Any]) -> None:
    for key, value in added.items():
        there = union.setdefault(key, value)
        if isinstance(there, dict) and isinstance(value, Mapping):
            union[key] = there = dict(there)
            _unite(there, value)
        elif there != value:
            # Workers on different hardware: keep both, and let the reader see it.
            union[key] = sorted({str(there), str(value)})
