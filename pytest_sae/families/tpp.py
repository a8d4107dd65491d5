"""Targeted probe perturbation (Karvonen et al. 2024, arXiv 2411.18895)."""

from __future__ import annotations

from pytest_sae.families.card import SIGNED, Card, grid, higher, per_suite
from pytest_sae.families.expected import DRAWS, ERASED, WORSE

CARD = Card(
    name="tpp",
    title="Targeted probe perturbation (tpp)",
    measure="pytest_sae.measure.scr_and_tpp:measure_tpp",
    metrics=(
        higher("tpp", "targeted loss of one class's probe, over what can be lost",
            settings=grid(n=20), controls=ERASED),
        higher("tpp.margin",
            "targeted loss of one class's probe in margins, which no threshold moves",
            settings=grid(n=20), controls=ERASED),
        higher("tpp.rescaled",
            "targeted loss in margins by few latents, none written more strongly than fits",
            settings=grid(n="few"), controls=ERASED, headline=True),
        higher("tpp.canonical", "TPP as published (arXiv 2411.18895)", SIGNED, settings=grid(n=20),
            controls=ERASED, headline=True),
    ),
    code="3",
    on_tasks=True,
    tables=("tpp", ),
    sizes=per_suite(fits=(2, 5, 5)),
    cheap_controls=(*WORSE, "shuffled_labels"),
    more_controls=("random_tied", ),
    control_draws=DRAWS,
    audited=True,
)  # fmt: skip
