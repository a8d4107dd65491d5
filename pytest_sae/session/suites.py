"""The sizes of a run: how many texts, tokens and probe fits each suite spends."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sae.data.attributes import PrincipledSizes
from pytest_sae.data.entities import RavelSizes
from pytest_sae.data.questions import UnlearningSizes
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
        controls: which controls are measured, as `--sae-controls` spells it.
        last_token_rows: of each last-token data set, None for all, 0 for none.
        words: of the vocabulary that absorption is measured on, None for all.
        spliced: held-out texts that run on with a concept's latents ablated.
    """

    name: str
    context: int
    sizes: Sizes
    probe_fits: int
    explained: int
    steered: int
    controls: str = "cheap"
    last_token_rows: int | None = 0
    words: int | None = None
    spliced: int = 16


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "smoke",
            128,
            Sizes(
                200,
                50,
                25,
                50,
                25,
                RavelSizes(30, 2, 100, 60, steps=20),
                PrincipledSizes(groups=20, edits=30),
                UnlearningSizes(texts=40, questions=16, orders=1),
            ),
            probe_fits=2,
            explained=20,
            steered=10,
            controls="off",
            last_token_rows=0,
            words=2000,
        ),
        Suite(
            "standard",
            128,
            Sizes(1000, 1000, 250, 1000, 250),
            probe_fits=5,
            explained=100,
            steered=30,
            last_token_rows=200,
            words=5000,
        ),
        # Published: 4000 train and 1000 test texts a task, a quarter of them in each SCR cell and
        # half of them positive in each TPP probe (arXiv 2411.18895).
        Suite(
            "paper",
            128,
            Sizes(
                None,
                1000,
                250,
                2000,
                500,
                RavelSizes(500, 10, 3500, 1500, steps=600),
                PrincipledSizes(groups=500, edits=500),
                UnlearningSizes(texts=1024, questions=500, orders=4),
            ),
            probe_fits=5,
            explained=1000,
            steered=100,
            last_token_rows=None,
            words=None,
        ),
    )
}
