"""k-sparse probing of whole texts, after SAEBench, and transfer between data sets."""

from __future__ import annotations

from pytest_sae.families.card import POSITIVE, SHARE, SIGNED, Card, grid, higher, neither
from pytest_sae.families.expected import READ, WORSE

CARD = Card(
    name="sparse_probing",
    title="Sparse probing (sparse_probing)",
    measure="pytest_sae.measure.sparse_probing:measure",
    metrics=(
        higher("sparse_probing",
            "what a probe on the k most telling latents knows of a text's concepts", SHARE,
            "balanced accuracy", settings=grid(k=(1, 2, 5, 16)), controls=READ),
        higher("sparse_probing.auc",
            "AUC of a probe on the k most telling latents of a text", SHARE, "AUC",
            settings=grid(k=(1, 2, 5, 16)), controls=READ, headline=True),
        higher("sparse_probing.canonical",
            "a probe on the k most telling latents, as published by SAEBench", SHARE, "accuracy",
            settings=grid(k=(1, 2, 5)), controls=READ),
        neither("sparse_probing.neurons",
            "AUC of a probe on the k most telling neurons", SHARE, "AUC",
            settings=grid(k=(1, 5, 16)), controls=READ),
        higher("sparse_probing.gain", "AUC of k latents less that of k neurons", SIGNED, "AUC",
            settings=grid(k=(1, 5, 16)), controls={"random": "below", "permuted_decoder": "same"}),

        higher("sparse_probing.all_latents", "a probe on all latents", SHARE, "AUC",
            controls=READ),
        neither("sparse_probing.activations", "a probe on all raw activations", SHARE, "AUC",
            controls=READ),
        higher("sparse_probing.retention",
            "accuracy of k latents over that of all activations, area over log k from 1 to 50",
            POSITIVE, controls=READ),
        higher("sparse_probing.transfer",
            "a probe on 16 latents, learned on one data set and read on another", SHARE, "AUC",
            settings=(*grid(pooling=("mean", "max", "sum", "last"), binarised=False),
            *grid(pooling=("max", "last"), binarised=True)), controls=READ),
    ),
    on_tasks=True,
    more_controls=WORSE,
    audited=True,
)  # fmt: skip
