"""A report.json with every row whole, as in reports up to version 3; such files are read too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_sae.records.schema import builtins, read_report


def whole_report(path: Path) -> dict[str, Any]:
    """Return a report, with its details, as builtins that a test may change and write."""
    return {**builtins(read_report(path)), "schema_version": 3}
