"""Spurious correlation removal (Karvonen et al. 2024, arXiv 2411.18895)."""

from __future__ import annotations

from pytest_sae.families.card import Card, grid, higher, per_suite
from pytest_sae.families.expected import DRAWS, ERASED, WORSE

CARD = Card(
    name="scr",
    title="Spurious correlation removal (scr)",
    measure="pytest_sae.measure.scr_and_tpp:measure_scr",
    metrics=(
        higher("scr", "accuracy won back by removing a spurious concept, over tasks",
            settings=grid(n=20, direction=("spurious", "intended")), controls=ERASED),
        higher("scr.margin",
            "correlation of logit and label won back by removing a spurious concept",
            settings=grid(n=(20, "few"), direction=("spurious", "intended")), controls=ERASED),
        higher("scr.canonical", "SCR as published (arXiv 2411.18895)", settings=grid(n=20),
            controls=ERASED, headline=True),
    ),
    code="3",
    on_tasks=True,
    tables=("scr", ),
    sizes=per_suite(fits=(2, 5, 5)),
    cheap_controls=(*WORSE, "shuffled_labels"),
    more_controls=("random_tied", "word_deletion"),
    control_draws=DRAWS,
    word_deletion="pytest_sae.measure.word_deletion:of_scr",
    audited=True,
)  # fmt: skip
