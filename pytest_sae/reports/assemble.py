"""The report as one dictionary of builtins, and the verdict of the whole run."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pytest_sae.gate.verdict import RED
from pytest_sae.records.row import Row, is_red_row

SCHEMA_VERSION = 1
_PACKAGES = (
    "pytest-sae", "pytest", "pytest-xdist", "torch", "transformers", "sae-lens", "numpy", "scipy",
    "scikit-learn", "litellm",
)  # fmt: skip


def run_verdict(
    rows: Sequence[Row], tests: Sequence[Mapping[str, Any]], problems: Sequence[str], gate: bool
) -> str:
    """Return the verdict of a run: the worst of its rows, never green when anything is amiss."""
    red = {row["verdict"] for row in rows if is_red_row(row)}
    if not gate:
        return "unmeasured" if problems else "ungated"
    for name in (*RED, "new"):
        if name in red:
            return name
    if problems or any(
        test["outcome"] in ("missing", "crashed", "error", "skipped") for test in tests
    ):
        return "unmeasured"
    return "fail" if any(test["outcome"] in ("failed", "xpassed") for test in tests) else "pass"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on, not imported."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def merged(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the workers said about environment, models, data and work.

    Args:
        described: `EvalSession.describe()` by worker.

    Returns:
        The union, so that it does not depend on who did what; the work stays per worker.
    """
    union: dict[str, Any] = {}
    for _, each in sorted(described.items()):
        _unite(union, {name: value for name, value in each.items() if name != "work"})
    models, data = union.pop("models", {}), union.pop("data", {})
    work = {worker: each.get("work", {}) for worker, each in sorted(described.items())}
    return {"environment": union, "models": models, "data": data, "work": work}


def _unite(union: dict[str, Any], added: Mapping[str, Any]) -> None:
    for key, value in added.items():
        there = union.setdefault(key, value)
        if isinstance(there, dict) and isinstance(value, Mapping):
            union[key] = there = dict(there)
            _unite(there, value)
        elif there != value:
            # Workers on different hardware: keep both, and let the reader see it.
            union[key] = sorted({str(there), str(value)})
