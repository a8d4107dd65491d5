"""The sizes of a run: how many texts, tokens and probe fits each suite spends."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sae.data.tasks import Sizes


@dataclass(frozen=True)
class Suite:
    """What a run spends; part of every fingerprint, so that suites are never compared.

    Args:
        name: as `--sae-suite` spells it.
        context: most tokens of a text, special tokens included.
        sizes: how many texts are taken of each part of the data.
        probe_fits: fits over which the default SCR and TPP average.
        explained: latents that are explained and scored (autointerp).
        steered: those of them whose effect on the model is explained too.
    """

    name: str
    context: int
    sizes: Sizes
    probe_fits: int
    explained: int
    steered: int


SUITES = {
    suite.name: suite
    for suite in (
        Suite("smoke", 128, Sizes(200, 50, 25, 50, 25), probe_fits=2, explained=20, steered=10),
        Suite(
            "standard",
            128,
            Sizes(1000, 1000, 250, 1000, 250),
            probe_fits=5,
            explained=100,
            steered=30,
        ),
        # Published: 4000 train and 1000 test texts a task, a quarter of them in each SCR cell and
        # half of them positive in each TPP probe (arXiv 2411.18895).
        Suite(
            "paper",
            128,
            Sizes(None, 1000, 250, 2000, 500),
            probe_fits=5,
            explained=1000,
            steered=100,
        ),
    )
}
