"""Forgetting one subject and keeping another by clamping latents (arXiv 2410.19278)."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, Card, higher, per_suite

CARD = Card(
    name="unlearning",
    title="Unlearning (unlearning)",
    measure="pytest_sae.measure.unlearning:measure",
    metrics=(
        higher("unlearning", "answers forgotten where what is to stay stays, by clamping latents",
            SHARE, headline=True),
        higher("unlearning.retain", "answers that stay where others are forgotten", SHARE,
            "accuracy"),
    ),
    on_tasks=True,
    tables=("unlearning", ),
    predicts=True,
    sizes=per_suite(texts=(40, 150, 1024), questions=(16, 48, 500), orders=(1, 2, 4)),
)  # fmt: skip
