"""What few latents take away of a concept for good, less what else goes with them."""

from __future__ import annotations

from pytest_sae.families.card import Card, higher, per_suite
from pytest_sae.families.expected import WORSE

CARD = Card(
    name="removal",
    title="Concepts removed by few latents (removal)",
    measure="pytest_sae.measure.removal:measure",
    metrics=(
        higher("removal",
            "share of a concept that a new probe no longer finds, less what others lose",
            settings=({}, {"tasks": "scr"}, {"tasks": "tpp"}),
            controls={"random": "below", "permuted_decoder": "below", "random_tied": "below",
            "pca": "reference", "identity": "below"}, headline=True),
    ),
    code="2",
    on_tasks=True,
    tables=("scr", "tpp"),
    sizes=per_suite(fits=(2, 5, 5)),
    more_controls=(*WORSE, "random_tied", "pca", "identity"),
    audited=True,
    audited_tasks=2,
)  # fmt: skip
