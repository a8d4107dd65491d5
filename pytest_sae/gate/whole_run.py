"""What a whole run was to judge and did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_sae.records.plan import Item, Plan
from pytest_sae.records.row import Row
from pytest_sae.records.run_verdict import run_verdict, unusable

__all__ = ["left_out", "run_verdict", "unusable"]

_TOLD = 3  # values of a baseline that are named, of those that were not measured


def left_out(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """Return what was to be judged and was not, a sentence each; values of a baseline by SAE.

    Args:
        plan: of the run.
        rows: what it measured.
    """
    left = plan.left(rows)
    # Whose rules are told one by one is not told again as a whole.
    ruled = {item.sae for item in left if item.kind == "rule"}
    told = [
        ": ".join(filter(None, (item.told, item.why(rows))))
        for item in left
        if item.kind in ("rule", "family") or (item.kind == "sae" and item.sae not in ruled)
    ]
    return [*told, *_of_baselines([item for item in left if item.kind == "baseline"])]


def _of_baselines(items: Iterable[Item]) -> list[str]:
    of: dict[tuple[str, str], list[str]] = {}
    for item in items:
        of.setdefault((item.sae, item.by), []).append(item.name)
    return [
        f"{len(names)} value{'s' * (len(names) != 1)} of {sae} in {by} "
        f"{'were' if len(names) != 1 else 'was'} not measured: {', '.join(names[:_TOLD])}"
        f"{', ...' if len(names) > _TOLD else ''}"
        for (sae, by), names in of.items()
    ]
