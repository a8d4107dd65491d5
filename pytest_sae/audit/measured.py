"""What is audited: every family that can be measured on activations without a language model.

A further family is one entry in AUDITED. The variants are no metrics of the suite: they change one
part of a definition at a time, to find the part that is to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pytest_sae.activations.latents import Latents
from pytest_sae.audit import scr_variants, tpp_variants
from pytest_sae.data.tasks import Tasks
from pytest_sae.measure import concepts, erasure, frontier, probing, reconstruction, structure
from pytest_sae.numbers.estimate import Estimate

#: Latents, tasks, seed and probe fits to a family's estimates.
Measure = Callable[[Latents, Tasks, int, int], Sequence[Estimate]]


#: SCR and TPP tasks of a book on which the erasure frontier is measured: it refits probes after
#: every ablation, and takes longer than all other families together.
ERASED = (2, 2)


def _core(latents: Latents, tasks: Tasks, seed: int, fits: int) -> Sequence[Estimate]:
    assert tasks.corpus is not None  # every book has one
    return reconstruction.measure(latents, tasks.corpus, seed)


def _erasure(latents: Latents, tasks: Tasks, seed: int, fits: int) -> Sequence[Estimate]:
    # A world has no model whose output could be compared, so no text is spliced.
    pairs, multis = ERASED
    few = replace(tasks, scr=tasks.scr[:pairs], tpp=tasks.tpp[:multis])
    return frontier.measure(latents, few, seed, fits, 0)


def _sparse_probing(latents: Latents, tasks: Tasks, seed: int, fits: int) -> Sequence[Estimate]:
    return probing.measure(latents, tasks, seed)


def _structure(latents: Latents, tasks: Tasks, seed: int, fits: int) -> Sequence[Estimate]:
    assert tasks.corpus is not None
    return structure.measure(latents, tasks.corpus.texts, seed, None)


AUDITED: dict[str, Measure] = {
    "core": _core,
    "scr": erasure.measure_scr,
    "tpp": erasure.measure_tpp,
    "erasure": _erasure,
    "sparse_probing": _sparse_probing,
    "structure": _structure,
    "concepts": concepts.measure,
    "scr_variants": scr_variants.measure,
    "tpp_variants": tpp_variants.measure,
}


def settings(estimate: Estimate) -> Iterator[tuple[str, float | None]]:
    """Give (setting, value) of an estimate, at every n where it is a curve over n.

    A setting reads `direction=spurious,n=20`; a metric without parameters has the setting ``.
    """
    curve: Any = estimate.details.get("curve")
    if not isinstance(curve, dict) or "n" not in estimate.params:
        yield _setting(dict(estimate.params)), estimate.value
        return
    for n, at in curve.items():
        yield _setting({**estimate.params, "n": int(n)}), at["value"]


def _setting(params: dict[str, Any]) -> str:
    return ",".join(f"{name}={params[name]}" for name in sorted(params))
