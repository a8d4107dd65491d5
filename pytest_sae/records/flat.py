"""A measurement as one flat row: what a table or a data frame holds of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_sae.errors import PytestSAEError
from pytest_sae.records.row import Row
from pytest_sae.records.told import told_counts

if TYPE_CHECKING:
    import pandas

#: Names of the columns, in their order.
COLUMNS = (
    "sae", "metric", "settings", "value", "se", "low", "high", "n", "units", "seeds", "direction",
    "unit", "status", "verdict", "red", "bound_low", "bound_high", "baseline", "rule", "reason",
)  # fmt: skip

_FLOATS = ("value", "se", "low", "high", "bound_low", "bound_high", "baseline")

Cell = str | float | int | bool | None


def flat(row: Row) -> dict[str, Cell]:
    """Return a measurement by the names of `COLUMNS`.

    `n` is the number of units that its error rests on, the first of those that `units` names; `low`
    and `high` are the ends of the interval.

    Args:
        row: of a report.
    """
    low, high = row.limits
    ends = row.ci if row.ci and len(row.ci) == 2 else (None, None)
    told = row.baseline.value if row.baseline else None
    return {
        "sae": row.sae,
        "metric": row.metric,
        "settings": ",".join(f"{name}={row.params[name]}" for name in sorted(row.params)),
        "value": row.value,
        "se": row.se,
        "low": ends[0],
        "high": ends[1],
        "n": next(iter(row.n.values()), None),
        "units": told_counts(row.n),
        "seeds": row.seeds,
        "direction": row.direction,
        "unit": row.unit,
        "status": row.status,
        "verdict": row.verdict,
        "red": row.red,
        "bound_low": low,
        "bound_high": high,
        "baseline": told,
        "rule": row.rule.source if row.rule else "",
        "reason": row.reason,
    }


def frame(rows: Iterable[Row]) -> pandas.DataFrame:
    """Return measurements as a data frame, one row a value; its columns are `COLUMNS`.

    Args:
        rows: of a report.

    Raises:
        PytestSAEError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise PytestSAEError(
            "A data frame needs pandas. Expected it installed: pip install 'pytest-sae[frames]'."
        ) from None
    made = pandas.DataFrame([flat(row) for row in rows], columns=list(COLUMNS))
    # What has no number is missing: a column of them alone would be of no type.
    return made.astype(dict.fromkeys(_FLOATS, "float64") | {"n": "Int64"})
