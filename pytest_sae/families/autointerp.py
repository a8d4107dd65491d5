"""Explanations of latents by a judge, and their scores (Paulo et al. 2024, arXiv 2410.13928)."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, Card, higher, lower, per_suite

CARD = Card(
    name="autointerp",
    title="Automatic interpretability (autointerp)",
    measure="pytest_sae.measure.autointerp:measure",
    metrics=(
        higher("autointerp.detection",
            "does the explanation tell in which contexts the latent fires", SHARE,
            "balanced accuracy", controls={"random": "below"}, headline=True),
        higher("autointerp.fuzzing", "does the explanation tell on which tokens the latent fires",
            SHARE, "balanced accuracy", controls={"random": "below"}),
        higher("autointerp.surprisal",
            "does the explanation make activating contexts less surprising", SHARE, "AUC",
            controls={"random": "below"}),
        higher("autointerp.embedding",
            "does the explanation's embedding retrieve activating contexts", SHARE, "AUC",
            controls={"random": "below"}),
        higher("autointerp.intervention",
            "does an explanation of the latent's effect single that effect out", SHARE, "accuracy",
            controls={"random": "below"}),
        lower("autointerp.failed", "share of latents that the judge left unanswered", SHARE),
    ),
    uses=frozenset({"judge", "scorer", "embedder"}),
    shown=True,
    sizes=per_suite(latents=(20, 100, 1000), intervened=(10, 30, 100)),
    more_controls=("random", ),
    control_texts="corpus",
)  # fmt: skip
