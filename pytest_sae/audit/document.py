"""docs/audit.md, drawn from the audit of a report.json.

document(audit, kept="") -> str          handwritten(text) -> str

What stands below the mark BY_HAND in an older document is somebody's reading of the figures, and
is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_sae.audit.questions import LEAST_ORDERED, LEAST_RANK, MOST_CV
from pytest_sae.families.registry import known
from pytest_sae.records.audit import Audit, AuditWorld
from pytest_sae.reports.audit import KEY, Cells, audit_line, headline_rows, markdown_table, rows_of

BY_HAND = "<!-- Written by hand; kept when the document is drawn again. -->"

_GOALS = (
    f"Goals of a metric that gates by default: noise at most {MOST_CV:.0%}, rank correlation with "
    f"truth at least {LEAST_RANK}, the oracle first and controls last in every world, at least "
    f"{LEAST_ORDERED:.0%} of adjacent checkpoints in order. A metric that misses one is named with "
    "what it misses. `scr.canonical` and `tpp.canonical` are the published definitions, on the "
    "same texts as ours."
)
_PANEL = (
    "Recovery is the mean over true features of F1 times cosine of the latent that is assigned to "
    "it (optimal assignment, features without a latent count 0), of all features and of those that "
    "the tasks are about."
)
_MADE = "pytest evals/test_audit.py --sae-audit && pytest-sae audit sae-report/report.json"


def document(audit: Audit, kept: str = "") -> str:
    """Return the document.

    Args:
        audit: of a report.json.
        kept: what somebody wrote by hand, from `handwritten`.
    """
    parts = [
        "# Which metrics can be believed",
        f"{audit_line(audit).capitalize()}. To make it again: `{_MADE}`.",
        _GOALS,
        KEY,
        markdown_table(headline_rows(audit)),
        *_curves(audit),
        *_variants(audit),
        *_panels(audit.worlds),
        BY_HAND,
        kept,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def handwritten(text: str) -> str:
    """Return what stands below the mark in a document, empty where there is none."""
    return text.partition(BY_HAND)[2].strip()


def _curves(audit: Audit) -> Iterable[str]:
    """Every setting of the metrics that have several."""
    names = [each.metric for each in audit.metrics]
    several = [
        each
        for each in audit.metrics
        if each.metric in known()
        and {"n", "k"} & {part.partition("=")[0] for part in each.setting.split(",")}
        and names.count(each.metric) > 1
    ]
    if several:
        yield "## At every number of latents"
        yield markdown_table(rows_of(several))


def _variants(audit: Audit) -> Iterable[str]:
    found = [each for each in audit.metrics if each.metric not in known()]
    if found:
        yield "## One part of a definition changed at a time"
        yield markdown_table(rows_of(found))


def _panels(worlds: Sequence[AuditWorld]) -> Iterable[str]:
    yield "## The panels"
    yield _PANEL
    for world in worlds:
        header: Cells = ("dictionary", "kind", "recovery: task", "all", "F1: all", "cosine: all")
        rows = [
            (
                each.member,
                each.kind,
                f"{each.task.both:.3f}",
                f"{each.everything.both:.3f}",
                f"{each.everything.f1:.3f}",
                f"{each.everything.cosine:.3f}",
            )
            for each in world.panel
        ]
        told = f"World `{world.world}`; noise from {world.seeds} reseeds."
        table = markdown_table([header, *rows])
        yield f"<details><summary>{told}</summary>\n\n{table}\n\n</details>"
