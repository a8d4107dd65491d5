"""A measurement: an estimate tied to the dictionary, model and data that it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_sae.families.registry import spec_of
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.metric_spec import MetricSpec


@dataclass(frozen=True)
class Measurement:
    """One future row of the report, keyed by (sae, metric, params).

    Args:
        sae: id of the dictionary in this run.
        estimate: the number and its uncertainty.
        seconds: wall time of the family that made it, shared by its metrics.
        peak_memory: bytes, peak of the process (or of the device where there is one).
        fingerprints: hashes of what made it: sae, model, site, data, suite, code.
        controls: the same metric of what it has to tell the dictionary from.
    """

    sae: str
    estimate: Estimate
    seconds: float = 0.0
    peak_memory: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()

    @property
    def spec(self) -> MetricSpec:
        """Direction, unit and range of the metric."""
        return spec_of(self.estimate.metric)

    @property
    def key(self) -> str:
        """Name of metric and setting, as tests and thresholds spell it: `scr:n=20`."""
        return metric_key(self.estimate.metric, self.estimate.params)
