"""The sizes of a run: how many texts each suite takes; what families spend is on their cards."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sae.data.attributes import PrincipledSizes
from pytest_sae.data.entities import RavelSizes
from pytest_sae.data.senses import SensesSizes
from pytest_sae.data.tasks import Sizes
from pytest_sae.data.unlearning import UnlearningSizes
from pytest_sae.families import principled, ravel, senses, unlearning
from pytest_sae.families.card import Card


@dataclass(frozen=True)
class Suite:
    """What a run spends; part of every fingerprint, so that suites are never compared.

    Args:
        name: as `--sae-suite` spells it.
        context: most tokens of a text, special tokens included.
        sizes: how many texts are taken of each part of the data.
        controls: which controls are measured, as `--sae-controls` spells it.
    """

    name: str
    context: int
    sizes: Sizes
    controls: str = "cheap"


_Most = int | None


def _suite(
    name: str, texts: tuple[_Most, _Most, _Most, _Most, _Most], controls: str = "cheap"
) -> Suite:
    sizes = Sizes(
        *texts,
        ravel=RavelSizes(**_counts(ravel.CARD, name)),
        principled=PrincipledSizes(**_counts(principled.CARD, name)),
        unlearning=UnlearningSizes(**_counts(unlearning.CARD, name)),
        senses=SensesSizes(**_counts(senses.CARD, name)),
    )
    return Suite(name, 128, sizes, controls)


def _counts(card: Card, suite: str) -> dict[str, int]:
    return {name: size for name, size in card.sizes[suite].items() if size is not None}


SUITES = {
    suite.name: suite
    for suite in (
        _suite("smoke", (200, 50, 25, 50, 25), controls="off"),
        _suite("standard", (1000, 1000, 250, 1000, 250)),
        # Published: 4000 train and 1000 test texts a task, a quarter of them in each SCR cell and
        # half of them positive in each TPP probe (arXiv 2411.18895).
        _suite("paper", (None, 1000, 250, 2000, 500)),
    )
}
