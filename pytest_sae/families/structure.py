"""Description length, shared structure and independence of latents."""

from __future__ import annotations

from pytest_sae.families.card import (
    AT_MOST_ONE,
    POSITIVE,
    SHARE,
    SIGNED,
    Card,
    grid,
    higher,
    lower,
    neither,
)

AT_EACH_ERROR = grid(error=(0.2, 0.1, 0.05))

CARD = Card(
    name="structure",
    title="Structure of the dictionary (structure)",
    measure="pytest_sae.measure.structure:measure",
    metrics=(
        higher("live_share", "share of latents that fire on the stream at all", SHARE),
        lower("mdl", "bits to send latents and what they leave", POSITIVE, "bits per token",
            settings=AT_EACH_ERROR, headline=True),
        neither("mdl.latents", "of those, the latents' entropies", POSITIVE, "bits per token",
            settings=AT_EACH_ERROR),
        neither("mdl.residual", "of those, what the latents leave", POSITIVE, "bits per token",
            settings=AT_EACH_ERROR),
        lower("meta_structure",
            "decoder rows' variance that a quarter as many meta-latents explain, four at a time",
            AT_MOST_ONE),
        lower("coherence", "largest cosine between decoder rows of live latents", SHARE),
        lower("duplicate_share", "share of live latents with a near-parallel other", SHARE),
        lower("coactivation", "mean largest correlation with another's firing", SIGNED),
        higher("seed_agreement", "mean cosine of rows paired with another seed's", SIGNED),
    ),
    uses=frozenset({"twin"}),
    audited=True,
)  # fmt: skip
