"""The families that gate_simulation.py knows how to draw again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from benchmarks.gate_causal import PrincipledPool, RavelPool
from benchmarks.gate_concepts import MEASURED, ConceptPool
from benchmarks.gate_draws import Draw
from benchmarks.gate_reconstruction import ReconstructionPool, Shared
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import LoadedSAE


class Pool(Protocol):
    """One family on one dictionary, measured up to the last step on every unit there is."""

    def measured(self, draw: Draw) -> Iterable[tuple[Estimate, Sequence[Control]]]:
        """Give what a run on the drawn units, with the drawn seeds, would have measured.

        Each figure comes with the controls that would stand beside it.
        """


@dataclass(frozen=True)
class Simulated:
    """One family.

    Args:
        pool: measures a dictionary.
        table: kind of tables that the task file must have, empty for none.
        drawn: what a repetition draws, for people.
        remade: what is made anew with each seed, for people.
    """

    pool: Callable[[Shared, LoadedSAE], Pool]
    table: str
    drawn: str
    remade: str


FAMILIES: Mapping[str, Simulated] = {
    "reconstruction": Simulated(
        ReconstructionPool.of,
        "",
        "held-out texts, the same for the dictionary and its controls",
        "nothing: controls have the seed of the run",
    ),
    **{
        name: Simulated(
            partial(ConceptPool, name),
            "tpp",
            "labelled texts, of training and of test, within their cells",
            "all that is fitted: probes, their resamples, the order of latents",
        )
        for name in MEASURED
    },
    "ravel": Simulated(
        RavelPool.of,
        "ravel",
        "entities of the test pairs",
        "pairs, templates to train on, masks",
    ),
    "principled": Simulated(
        PrincipledPool.of,
        "principled",
        "groups of texts that differ in their attributes alone",
        "edits, one seed for each drawn group",
    ),
}
#: Those of which a metric decides, by a bound or beside a baseline, or could by what its rule says.
DECIDING = ("reconstruction", "removal", "tpp", "scr", "ravel", "principled")
