"""Controls: values that a metric must tell from the one under test, or it tells nothing here.

holds(value, se, control) -> does it, None where there is nothing to compare
doubt(value, se, controls) -> why the metric does not discriminate, empty if it does
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.numbers.control import Control
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.doubts import STANDARD_ERRORS, strays, told_doubt


def holds(value: object, se: object, control: Control) -> bool | None:
    """Whether a control is where it must be.

    Args:
        value: of the SAE.
        se: its standard error.
        control: what the same metric says of the control.

    Returns:
        None where nothing must hold, or one of the two has no value.
    """
    own, other = as_number(value), as_number(control.value)
    absent = control.status in ("not_applicable", "no_data")
    if own is None or absent or control.expected == "reference":
        return None
    if control.expected == "chance":
        return _at_chance(own, se, other, control)
    if other is None:
        return None
    if control.expected == "same":
        return own == other
    return _ahead(own, other, control.noise(se), control.direction)


def doubt(value: object, se: object, controls: Sequence[Control]) -> str:
    """Return why a metric does not tell the SAE from what it must, empty if it does.

    The first control in the order of `CONTROLS` speaks, whatever order they come in.

    Args:
        value: of the SAE.
        se: its standard error.
        controls: what the same metric says of each control.
    """
    return told_doubt(value, se, (each for each in controls if holds(value, se, each) is False))


def _at_chance(own: float, se: object, other: float | None, control: Control) -> bool | None:
    if other is not None and as_number(control.se) is None:
        return None
    if strays(control):
        return False
    # Undefined for shuffled labels: there is nothing to measure, as it must be.
    return _ahead(own, control.chance, as_number(se) or 0.0, control.direction)


def _ahead(own: float, of: float, noise: float, direction: str) -> bool | None:
    if direction not in _SIGNS:
        return None
    return _SIGNS[direction] * (own - of) > STANDARD_ERRORS * noise


_SIGNS = {"higher": 1.0, "lower": -1.0}
