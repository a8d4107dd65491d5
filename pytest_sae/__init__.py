"""A pytest plugin that gates sparse autoencoders; what authors of eval tests import.

Nothing heavy is imported until a name is used: `from pytest_sae import Estimate`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sae.activations.manifest import RecordedModel, RecordedSite
    from pytest_sae.activations.recorder import Recorder
    from pytest_sae.dictionaries.formats.entry_points import register_family, register_format
    from pytest_sae.families.card import Card
    from pytest_sae.families.registry import register
    from pytest_sae.numbers.estimate import (
        Estimate,
        no_data,
        not_applicable,
        unable,
        undefined,
    )
    from pytest_sae.numbers.keys import metric_key
    from pytest_sae.numbers.metric_spec import MetricSpec
    from pytest_sae.records.measurement import Measurement
    from pytest_sae.records.schema import read_report
    from pytest_sae.run.evaluate import Evaluation, evaluate
    from pytest_sae.run.gating import Gate
    from pytest_sae.run.measurements import Measurements
    from pytest_sae.session.session import LoadedSAE

__version__ = "0.1.0"

_HOMES = {
    "Estimate": "pytest_sae.numbers.estimate",
    "undefined": "pytest_sae.numbers.estimate",
    "no_data": "pytest_sae.numbers.estimate",
    "unable": "pytest_sae.numbers.estimate",
    "not_applicable": "pytest_sae.numbers.estimate",
    "Card": "pytest_sae.families.card",
    "Evaluation": "pytest_sae.run.evaluate",
    "evaluate": "pytest_sae.run.evaluate",
    "Gate": "pytest_sae.run.gating",
    "LoadedSAE": "pytest_sae.session.session",
    "Measurements": "pytest_sae.run.measurements",
    "Measurement": "pytest_sae.records.measurement",
    "metric_key": "pytest_sae.numbers.keys",
    "MetricSpec": "pytest_sae.numbers.metric_spec",
    "RecordedModel": "pytest_sae.activations.manifest",
    "RecordedSite": "pytest_sae.activations.manifest",
    "Recorder": "pytest_sae.activations.recorder",
    "read_report": "pytest_sae.records.schema",
    "register": "pytest_sae.families.registry",
    "register_family": "pytest_sae.dictionaries.formats.entry_points",
    "register_format": "pytest_sae.dictionaries.formats.entry_points",
}

__all__ = [
    "Card",
    "Estimate",
    "Evaluation",
    "Gate",
    "LoadedSAE",
    "Measurement",
    "Measurements",
    "MetricSpec",
    "RecordedModel",
    "RecordedSite",
    "Recorder",
    "__version__",
    "bundled_world",
    "evaluate",
    "metric_key",
    "no_data",
    "not_applicable",
    "read_report",
    "register",
    "register_family",
    "register_format",
    "unable",
    "undefined",
]


def bundled_world() -> Path:
    """Return the directory of the bundled world: model, SAEs, texts and `tasks.toml`.

    Raises:
        DataError: it is neither in the installed package nor in the source tree.
    """
    from pytest_sae.errors import DataError

    package = Path(__file__).parent
    for directory in (package / "world", package.parent / "fixtures" / "world"):
        if (directory / "tasks.toml").is_file():
            return directory
    raise DataError(
        f"The bundled world is neither in {package / 'world'} nor in "
        f"{package.parent / 'fixtures' / 'world'}. Expected tasks.toml there: install the package "
        "again, or run `python -m fixtures.build` in the source tree."
    )


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pytest_sae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
