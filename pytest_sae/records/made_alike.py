"""Whether two measurements were made alike, so that their values can be compared."""

from __future__ import annotations

from collections.abc import Mapping

# One SAE is compared with another, or with itself trained further.
_MAY_DIFFER = ("sae",)
_MOST_SHOWN = 24


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what two measurements were not made with alike, a sentence each.

    Model, site, data, suite and the code of the metric have to agree, and whatever else a
    measurement names; the SAE may differ.

    Args:
        before: fingerprints of the earlier one, by kind.
        now: of the later one.
    """
    kinds = sorted((before.keys() | now.keys()) - set(_MAY_DIFFER))
    return [
        f"{kind} was {_short(before.get(kind))}, is {_short(now.get(kind))}"
        for kind in kinds
        if _decisive(kind, before) != _decisive(kind, now)
    ]


def _decisive(kind: str, fingerprints: Mapping[str, str]) -> str | None:
    mark = fingerprints.get(kind)
    # package/family: a release that leaves a family's numbers alone keeps its baselines.
    return mark.rpartition("/")[2] if kind == "code" and mark is not None else mark


def _short(mark: str | None) -> str:
    if mark is None:
        return "not said"
    return mark if len(mark) <= _MOST_SHOWN else f"{mark[:12]}..."
