"""SAEBench's result files, written from a report: its canonical values, in the published form.

Written are evaluations of which this package measures all that their files must hold: SCR, TPP,
first letter absorption and last-token probing. `core` and `sparse_probing` must hold figures that
have no counterpart here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pytest_sae.errors import OptionError
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.report import SAE, Report
from pytest_sae.records.row import Row
from pytest_sae.records.saebench import FIGURES, Figure
from pytest_sae.records.schema import write_whole

_WRITTEN = ("scr", "tpp", "sparse_probing_sae_probes", "absorption_first_letter")
_ABSORPTION = "absorption_first_letter"
_SAE_ID = "custom_sae"


def write_saebench(report: Report, directory: Path) -> list[Path]:
    """Write a file for each SAE and each evaluation of which there is a value.

    Args:
        report: as in report.json.
        directory: gets a directory for each evaluation, as the published runs have.

    Returns:
        The files.

    Raises:
        OptionError: the report has no canonical value.
    """
    files = [
        write_whole(directory / evaluation / f"{sae.id}_{_SAE_ID}_eval_results.json", text)
        for sae in report.saes
        for evaluation, text in _files(sae, report)
    ]
    if not files:
        raise OptionError(
            f"the report has no value of {', '.join(_WRITTEN)}. Expected a run that measures "
            "scr.canonical, tpp.canonical, absorption.canonical or sparse_probing.last_token."
        )
    return files


def _files(sae: SAE, report: Report) -> Iterator[tuple[str, str]]:
    rows = [row for row in report.measurements if row.sae == sae.id]
    for evaluation in _WRITTEN:
        figures = [each for each in FIGURES if each.evaluation == evaluation]
        found = {each: value for each in figures if (value := _value(each, rows)) is not None}
        spread = _letters(rows) if evaluation == _ABSORPTION else {}
        whole = evaluation != _ABSORPTION or (len(found) == len(figures) and spread)
        if found and whole:
            yield evaluation, _text(evaluation, found, spread, rows, sae, report)


def _value(figure: Figure, rows: list[Row]) -> float | None:
    """The value of a row, or of its curve where that has more settings than there are rows."""
    own = [row for row in rows if row.metric == figure.metric]
    exact = (row.value for row in own if row.params == dict(figure.params))
    curves = (row.details.get("curve") for row in own)
    setting = str(figure.params[0][1]) if figure.params else ""
    along = (
        as_number(point.get("value"))
        for curve in curves
        if isinstance(curve, Mapping) and isinstance(point := curve.get(setting), Mapping)
    )
    return next((value for value in (*exact, *along) if value is not None), None)


def _letters(rows: list[Row]) -> dict[str, float]:
    """How absorption is spread over the letters, and into how many latents they split."""
    told = next(
        (r.details.get("letters") for r in rows if r.metric == "absorption.canonical"), None
    )
    letters = [each for each in told.values() if isinstance(each, Mapping)] if told else []
    by = {
        name: [value for each in letters if (value := as_number(each.get(name))) is not None]
        for name in ("absorption", "full", "split_latents")
    }
    if min(map(len, by.values())) < 2:
        return {}
    return {
        "mean_num_split_features": mean(by["split_latents"]),
        "std_dev_absorption_fraction_score": stdev(by["absorption"]),
        "std_dev_full_absorption_score": stdev(by["full"]),
        "std_dev_num_split_features": stdev(by["split_latents"]),
    }


def _text(
    evaluation: str, found: Mapping[Figure, float], more: Mapping[str, float], rows: list[Row],
    sae: SAE, report: Report,
) -> str:  # fmt: skip
    first = next(iter(found))
    made = next(row.fingerprints for row in rows if row.metric == first.metric)
    metrics = {each.name: value for each, value in found.items()} | dict(more)
    document: dict[str, Any] = {
        "eval_type_id": evaluation,
        "eval_config": {
            "model_name": ", ".join(map(str, report.models)),
            "random_seed": report.options.get("seed", 0),
        },
        # The same for the same values, whenever they are written.
        "eval_id": str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([sae.id, made, metrics]))),
        "datetime_epoch_millis": int(datetime.fromisoformat(report.started).timestamp() * 1000),
        "eval_result_metrics": {first.category: metrics},
        "eval_result_details": [],
        "sae_bench_commit_hash": "none",
        "sae_lens_id": _SAE_ID,
        "sae_lens_release_id": sae.id,
        "sae_lens_version": report.versions.get("sae-lens"),
        "sae_cfg_dict": {},
        "eval_result_unstructured": {
            "measured_by": f"pytest-sae {report.versions.get('pytest-sae', '')}",
            "fingerprints": dict(made),
            "standard_errors": _errors(found, rows),
        },
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _errors(found: Mapping[Figure, float], rows: list[Row]) -> dict[str, float]:
    errors = {row.key: row.se for row in rows if row.se is not None}
    return {each.name: errors[each.key] for each in found if each.key in errors}
