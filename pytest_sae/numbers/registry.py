"""The names of all metrics, with direction, unit and range; imports nothing heavy."""

from __future__ import annotations

from pytest_sae.numbers.catalogue import SPECS
from pytest_sae.numbers.spec import MetricSpec

__all__ = ["MetricSpec", "known", "register", "spec_of"]

_SPECS: dict[str, MetricSpec] = {spec.name: spec for spec in SPECS}


def register(spec: MetricSpec) -> MetricSpec:
    """Add a metric to the registry; third parties call this from their conftest.

    Raises:
        ValueError: another metric already has this name.
    """
    if _SPECS.get(spec.name, spec) != spec:
        raise ValueError(f"metric {spec.name!r} is already registered as {_SPECS[spec.name]}")
    _SPECS[spec.name] = spec
    return spec


def spec_of(name: str) -> MetricSpec:
    """Return the specification of a metric.

    Raises:
        KeyError: no metric has this name; the message lists those there are.
    """
    if name not in _SPECS:
        raise KeyError(f"unknown metric {name!r}; known: {', '.join(known())}")
    return _SPECS[name]


def known() -> list[str]:
    """Return the names of all registered metrics, sorted."""
    return sorted(_SPECS)
