"""How few latents carry what a probe reads."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, SIGNED, Card, higher, per_suite

CARD = Card(
    name="concepts",
    title="Concepts in few latents (concepts)",
    measure="pytest_sae.measure.concepts:measure",
    metrics=(
        higher("concept_deletion",
            "belief in a concept lost by removing its latents, beyond random ones", SIGNED,
            "probability"),
        higher("concept_insertion",
            "belief in a concept won by adding its latents, beyond random ones", SIGNED,
            "probability"),
        higher("concept_fidelity",
            "correlation of latents' importance with the belief that is lost without them", SIGNED),
        higher("concept_stability",
            "share of a concept's 20 most important latents that other texts find too", SHARE),
        higher("preference_auc_kept",
            "share of a preference model's AUC that sparse latent differences keep"),
    ),
    on_tasks=True,
    sizes=per_suite(fits=(2, 5, 5)),
    audited=True,
)  # fmt: skip
