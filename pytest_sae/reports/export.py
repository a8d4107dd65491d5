"""The values of a report for other programs: tables, OpenMetrics text, SAEBench's files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

from pytest_sae.errors import OptionError, PytestSAEError
from pytest_sae.records.flat import COLUMNS, flat
from pytest_sae.records.schema import read_report, read_values, write_whole
from pytest_sae.reports.openmetrics import openmetrics
from pytest_sae.reports.saebench import write_saebench

Form = Literal["csv", "parquet", "openmetrics", "saebench"]


def export(report: Path, form: Form, output: Path | None) -> str:
    """Write the values of a report.

    Args:
        report: report.json.
        form: of the file.
        output: the file, None to return text; of SAEBench's files their directory.

    Returns:
        The text, or where it was written.

    Raises:
        OptionError: a form that is no text, and nothing to write it to.
        PytestSAEError: no report, or pandas and pyarrow are not installed.
    """
    # Curves and letters, which are details, stand in SAEBench's files alone.
    read = read_report(report) if form == "saebench" else read_values(report)
    if form in ("csv", "openmetrics"):
        rows = read.measurements
        text = _csv([flat(row) for row in rows]) if form == "csv" else openmetrics(read)
        return text if output is None else f"{write_whole(output, text)}\n"
    if output is None:
        what = "DIR" if form == "saebench" else "FILE"
        raise OptionError(f"--format={form} is no text. Expected --output={what} beside it.")
    if form == "saebench":
        files = write_saebench(read, output)
        return "".join(f"{line}\n" for line in [*files, *read.remarks])
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
