"""Latents beside a supervised dictionary (Makelov et al. 2024, arXiv 2405.08366)."""

from __future__ import annotations

from pytest_sae.families.card import (
    AT_MOST_ONE,
    FROM_ONE,
    SHARE,
    Card,
    grid,
    higher,
    lower,
    per_suite,
)

CARD = Card(
    name="principled",
    title="Against a supervised dictionary (principled)",
    measure="pytest_sae.measure.principled:measure",
    metrics=(
        higher("principled.sufficiency",
            "share of the logit difference with the reconstruction in place"),
        higher("principled.necessity",
            "share of the logit difference lost without the reconstruction"),
        higher("principled.control",
            "share of an attribute's edit that exchanging k latents achieves", AT_MOST_ONE,
            settings=grid(k=2), headline=True),
        lower("principled.removed", "share of the reconstruction that such an edit takes away",
            settings=grid(k=2)),
        higher("principled.f1", "F1 of the best latent for an attribute's value", SHARE, "F1"),
        lower("principled.occlusion", "share of the values that matter which no latent stands for",
            SHARE),
        lower("principled.splitting", "latents that an attribute's value is spread over", FROM_ONE,
            "latents"),
    ),
    code="2",
    on_tasks=True,
    tables=("principled", ),
    predicts=True,
    alone=True,
    sizes=per_suite(groups=(20, 40, 500), edits=(30, 100, 500)),
)  # fmt: skip
