"""A measurement as one flat row: what a table or a data frame holds of it."""

from __future__ import annotations

from pytest_sae.records.row import Row

#: Names of the columns, in their order.
COLUMNS = (
    "sae", "metric", "settings", "value", "se", "low", "high", "n", "units", "seeds", "direction",
    "unit", "status", "verdict", "red", "bound_low", "bound_high", "baseline", "rule", "reason",
)  # fmt: skip

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
        "units": ", ".join(f"{count} {unit}" for unit, count in row.n.items()),
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
