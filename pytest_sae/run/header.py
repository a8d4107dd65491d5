"""The lines that a run begins with, if it evaluates SAEs."""

from __future__ import annotations

from pathlib import Path

from pytest_sae import __version__
from pytest_sae.errors import PytestSAEError
from pytest_sae.option_values import RULES
from pytest_sae.options import Options, ci_service
from pytest_sae.run.run import Run, shown_path

_MOST_SHOWN = 8


def header(run: Run) -> list[str]:
    """Return version, SAEs, suite, bounds and cache; nothing where no SAE test is in sight."""
    if not run.expects_sae_tests():
        return []
    options = run.options
    lines = [
        f"pytest-sae: {__version__}, suite {options.suite}, {_thresholds(run)}",
        f"SAEs: {_saes(run)}",
        f"activations: {_activations(run)}; "
        f"reports: {shown_path(run.config, Path(options.report))}",
    ]
    if options.judge not in (None, RULES):
        lines.append(f"judge: {_judge(options)}")
    if options.ci:
        why = ci_service()
        lines.append(
            f"CI: {f'recognised by {why}' if why else 'asked for'}; --no-sae-ci for a desk"
        )
    replay = run.config.pluginmanager.get_plugin("sae-replay")
    if replay is not None:
        journal = shown_path(run.config, replay.journal)
        lines.append(f"resumed: {replay.tests} tests are taken from {journal}")
    if run.baseline is not None:
        lines.append(f"baseline: {_baseline(run)}")
    return lines if run.config.getoption("verbose") >= 0 else lines[:2]


def _judge(options: Options) -> str:
    from pytest_sae.judge.settings import parse_time_limits
    from pytest_sae.judge.time_limit import told

    limits, budget = parse_time_limits(options.judge_timeout), options.judge_budget or "no limit"
    if options.judge_mode == "replay":
        return f"{options.judge}, as recorded"
    return (
        f"{options.judge}, waited for {told(limits.question)} an answer and {told(limits.run)} in "
        f"all (--sae-judge-timeout), budget {budget}"
    )


def _activations(run: Run) -> str:
    if run.options.activations:
        return f"recorded in {shown_path(run.config, Path(run.options.activations))}, no model"
    return run.options.cache or "not cached"


def _saes(run: Run) -> str:
    try:
        ids = [spec.id for spec in run.specs]
    except PytestSAEError as error:
        return str(error)
    more = f" and {len(ids) - _MOST_SHOWN} more" if len(ids) > _MOST_SHOWN else ""
    bundled = "" if run.options.sae else " (the bundled one, for --sae was not given)"
    shard = f" (shard {run.options.shard} of {len(run.all_specs)})" if run.options.shard else ""
    return ", ".join(ids[:_MOST_SHOWN]) + more + bundled + shard


def _baseline(run: Run) -> str:
    assert run.baseline is not None
    count = len(run.baseline.entries)
    what = {"all": ", to be written anew", "new": ", to be added to"}.get(run.options.update or "")
    return f"{run.baseline.source} ({count} value{'s' * (count != 1)}){what or ''}"


def _thresholds(run: Run) -> str:
    if not run.options.gate:
        return "not gated (--sae-no-gate)"
    found = run.foreseen_thresholds()
    told = ", ".join(f"{each.file} ({each.sha256[:8]})" for each in found)
    return f"thresholds {told or 'beside the tests'}"
