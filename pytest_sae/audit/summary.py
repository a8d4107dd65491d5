"""The audit as it stands in report.json: builtins, from what each world gave.

world_record(world) -> dict                 # what a test sends to whoever writes the report
audit_record(size, records) -> dict         # `Audit` of `reports.records`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pytest_sae.audit.questions import audit
from pytest_sae.audit.values import Standing, WorldAudit
from pytest_sae.families.registry import known, spec_of
from pytest_sae.records.schema import checked

Record = Mapping[str, Any]


def world_record(world: WorldAudit) -> dict[str, Any]:
    """Return a world's audit as builtins."""
    return asdict(world)


def world_of(record: Record) -> WorldAudit:
    """Return the world's audit of a record."""
    return checked(WorldAudit, record)


def audit_record(size: str, records: Sequence[Record]) -> dict[str, Any]:
    """Ask all questions, and return answers and panels as builtins.

    Args:
        size: name of the audit's size.
        records: of the worlds, in any order.

    Returns:
        What `report.json` has under `audit`.
    """
    worlds = [world_of(record) for record in sorted(records, key=lambda each: str(each["world"]))]
    directions = {name: spec_of(name).direction for name in known()}
    return {
        "size": size,
        "worlds": [
            {
                "world": world.world,
                "seeds": max((o.seed for o in world.observations), default=0),
                "panel": [_standing(each) for each in world.standings],
            }
            for world in worlds
        ],
        "metrics": [asdict(each) for each in audit(worlds, directions)],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    found = asdict(standing)
    del found["run"]
    return found
