"""Controls in reports: the metrics that do not discriminate, and a table of what each reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_control, standing
from pytest_sae.records.verdicts import UNDISCRIMINATING, headline

_NAMED = 4  # metrics of one line


def doubt_lines(rows: Iterable[Row]) -> list[str]:
    """Return a line for each metric that does not discriminate and does not gate either.

    Those that gate stand among the failures.
    """
    return [
        headline(row.sae, row.key, None, "doubt", f"{UNDISCRIMINATING}: {row.doubt}")
        for row in rows
        if row.doubt and not row.red
    ]


def doubted(rows: Iterable[Row]) -> list[str]:
    """Return in one line which metrics `doubt_lines` is about; none where there are none."""
    keys = list(dict.fromkeys(row.key for row in rows if row.doubt and not row.red))
    if not keys:
        return []
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return [f"{UNDISCRIMINATING}, and not gated: {', '.join(keys[:_NAMED])}{more}"]


def control_cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return one line of a table for each control of each row."""
    return [
        (row.sae, row.key, each.control, shown_control(each), standing(each))
        for row in rows
        for each in row.controls
    ]
