"""The values of an audit, as plain records: what `gather` gives and `questions` takes."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sae.records.audit import AuditStanding, AuditTruth


@dataclass(frozen=True)
class Standing(AuditStanding):
    """Where a dictionary of the panel stands in truth.

    Args:
        run: the training that it is of.
    """

    run: str

    def about(self, metric: str) -> AuditTruth:
        """Return the recovery of the features that a metric's own tasks are about."""
        family = metric.partition(".")[0]
        few = {"erasure": self.erased, "removal": self.erased}  # they read as many tasks
        own = {"scr": self.pairs, "tpp": self.classes, **few}
        return own.get(family, self.task)


@dataclass(frozen=True)
class Observation:
    """One value of one metric at one setting.

    Args:
        member: of the panel.
        seed: of texts, probe fits and everything else that is random; 0 is everybody's.
        metric: its name.
        setting: such as `n=20`, empty where it has none.
        value: None where it is undefined.
    """

    member: str
    seed: int
    metric: str
    setting: str
    value: float | None


@dataclass(frozen=True)
class WorldAudit:
    """All that was measured on one world."""

    world: str
    standings: tuple[Standing, ...]
    observations: tuple[Observation, ...]
