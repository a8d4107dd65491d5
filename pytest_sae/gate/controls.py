"""Controls: values that a metric must tell from the one under test, or it tells nothing here.

holds(value, se, control) -> does it, None where there is nothing to compare
doubt(value, se, controls) -> why the metric does not discriminate, empty if it does
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.numbers.control import CONTROLS, Control
from pytest_sae.numbers.plain import as_number, number

#: A difference under this many of its standard errors is none. Never laxer than intervals apart,
#: 3 sqrt(a^2 + b^2) > 1.96 (a + b), and stricter than two: many metrics are held to many controls,
#: and how far apart the draws of a random one lie is known from a few of them alone.
STANDARD_ERRORS = 3.0


def holds(value: object, se: object, control: Control) -> bool | None:
    """Whether a control is where it must be.

    Args:
        value: of the SAE.
        se: its standard error.
        control: what the same metric says of the control.

    Returns:
        None where nothing must hold, or one of the two has no value.
    """
    return _compared(value, se, control)[0]


def doubt(value: object, se: object, controls: Sequence[Control]) -> str:
    """Return why a metric does not tell the SAE from what it must, empty if it does.

    The first control in the order of `CONTROLS` speaks, whatever order they come in.
    """
    ordered = sorted(controls, key=lambda each: _place(each.control))
    found = (_compared(value, se, each) for each in ordered)
    return next((why for held, why in found if held is False), "")


def _place(control: str) -> tuple[int, str]:
    return (CONTROLS.index(control) if control in CONTROLS else len(CONTROLS)), control


_Compared = tuple[bool | None, str]
_NOTHING: _Compared = (None, "")


def _compared(value: object, se: object, control: Control) -> _Compared:
    """Whether a control is where it must be, and why it is not."""
    own, other = as_number(value), as_number(control.value)
    absent = control.status in ("not_applicable", "no_data")
    if own is None or absent or control.expected == "reference":
        return _NOTHING
    if control.expected == "chance":
        return _at_chance(own, se, other, control)
    if other is None:
        return _NOTHING
    if control.expected == "same":
        return own == other, f"{control.control} gives {other!r}, not the same {own!r}"
    of = f"{control.control}, {number(other)},"
    return _ahead(own, other, control.noise(se), of, control.direction)


def _at_chance(own: float, se: object, other: float | None, control: Control) -> _Compared:
    level, noise = control.chance, as_number(control.se)
    if other is not None and noise is None:
        return _NOTHING
    if other is not None and noise is not None and abs(other - level) > STANDARD_ERRORS * noise:
        far = f"more than {STANDARD_ERRORS:g} standard errors ({number(noise)} each) from chance"
        return False, f"{control.control} reach {number(other)}, {far}, {number(level)}"
    # Undefined for shuffled labels: there is nothing to measure, as it must be.
    return _ahead(own, level, as_number(se) or 0.0, f"chance, {number(level)},", control.direction)


def _ahead(own: float, of: float, noise: float, told: str, direction: str) -> _Compared:
    if direction not in _SIGNS:
        return _NOTHING
    how = "above" if direction == "higher" else "below"
    why = (
        f"{number(own)} is not {how} {told} by {STANDARD_ERRORS:g} standard errors of the "
        f"difference ({number(noise)} each)"
    )
    return _SIGNS[direction] * (own - of) > STANDARD_ERRORS * noise, why


_SIGNS = {"higher": 1.0, "lower": -1.0}
