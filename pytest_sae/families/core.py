"""Reconstruction, sparsity, and the model with reconstructions in place."""

from __future__ import annotations

from pytest_sae.families.card import (
    AT_MOST_ONE,
    POSITIVE,
    SHARE,
    SIGNED,
    Card,
    higher,
    lower,
    neither,
    under,
)
from pytest_sae.families.expected import CODES, DECODED, WORSE

CARD = Card(
    name="core",
    title="Reconstruction and sparsity",
    measure="pytest_sae.measure.core:measure",
    metrics=(
        *under(
            "Reconstruction and sparsity",
            higher("explained_variance",
                "share of the activations' variance that the reconstruction explains", AT_MOST_ONE,
                controls=DECODED, headline=True),
            lower("mse", "mean squared error per token", POSITIVE, "squared activation",
                controls=DECODED),
            higher("cosine", "mean cosine between activation and reconstruction", SIGNED,
                controls=DECODED),
            neither("l2_ratio", "mean norm of the reconstruction over that of the input",
                POSITIVE),
            neither("relative_bias", "sum of squared norms over sum of inner products"),
            neither("l0", "mean number of active latents", POSITIVE, "latents per token",
                controls=CODES, headline=True),
            neither("l1", "mean sum of absolute latents", POSITIVE, "activation", controls=CODES),
            lower("dead_share", "share of latents that never fire on the stream", SHARE,
                controls=CODES, headline=True),
            lower("dense_share_10pct", "share of latents on more than 10 % of the tokens", SHARE,
                controls=CODES),
            lower("dense_share_1pct", "share of latents on more than 1 % of the tokens", SHARE,
                controls=CODES),
        ),
        *under(
            "Behaviour of the model",
            higher("ce_recovered", "share of the mean-ablation's damage that is undone",
                controls=DECODED, headline=True),
            higher("ce_recovered.zero", "share of the zero-ablation's damage undone",
                controls=DECODED),
            lower("kl", "KL of the model's output, clean to spliced", POSITIVE, "nats per token",
                controls=DECODED),
            lower("ce_spliced", "cross-entropy with reconstructions in place", POSITIVE,
                "nats per token", controls=DECODED),
            neither("ce_clean", "the model's own cross-entropy", POSITIVE, "nats per token"),
            neither("ce_mean_ablated", "cross-entropy, site at its mean", POSITIVE,
                "nats per token"),
            neither("ce_zero_ablated", "cross-entropy, site at zero", POSITIVE, "nats per token"),
        ),
        *under(
            "Weights",
            neither("decoder_norm", "mean norm of the decoder rows", POSITIVE, "activation"),
            neither("encoder_decoder_cosine", "mean cosine of encoder and decoder rows", SIGNED),
            lower("max_decoder_cosine", "mean largest cosine with another decoder row", SIGNED),
            lower("max_encoder_cosine", "mean largest cosine with another encoder row", SIGNED),
        ),
    ),
    random=False,
    cheap_controls=(*WORSE, "best_k", "pca"),
    more_controls=("random_tied", "identity"),
    control_texts="corpus",
    audited=True,
)  # fmt: skip
