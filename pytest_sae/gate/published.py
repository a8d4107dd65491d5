"""Values that others published as entries of a baseline: SAEBench's result files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_sae.errors import BaselineError
from pytest_sae.families.registry import spec_of
from pytest_sae.gate.baseline import Entry
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.saebench import FIGURES, Figure

_CUSTOM = "custom_sae"  # the id that SAEBench gives what is not of sae_lens


def entries_published(raw: bytes, path: Path) -> list[Entry]:
    """Return the values of a result file of SAEBench that are canonical here.

    Args:
        raw: the file.
        path: of it, for messages.

    Raises:
        BaselineError: it has none of them, or is not as SAEBench writes it.
    """
    told = json.loads(raw)
    evaluation, categories = told.get("eval_type_id"), told["eval_result_metrics"]
    figures = [each for each in FIGURES if each.evaluation == evaluation]
    if not figures or not isinstance(categories, Mapping):
        known = ", ".join(dict.fromkeys(each.evaluation for each in FIGURES))
        raise BaselineError(
            f"{path} is a result file of SAEBench for {evaluation!r}, of which no value has a "
            f"counterpart here. Expected one for {known}."
        )
    sae, by = _sae(told, path), f"SAEBench {evaluation}{_model(told)}"
    found = [(each, _value(categories, each)) for each in figures]
    entries = [
        Entry(sae, each.metric, dict(each.params), value, published=by)
        for each, value in found
        if value is not None
    ]
    if not entries:
        raise BaselineError(
            f"{path} is a result file of SAEBench for {evaluation} without a value. Expected "
            f"numbers such as {figures[0].category}.{figures[0].name}."
        )
    return entries


def _value(categories: Mapping[str, Any], figure: Figure) -> float | None:
    figures, spec = categories.get(figure.category), spec_of(figure.metric)
    value = as_number(figures.get(figure.name)) if isinstance(figures, Mapping) else None
    # Its mark of what could not be calculated is -1, also where nothing can be negative.
    below = value is not None and spec.low is not None and value < spec.low
    return None if below else value


def _sae(told: Mapping[str, Any], path: Path) -> str:
    """The SAE's name in the file's own fields, made of the letters of ids here."""
    parts = [told.get("sae_lens_release_id"), told.get("sae_lens_id")]
    named = [part for part in parts if isinstance(part, str) and part not in ("", _CUSTOM)]
    name = "_".join(named) or path.stem.removesuffix("_eval_results")
    return re.sub(r"[^A-Za-z0-9._+]+", "_", name).lstrip(".") or "sae"


def _model(told: Mapping[str, Any]) -> str:
    config = told.get("eval_config")
    name = config.get("model_name") if isinstance(config, Mapping) else None
    return f", model {name}" if isinstance(name, str) and name else ""
