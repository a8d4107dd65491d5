"""A report as OpenMetrics text, which GitLab shows beside that of the target branch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.standing import standings

_HELP = {
    "sae_value": "value of a metric",
    "sae_standard_error": "standard error of that value",
    "sae_red": "values of an SAE that fail the gate",
    "sae_pass": "1 where an SAE passes the gate, 0 where it does not",
}


def openmetrics(report: Report) -> str:
    """Return the values of a report, one line each, by SAE, metric and setting.

    Args:
        report: as in report.json; a value that was measured twice is there once.
    """
    samples = dict(_samples(report))
    lines = [
        line
        for name, told in _HELP.items()
        for line in (
            f"# TYPE {name} gauge",
            f"# HELP {name} {told}",
            *(f"{own} {value!r}" for own, value in samples.items() if own.startswith(f"{name}{{")),
        )
    ]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _samples(report: Report) -> Iterable[tuple[str, float]]:
    for row in report.measurements:
        if row.value is not None:
            yield _sample("sae_value", _labels(row)), row.value
        if row.value is not None and row.se is not None:
            yield _sample("sae_standard_error", _labels(row)), row.se
    for each in standings(report):
        yield _sample("sae_red", {"sae": each.sae}), len(each.red)
        if each.verdict != "ungated":
            yield _sample("sae_pass", {"sae": each.sae}), int(each.verdict == "pass")


def _labels(row: Row) -> dict[str, str]:
    # No verdict: with it GitLab would take a value that fails now for another one.
    settings = ",".join(f"{name}={value}" for name, value in sorted(row.params.items()))
    return {"sae": row.sae, "metric": row.metric, **({"settings": settings} if settings else {})}


def _sample(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{told}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
