"""A pytest plugin that gates sparse autoencoders; what authors of eval tests import.

Nothing heavy is imported until a name is used: `from pytest_sae import Estimate`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sae.dictionaries.entry_points import register_family
    from pytest_sae.keys import metric_key
    from pytest_sae.measured import Measured
    from pytest_sae.measurement import Measurement
    from pytest_sae.metrics.registry import MetricSpec, register
    from pytest_sae.recording import Gate
    from pytest_sae.session import LoadedSAE
    from pytest_sae.stats import Estimate, not_applicable, undefined

__version__ = "0.1.0"

_HOMES = {
    "Estimate": "pytest_sae.stats",
    "undefined": "pytest_sae.stats",
    "no_data": "pytest_sae.stats",
    "not_applicable": "pytest_sae.stats",
    "Gate": "pytest_sae.recording",
    "LoadedSAE": "pytest_sae.session",
    "Measured": "pytest_sae.measured",
    "Measurement": "pytest_sae.measurement",
    "metric_key": "pytest_sae.keys",
    "MetricSpec": "pytest_sae.metrics.registry",
    "register": "pytest_sae.metrics.registry",
    "register_family": "pytest_sae.dictionaries.entry_points",
}

__all__ = [
    "Estimate",
    "Gate",
    "LoadedSAE",
    "Measured",
    "Measurement",
    "MetricSpec",
    "__version__",
    "metric_key",
    "no_data",
    "not_applicable",
    "register",
    "register_family",
    "undefined",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pytest_sae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
