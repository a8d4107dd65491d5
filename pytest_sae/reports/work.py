"""What a run cost, one line for each worker; and whether anything was done twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_sae.numbers.plain import as_number
from pytest_sae.records.report import Report

_STAGES = 6  # that took longest
_RUNS = (
    ("model", "model_passes", "model_tokens", "model_repeats", "run"),
    ("SAEs", "encode_passes", "encoded_tokens", "encoded_repeats", "encoded"),
)


def work_lines(report: Report) -> list[str]:
    """Return passes, tokens, texts that were repeated, bytes and seconds of every worker."""
    return [
        f"work of {worker}: {_told(work)}"
        for worker, work in report.work.items()
        if isinstance(work, Mapping) and "model_passes" in work
    ]


def _told(work: Mapping[str, Any]) -> str:
    runs = [
        f"{who} {_count(work, passes)} passes over {_count(work, tokens)} tokens "
        f"({_count(work, repeats)} texts {done} again)"
        for who, passes, tokens, repeats, done in _RUNS
    ]
    spliced = _numbers(work.get("upper_passes"))
    runs += [f"{count:,.0f} partial passes to {stage}" for stage, count in spliced.items()]
    sizes = [
        f"{(as_number(work.get(name)) or 0) / 1e6:,.1f} MB {what}"
        for name, what in (("bytes_written", "cached"), ("bytes_kept", "of latents kept"))
    ]
    seconds = sorted(_numbers(work.get("seconds")).items(), key=lambda each: -each[1])
    spent = [f"{stage} {value:.1f} s" for stage, value in seconds[:_STAGES]]
    return "; ".join(part for part in (", ".join(runs), ", ".join(sizes), ", ".join(spent)) if part)


def _count(work: Mapping[str, Any], name: str) -> str:
    return f"{as_number(work.get(name)) or 0:,.0f}"


def _numbers(told: object) -> dict[str, float]:
    if not isinstance(told, Mapping):
        return {}
    return {str(name): as_number(value) or 0.0 for name, value in told.items()}
