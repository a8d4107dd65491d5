"""Whether a panel is worth being ranked: the audit's own checks, on the truth alone.

unsound(world) -> list[str]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sae.audit.values import WorldAudit

#: A panel all of whose dictionaries recover about as much can't tell metrics apart.
LEAST_SPREAD = 0.2


def unsound(world: WorldAudit) -> list[str]:
    """Return what makes an audit of this world say nothing; empty if it is sound.

    The oracle must recover everything, controls less than anything trained, and what is trained
    must differ in how much it recovers.
    """
    by_kind: dict[str, list[float]] = {}
    for each in world.standings:
        by_kind.setdefault(each.kind, []).append(each.task.both)
    trained = by_kind["trained"]
    problems = []
    if min(by_kind["oracle"]) < 1 - 1e-6:
        problems.append(f"the oracle recovers {min(by_kind['oracle']):.4f}, expected 1")
    if max(by_kind["control"]) >= min(trained):
        problems.append(
            f"a control recovers {max(by_kind['control']):.3f}, as much as the least trained "
            f"dictionary ({min(trained):.3f}): keep checkpoints later in training"
        )
    if max(trained) - min(trained) < LEAST_SPREAD:
        problems.append(
            f"trained dictionaries recover {min(trained):.3f} to {max(trained):.3f}: a spread "
            f"of {LEAST_SPREAD} at least is needed to rank them"
        )
    observed = {(o.metric, o.setting) for o in world.observations if o.value is not None}
    never = {(o.metric, o.setting) for o in world.observations} - observed
    return problems + [
        f"{metric} {setting} has no value at all" for metric, setting in sorted(never)
    ]
