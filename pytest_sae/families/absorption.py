"""Feature absorption of first letters (Chanin et al. 2024, arXiv 2409.14507)."""

from __future__ import annotations

from pytest_sae.families.card import FROM_ONE, SHARE, Card, lower, neither, per_suite

CARD = Card(
    name="absorption",
    title="Feature absorption (absorption), lower is better",
    measure="pytest_sae.measure.absorption:measure",
    metrics=(
        lower("absorption",
            "share of a word's first letter that latents of the word carry in the letter's place",
            SHARE),
        lower("absorption.full", "share of words whose letter is wholly absorbed", SHARE),
        lower("absorption.canonical", "absorption as published by SAEBench", SHARE, headline=True),

        lower("absorption.canonical.full", "full absorption as published", SHARE),
        neither("absorption.split_latents", "latents that stand for one letter", FROM_ONE,
            "latents"),
    ),
    sizes=per_suite(words=(2000, 5000, None)),
)  # fmt: skip
