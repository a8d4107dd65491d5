"""Senses of a word in the strongest latent (PS-Eval, arXiv 2501.06254)."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, SIGNED, Card, higher, neither, per_suite

CARD = Card(
    name="senses",
    title="Senses of a word (senses)",
    measure="pytest_sae.measure.senses:measure",
    metrics=(
        higher("senses", "whether the strongest latent at a word agrees just where its sense does",
            SHARE, "balanced accuracy", headline=True),
        higher("senses.recall", "pairs of one sense with one strongest latent", SHARE),
        higher("senses.specificity", "pairs of two senses with two strongest latents", SHARE),
        higher("senses.precision", "pairs with one strongest latent that have one sense", SHARE),
        higher("senses.f1", "harmonic mean of precision and recall, as published", SHARE),
        higher("senses.accuracy", "pairs that are told right, as published", SHARE),
        neither("senses.activations", "the same told by the cosine of the activations", SHARE,
            "balanced accuracy"),
        higher("senses.gain", "the strongest latent's less the activations'", SIGNED),
    ),
    tables=("senses", ),
    on_tasks=True,
    more_controls=("random",),
    sizes=per_suite(pairs=(100, 400, None)),
)  # fmt: skip
