"""The values of a report for other programs: a table (CSV, parquet), or OpenMetrics text."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

from pytest_sae.errors import OptionError, PytestSAEError
from pytest_sae.records.flat import COLUMNS, flat
from pytest_sae.records.schema import read_report, write_whole
from pytest_sae.reports.openmetrics import openmetrics

Form = Literal["csv", "parquet", "openmetrics"]


def export(report: Path, form: Form, output: Path | None) -> str:
    """Write the values of a report, one row a value.

    Args:
        report: report.json.
        form: of the file.
        output: the file, None to return text.

    Returns:
        The text, or where it was written.

    Raises:
        OptionError: parquet, and no file to write it to.
        PytestSAEError: no report, or pandas and pyarrow are not installed.
    """
    read = read_report(report)
    if form != "parquet":
        rows = read.measurements
        text = _csv([flat(row) for row in rows]) if form == "csv" else openmetrics(read)
        return text if output is None else f"{write_whole(output, text)}\n"
    if output is None:
        raise OptionError("--format=parquet is no text. Expected --output=FILE beside it.")
    frame = read.to_frame()
    try:
        frame.to_parquet(output, index=False)
    except ImportError:
        raise PytestSAEError(
            "Parquet needs pyarrow. Expected it installed: pip install 'pytest-sae[frames]'."
        ) from None
    return f"{output}\n"


def _csv(rows: list[dict[str, str | float | int | bool | None]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
