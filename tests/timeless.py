"""A report.json without what differs from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What may differ between two runs of the same thing: when, how long, by whom, into what.
_RUN_TIMES = ("started", "duration", "argv", "work")
_ROW_TIMES = ("seconds", "peak_memory", "worker")


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report without what differs from run to run: times, memory, workers, argv."""
    kept = {key: value for key, value in report.items() if key not in _RUN_TIMES}
    kept["options"] = {k: v for k, v in report["options"].items() if k not in ("report", "cache")}
    kept["measurements"] = [
        {key: value for key, value in row.items() if key not in _ROW_TIMES}
        for row in report["measurements"]
    ]
    return kept
