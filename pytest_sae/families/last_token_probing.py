"""k-sparse probing at the last token (Kantamneni et al. 2025, arXiv 2502.16681)."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, Card, grid, higher, neither, per_suite
from pytest_sae.families.expected import READ

AT_EACH_K = grid(k=(1, 2, 5, 10, 16))

CARD = Card(
    name="last_token_probing",
    title="Sparse probing (sparse_probing)",
    measure="pytest_sae.measure.last_token_probing:measure",
    metrics=(
        higher("sparse_probing.last_token.auc",
            "a probe on the last token's k most telling latents, over 113 data sets", SHARE, "AUC",
            settings=AT_EACH_K, controls=READ, headline=True),
        higher("sparse_probing.last_token.accuracy",
            "accuracy of a probe on the last token's k most telling latents", SHARE, "accuracy",
            settings=AT_EACH_K, controls=READ),
        higher("sparse_probing.last_token.f1",
            "F1 of a probe on the last token's k most telling latents", SHARE, "F1",
            settings=AT_EACH_K, controls=READ),
        neither("sparse_probing.last_token.activations.auc",
            "a probe on all raw activations of the last token, over the same data sets", SHARE,
            "AUC", controls=READ),
        neither("sparse_probing.last_token.activations.accuracy",
            "a probe on all raw activations of the last token, over the same data sets", SHARE,
            "accuracy", controls=READ),
        neither("sparse_probing.last_token.activations.f1",
            "a probe on all raw activations of the last token, over the same data sets", SHARE,
            "F1", controls=READ),
        higher("sparse_probing.last_token.canonical.auc",
            "a probe on the last token as published by sae-probes (arXiv 2502.16681)", SHARE, "AUC",
            settings=AT_EACH_K, controls=READ),
        higher("sparse_probing.last_token.canonical.accuracy",
            "a probe on the last token as published by sae-probes (arXiv 2502.16681)",
            SHARE, "accuracy",
            settings=AT_EACH_K, controls=READ),
        higher("sparse_probing.last_token.canonical.f1",
            "a probe on the last token as published by sae-probes (arXiv 2502.16681)", SHARE, "F1",
            settings=AT_EACH_K, controls=READ),
    ),
    sizes=per_suite(rows=(0, 200, None)),
)  # fmt: skip
