"""Exchanging latents between entities, after RAVEL (Huang et al. 2024, arXiv 2402.17700)."""

from __future__ import annotations

from pytest_sae.families.card import AT_MOST_ONE, SHARE, Card, higher, per_suite

CARD = Card(
    name="ravel",
    title="Disentangling attributes of entities (ravel)",
    measure="pytest_sae.measure.ravel:measure",
    metrics=(
        higher("ravel", "does a mask of latents move one attribute of an entity", AT_MOST_ONE,
            headline=True),
        higher("ravel.disentangle", "mean of cause and isolation accuracy", SHARE, "accuracy"),
        higher("ravel.cause", "answers that follow the exchanged attribute", SHARE, "accuracy"),
        higher("ravel.isolation", "answers on other attributes that stay", SHARE, "accuracy"),
    ),
    on_tasks=True,
    tables=("ravel", ),
    predicts=True,
    alone=True,
    sizes=per_suite(entities=(30, 50, 500), templates=(2, 4, 10), train_pairs=(100, 400, 3500),
        test_pairs=(60, 150, 1500), steps=(20, 60, 600), masks=(2, 3, 3)),
    code="2",
)  # fmt: skip
