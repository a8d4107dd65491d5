"""A family of concept metrics, on drawn training and test texts, with all that is fitted anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate_draws import Draw, Indices
from benchmarks.gate_reconstruction import Shared
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.pooled import Pooled
from pytest_sae.data.tasks import ClassTask, ClassTexts, SpuriousTask, SpuriousTexts, Tasks
from pytest_sae.families.registry import card_of
from pytest_sae.gate.rules import Regression, Rule, Thresholds
from pytest_sae.measure.given import Given, measured
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import LoadedSAE

#: Those whose figures are of probes on labelled texts, and that cost seconds.
MEASURED = ("removal", "tpp", "scr", "sparse_probing")
#: What may be asked to decide beside a baseline, and how: as rules that nobody has to follow. The
#: first one is what evals/thresholds.toml offers.
OFFERED = "tpp.rescaled:n=few"
ASKED = (
    "removal", OFFERED, "tpp.margin:n=20", "scr.margin:direction=spurious,n=few",
    "scr.margin:direction=intended,n=few",
)  # fmt: skip
#: With 3 standard errors, too many false alarms on one world of two (docs/gate.md).
WANTED = Regression(abs=0.005, sigma=3.6)
WANTED_TOLD = (
    f'`gate = "baseline"` and `regression = {{ abs = {WANTED.abs:g}, sigma = {WANTED.sigma:g} }}`'
)


def asked() -> Thresholds:
    """Return rules by which each concept metric decides beside a baseline, and nothing else."""
    rules = (Rule(key, regression=WANTED, beside_baseline=True) for key in ASKED)
    return Thresholds("", "", {rule.name: rule for rule in rules})


Item = TypeVar("Item")


class PooledOnce(Latents):
    """Latents that pool all labelled texts together, whichever of them are asked for.

    Args:
        of: the dictionary's latents.
        texts: all of the texts.
    """

    def __init__(self, of: Latents, texts: tuple[str, ...]) -> None:
        vars(self).update(vars(of))
        self._all = texts

    def pooled(self, texts: Sequence[str]) -> Pooled:
        """Return what is pooled of all texts."""
        return super().pooled(self._all)

    def places(self, texts: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
        """Return where each wanted text stands among all of them."""
        return super().places(self._all, wanted)


@dataclass(frozen=True)
class ConceptPool:
    """What is pooled of every labelled text, of a dictionary; probes are fitted in each draw.

    Args:
        family: of `MEASURED`.
        shared: of the world.
        sae: whose texts are encoded when the first draw asks for them.
    """

    family: str
    shared: Shared
    sae: LoadedSAE

    def measured(self, draw: Draw) -> Iterator[tuple[Estimate, tuple[Control, ...]]]:
        """Give the figures on the drawn texts; controls are not simulated."""
        session = self.shared.session
        latents = PooledOnce(session.latents(self.sae), erasure_texts(session.tasks))
        card = card_of(self.family)
        sizes = card.sizes.get(session.suite.name, {})
        given = Given(latents, drawn_tasks(session.tasks, draw), draw.number, sizes)
        yield from ((each, ()) for each in measured(card, given))


def drawn_tasks(tasks: Tasks, draw: Draw) -> Tasks:
    """Return the tasks with the texts of each split drawn with replacement, cell by cell.

    The corpus, on which TPP's scale is measured, stays as it is.
    """
    return replace(
        tasks,
        scr=tuple(_drawn_scr(each, draw) for each in tasks.scr),
        tpp=tuple(_drawn_tpp(each, draw) for each in tasks.tpp),
    )


def _drawn_scr(task: SpuriousTask, draw: Draw) -> SpuriousTask:
    def drawn(split: SpuriousTexts, name: str) -> SpuriousTexts:
        cells = 2 * np.array(split.intended, np.int64) + np.array(split.spurious)
        places = _drawn(cells, draw, "scr", task.name, name)
        return SpuriousTexts(
            _taken(split.texts, places),
            _taken(split.intended, places),
            _taken(split.spurious, places),
        )

    return replace(task, train=drawn(task.train, "train"), test=drawn(task.test, "test"))


def _drawn_tpp(task: ClassTask, draw: Draw) -> ClassTask:
    def drawn(split: ClassTexts, name: str) -> ClassTexts:
        places = _drawn(np.array(split.labels, np.int64), draw, "tpp", task.name, name)
        return ClassTexts(_taken(split.texts, places), _taken(split.labels, places))

    return replace(task, train=drawn(task.train, "train"), test=drawn(task.test, "test"))


def _drawn(cells: Indices, draw: Draw, *names: str) -> Indices:
    """Draw from each cell as many as it has, each in the place of one of its own."""
    places = np.empty_like(cells)
    for cell in np.unique(cells):
        own = np.flatnonzero(cells == cell)
        places[own] = draw.units(own, *names, str(cell))
    return places


def _taken(items: Sequence[Item], places: Indices) -> tuple[Item, ...]:
    return tuple(items[place] for place in places)
