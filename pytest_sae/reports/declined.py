"""Rows of what is absent for one and the same reason: told once where there are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_sae.records.row import Row

#: So many rows of one SAE with one reason are told in one line.
MANY = 4


def _declined(row: Row) -> bool:
    return row.declined


def fold(
    rows: Sequence[Row], alike: Callable[[Row], bool] = _declined
) -> tuple[list[Row], list[list[Row]]]:
    """Split rows into those that are shown one by one, and groups that are told in a line each.

    Args:
        rows: of any SAEs.
        alike: which of them may be told together, where their SAE and their reason are the same.

    Returns:
        Both in the order of the rows; a group is of one SAE and one reason.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if alike(row):
            groups.setdefault((row.sae, row.reason), []).append(row)
    large = {key: group for key, group in groups.items() if len(group) >= MANY}
    shown = [row for row in rows if not alike(row) or (row.sae, row.reason) not in large]
    return shown, [*large.values()]


def told(group: Sequence[Row]) -> str:
    """Return the line of a group: how many, which, and why."""
    return f"{names(group)}: {group[0].reason} [{group[0].sae}]"


def names(group: Sequence[Row]) -> str:
    """Return how many rows a group has, with the first and the last of them."""
    return f"{len(group)} metrics, {group[0].key} to {group[-1].key}"
