"""The erasure frontier: how surgically concepts go, between random latents and LEACE."""

from __future__ import annotations

from pytest_sae.families.card import Card, higher, per_suite
from pytest_sae.families.expected import WORSE

CARD = Card(
    name="erasure",
    title="Erasure frontier (erasure)",
    measure="pytest_sae.measure.frontier:measure",
    metrics=(
        higher("erasure",
            "how surgically concepts are erased: 0 as random latents do, 1 as LEACE does",
            settings=({}, {"tasks": "scr"}, {"tasks": "tpp"}), controls={"random": "below",
            "permuted_decoder": "below"}, headline=True),
    ),
    on_tasks=True,
    tables=("scr", "tpp"),
    sizes=per_suite(fits=(2, 5, 5), spliced=(16, 16, 16)),
    more_controls=WORSE,
    audited=True,
    audited_tasks=2,
)  # fmt: skip
