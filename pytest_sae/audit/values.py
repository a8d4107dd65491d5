"""The values of an audit, as plain records: what `gather` gives and `questions` takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Truth:
    """How much of the truth a dictionary has recovered; see `synthetic.recovery.Recovery`."""

    f1: float
    cosine: float
    both: float


@dataclass(frozen=True)
class Standing:
    """Where a dictionary of the panel stands in truth.

    Args:
        member: its name.
        kind: `trained`, `oracle`, `control` or `cut`.
        run: the training that it is of.
        step: of the training, 0 without one.
        everything: recovery of all true features.
        task: recovery of those that any task is about.
        pairs: of those that the concept pairs (SCR) are about.
        classes: of those that the classes (TPP) are about.
        erased: of those that the tasks are about on which the erasure frontier is measured.
    """

    member: str
    kind: str
    run: str
    step: int
    everything: Truth
    task: Truth
    pairs: Truth
    classes: Truth
    erased: Truth

    def about(self, metric: str) -> Truth:
        """Return the recovery of the features that a metric's own tasks are about."""
        family = metric.partition(".")[0]
        own = {"scr": self.pairs, "tpp": self.classes, "erasure": self.erased}
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
