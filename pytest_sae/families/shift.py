"""SHIFT: latents that a judge finds to be about the spurious concept are ablated."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, SIGNED, Card, grid, higher, lower, neither, per_suite
from pytest_sae.families.expected import ERASED, WORSE

CARD = Card(
    name="shift",
    title="SHIFT with a judge (shift)",
    measure="pytest_sae.measure.shift:measure",
    metrics=(
        higher("shift", "SHIFT: accuracy won back by ablating what a judge picked",
            settings=grid(n=20), controls=ERASED),
        higher("shift.margin",
            "SHIFT: correlation of logit and label won back by ablating what a judge picked",
            settings=grid(n=20), controls=ERASED, headline=True),
        higher("shift.worst_cell", "SHIFT: what the worst cell's accuracy gains", SIGNED,
            "accuracy", settings=grid(n=20), controls=ERASED),
        higher("shift.worst_cell.recentred",
            "SHIFT: what the worst cell gains, the probe's threshold at its unlabelled texts' mean",
            SIGNED, "accuracy", settings=grid(n=20), controls=ERASED),
        higher("shift.worst_cell.refit",
            "SHIFT: what the worst cell gains, the probe fitted again after ablation",
            SIGNED, "accuracy", settings=grid(n=20), controls=ERASED),
        neither("shift.agreement", "rank correlation of the judge's ratings and effects", SIGNED),
        neither("shift.accepted", "share of candidate latents that the judge accepted", SHARE),
        lower("shift.abstained", "share of candidate latents without an answer", SHARE),
    ),
    code="2",
    on_tasks=True,
    tables=("scr", ),
    uses=frozenset({"judge"}),
    shown=True,
    sizes=per_suite(fits=(2, 5, 5)),
    cheap_controls=("word_deletion", ),
    more_controls=(*WORSE, "shuffled_labels"),
    word_deletion="pytest_sae.measure.word_deletion:of_shift",
)  # fmt: skip
