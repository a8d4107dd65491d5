"""The families that gate_simulation.py knows how to draw again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.gate_causal import PrincipledPool, RavelPool
from benchmarks.gate_draws import Draw
from benchmarks.gate_probes import ErasurePool, ProbingPool, ScrPool, TppPool
from benchmarks.gate_reconstruction import ReconstructionPool
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import EvalSession, LoadedSAE


class Pool(Protocol):
    """One family on one dictionary, measured up to the last step on every unit there is."""

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return what a run on the drawn units, with the drawn seeds, would have measured."""


@dataclass(frozen=True)
class Simulated:
    """One family.

    Args:
        pool: measures a dictionary.
        keys: what may gate; where the rules let none of it, nothing is measured.
        drawn: what a repetition draws, for people.
        remade: what is made anew with each seed, for people.
    """

    pool: Callable[[EvalSession, LoadedSAE], Pool]
    keys: Sequence[str]
    drawn: str
    remade: str = "nothing: it has no part that is random"


_LABELLED = "labelled test texts, within the cells of their tasks"
FAMILIES: Mapping[str, Simulated] = {
    "reconstruction": Simulated(
        ReconstructionPool.of,
        ("explained_variance", "cosine", "dead_share", "dense_share_10pct", "ce_recovered"),
        "held-out texts",
    ),
    "scr": Simulated(
        ScrPool.of,
        ("scr.margin:direction=spurious,n=20", "scr.margin:direction=intended,n=20"),
        _LABELLED,
        "probes, five fits each",
    ),
    "tpp": Simulated(
        TppPool.of,
        ("tpp:n=20", "tpp.margin:n=20", "tpp.rescaled:n=20"),
        f"{_LABELLED}; held-out texts, for the scale",
        "probes, five fits each",
    ),
    "erasure": Simulated(
        ErasurePool.of,
        ("erasure",),
        _LABELLED,
        "probes, five fits each; random orders of latents",
    ),
    "sparse_probing": Simulated(ProbingPool.of, ("sparse_probing.gain:k=16",), _LABELLED),
    "ravel": Simulated(
        RavelPool.of,
        ("ravel",),
        "entities of the test pairs",
        "pairs, templates to train on, masks",
    ),
    "principled": Simulated(
        PrincipledPool.of,
        ("principled.sufficiency", "principled.control:k=2"),
        "groups of texts that differ in their attributes alone",
        "edits, one seed for each drawn group",
    ),
}
