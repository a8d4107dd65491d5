"""A report's values in an experiment tracker: Weights & Biases, MLflow or trackio."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_sae.errors import OptionError
from pytest_sae.records.report import Report
from pytest_sae.records.schema import read_values
from pytest_sae.records.standing import standings


@dataclass(frozen=True)
class Logged:
    """What a tracker is told of a report.

    Args:
        project: of the tracker; an experiment of MLflow.
        run: name of the run there, None for one that the tracker makes up.
        step: of training, None where the run has none.
        values: by name: `topk/explained_variance`.
        told: what else there is to say: verdicts, suite, version.
    """

    project: str
    run: str | None
    step: int | None
    values: Mapping[str, float]
    told: Mapping[str, str]


def log(report: Path, tracker: str, project: str, run: str | None, step: int | None) -> str:
    """Write the values of a report as one run of a tracker, which says itself where it keeps it.

    Args:
        report: report.json.
        tracker: a key of `TRACKERS`.
        project: of the tracker.
        run: name of the run, None for the tracker's own choice.
        step: of training.

    Returns:
        How many values were logged, and where.

    Raises:
        OptionError: the tracker is not installed.
    """
    read = read_values(report)
    logged = Logged(project, run, step, values_of(read), told_of(read))
    try:
        TRACKERS[tracker](logged)
    except ModuleNotFoundError as error:
        raise OptionError(
            f"--to={tracker} needs {error.name}, which is not installed. Expected: pip install "
            f"'pytest-sae[{tracker}]'."
        ) from None
    return f"{len(logged.values)} values logged to {tracker}, project {project}\n"


def values_of(report: Report) -> dict[str, float]:
    """Return what is logged, by names of letters that every tracker takes.

    Args:
        report: as in report.json.
    """
    found: dict[str, float] = {}
    for row in report.measurements:
        if row.value is not None:
            found[_name(f"{row.sae}/{row.key}")] = row.value
        if row.value is not None and row.se is not None:
            # Not below the value: MLflow keeps each in a file of its name.
            found[f"{_name(f'{row.sae}/{row.key}')}.se"] = row.se
    return found | {_name(f"{each.sae}/red"): len(each.red) for each in standings(report)}


def told_of(report: Report) -> dict[str, str]:
    """Return what is no number: verdicts, suite and version.

    Args:
        report: as in report.json.
    """
    saes = {_name(f"{each.sae}/verdict"): each.verdict for each in standings(report)}
    suite = str(report.options.get("suite") or "")
    version = report.versions.get("pytest-sae", "")
    return {**saes, "verdict": report.verdict, "suite": suite, "pytest_sae": version}


def _name(text: str) -> str:
    return re.sub(r"[^\w./-]+", "_", text, flags=re.ASCII)


def _wandb(logged: Logged) -> None:
    import wandb

    run = wandb.init(project=logged.project, name=logged.run, config=dict(logged.told))
    run.log(dict(logged.values), step=logged.step)
    run.finish()


def _trackio(logged: Logged) -> None:
    import trackio

    trackio.init(project=logged.project, name=logged.run, config=dict(logged.told))
    trackio.log(dict(logged.values), step=logged.step)
    trackio.finish()


def _mlflow(logged: Logged) -> None:
    import mlflow

    mlflow.set_experiment(logged.project)
    with mlflow.start_run(run_name=logged.run):
        mlflow.log_metrics(dict(logged.values), step=logged.step)
        mlflow.set_tags(dict(logged.told))


#: By the name that `--to` takes.
TRACKERS: Mapping[str, Callable[[Logged], Any]] = MappingProxyType(
    {"wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}
)
