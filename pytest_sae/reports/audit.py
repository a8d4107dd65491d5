"""The audit as tables, drawn from report.json alone.

audit_line(audit) -> str                        # for the terminal
headline_rows(audit), rows_of(metrics)          # cells of the tables, the header first
markdown_audit(audit) -> str                    # for report.md and docs/audit.md
html_audit(audit) -> str                        # for report.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from pytest_sae.families.registry import known
from pytest_sae.records.audit import Audit, AuditMetric
from pytest_sae.reports.pages import rendered

Cells = tuple[str, ...]

HEADER: Cells = (
    "metric", "noise (CV)", "noise / spread", "rank with truth: task", "interval",
    "all features", "training", "detects", "agrees with other n, k", "oracle first",
    "controls last", "misses",
)  # fmt: skip

#: Latents that are ablated, and those of a sparse probe: what the shipped thresholds speak of.
HEADLINE_N, HEADLINE_K = 20, 16

KEY = (
    "Noise: variation over reseeds of texts and probes, over the mean and over the spread between "
    "dictionaries. Rank with truth: Spearman's correlation with the recovery (F1 times matched "
    "cosine) of the features that the tasks are about, and of all features. Training: share of "
    "adjacent checkpoints in order. Detects: smallest difference in recovery that is told with "
    "95 % power. Oracle first, controls last: share of worlds."
)


def audit_line(audit: Audit) -> str:
    """Return in one line how many metrics reach every goal, and which."""
    shown = [each for each in _headlines(audit) if each.metric in known()]
    good = [_name(each) for each in shown if not each.misses]
    which = f": {', '.join(good)}" if good else ""
    worlds = len(audit.worlds)
    return (
        f"audit ({audit.size}, {worlds} world{'s' * (worlds != 1)}): "
        f"{len(good)} of {len(shown)} metrics reach every goal{which}"
    )


def headline_rows(audit: Audit) -> list[Cells]:
    """Return a line for each metric of the suite at its headline setting, the header first."""
    return rows_of(each for each in _headlines(audit) if each.metric in known())


def rows_of(metrics: Iterable[AuditMetric]) -> list[Cells]:
    """Return a line for each metric and setting, the header first."""
    return [HEADER, *map(_cells, metrics)]


def markdown_audit(audit: Audit) -> str:
    """Return the headline table and its key as Markdown."""
    return f"{KEY}\n\n{markdown_table(headline_rows(audit))}"


def markdown_table(rows: Sequence[Cells]) -> str:
    """Return rows, the header first, as a Markdown table."""
    header, *rest = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([header, "|---" * len(rows[0]) + "|", *rest])


def html_audit(audit: Audit | None) -> Markup:
    """Return the section of report.html, empty without an audit."""
    if audit is None:
        return Markup()
    header, *rows = headline_rows(audit)
    return rendered("audit.html", key=KEY, line=audit_line(audit), header=header, rows=rows)


def _headlines(audit: Audit) -> list[AuditMetric]:
    """Every metric at its headline setting: at its largest k where it has none of that size."""
    largest: dict[str, int] = {}
    for each in audit.metrics:
        k = int(_parts(each).get("k", 0))
        if k <= HEADLINE_K:
            largest[each.metric] = max(k, largest.get(each.metric, 0))
    return [
        each
        for each in audit.metrics
        if _parts(each).get("n") in (None, str(HEADLINE_N), "few")
        and _parts(each).get("k") in (None, str(largest.get(each.metric)))
    ]


def _parts(metric: AuditMetric) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in metric.setting.split(","))


def _name(metric: AuditMetric) -> str:
    return f"{metric.metric}:{metric.setting}" if metric.setting else metric.metric


def _cells(metric: AuditMetric) -> Cells:
    task = metric.task
    return (
        _name(metric),
        _share(metric.cv, 1),
        _number(metric.noise),
        _number(task.value),
        "-" if task.low is None else f"{task.low:.2f} to {task.high:.2f}",
        _number(metric.everything.value),
        _share(metric.ordered),
        "-" if metric.cv is None else _number(metric.detects, "never"),
        _number(metric.consistency),
        _share(metric.oracle_first),
        _share(metric.controls_last),
        ", ".join(metric.misses) or "nothing",
    )


def _number(value: float | None, without: str = "-") -> str:
    return without if value is None else f"{value:.2f}"


def _share(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"
