"""What is launched: one task for each SAE, the largest first, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_sae.run.shard import packed

EVALUATE = "pytest_sae.launch.tied"
PREPARE = "pytest_sae.launch.prepare"


@dataclass(frozen=True)
class Task:
    """Something that is run elsewhere.

    Args:
        name: how messages call it: the SAE's id.
        home: directory on this machine in which its journal, its log and its report are kept.
        arguments: of pytest.
        module: what is run with them.
        place: the node that it has to run on, empty for any.
    """

    name: str
    home: Path
    arguments: tuple[str, ...]
    module: str = EVALUATE
    place: str = ""


@dataclass(frozen=True)
class Order:
    """One attempt at a task; plain builtins, for it travels to a node.

    Args:
        module: what is run.
        arguments: of pytest.
        cwd: directory to run in, None for that which the engine chose.
        log: name of the file for what is printed.
        again: whether what was measured before is gone on with where it fits, and left where it
            does not; otherwise it is refused.
        journal: of what was measured before, where it does not lie on the node already.
    """

    module: str
    arguments: tuple[str, ...]
    cwd: str | None
    log: str
    again: bool = False
    journal: bytes | None = None


@dataclass(frozen=True)
class Ended:
    """How an attempt at a task ended.

    Args:
        task: which.
        status: exit status of pytest; None where none is known.
        why: what became of it then.
    """

    task: Task
    status: int | None
    why: str = ""


class Engine(Protocol):
    """Runs tasks somewhere, and decides where and when."""

    def places(self, cache: str) -> list[str]:
        """Return nodes that see all there is of a cache between them, one for each directory.

        Args:
            cache: path of it, the same on every node.
        """

    def submit(self, orders: Sequence[tuple[Task, Order]]) -> None:
        """Hand over tasks; returns at once.

        Args:
            orders: each with its task, those to begin with first.
        """

    def ended(self) -> list[Ended]:
        """Return what has ended since the last call, after a second at most."""

    def close(self) -> None:
        """Stop whatever still runs."""


def planned(
    sizes: Mapping[str, int], arguments: Sequence[str], directory: Path
) -> tuple[Task, ...]:
    """Return a task for each SAE, the largest first: each is a shard, as `--sae-shard` makes them.

    Args:
        sizes: of each SAE by id, in any unit.
        arguments: of pytest, for all of them.
        directory: for what they leave behind.
    """
    count = len(sizes)
    return tuple(
        Task(
            sae,
            directory / f"{which:0{len(str(count))}d}-{sae}",
            (*arguments, f"--sae-shard={which}/{count}"),
        )
        for which, (sae,) in enumerate(packed(sizes, count), 1)
    )
