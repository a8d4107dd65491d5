"""The words for a metric that does not tell an SAE from its controls."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_sae.numbers.control import CONTROLS, Control
from pytest_sae.numbers.plain import as_number, number

#: A difference under this many of its standard errors is none. Never laxer than intervals apart,
#: 3 sqrt(a^2 + b^2) > 1.96 (a + b), and stricter than two: many metrics are held to many controls,
#: and how far apart the draws of a random one lie is known from a few of them alone.
STANDARD_ERRORS = 3.0


def strays(control: Control) -> bool:
    """Whether a control that must be at chance, such as shuffled labels, is not."""
    value, noise = as_number(control.value), as_number(control.se)
    if value is None or noise is None:
        return False
    return abs(value - control.chance) > STANDARD_ERRORS * noise


def told_doubt(value: object, se: object, missed: Iterable[Control]) -> str:
    """Return why a metric does not discriminate, empty if it does.

    The first control in the order of `CONTROLS` speaks, whatever order they come in.

    Args:
        value: of the SAE.
        se: its standard error.
        missed: the controls that are not where they must be.
    """
    first, own = min(missed, key=_place, default=None), as_number(value)
    return "" if first is None or own is None else _why(own, se, first)


def _place(control: Control) -> tuple[int, str]:
    name = control.control
    return (CONTROLS.index(name) if name in CONTROLS else len(CONTROLS)), name


def _why(own: float, se: object, control: Control) -> str:
    name, value = control.control, as_number(control.value)
    shown = "-" if value is None else number(value)
    if control.expected == "same":
        return f"{name} gives {value!r}, not the same {own!r}"
    if control.expected != "chance":
        return _not_ahead(own, f"{name}, {shown},", control.noise(se), control.direction)
    level, noise = number(control.chance), as_number(control.se)
    if noise is not None and strays(control):
        far = f"more than {STANDARD_ERRORS:g} standard errors ({number(noise)} each) from chance"
        return f"{name} reach {shown}, {far}, {level}"
    return _not_ahead(own, f"chance, {level},", as_number(se) or 0.0, control.direction)


def _not_ahead(own: float, told: str, noise: float, direction: str) -> str:
    how = "above" if direction == "higher" else "below"
    return (
        f"{number(own)} is not {how} {told} by {STANDARD_ERRORS:g} standard errors of the "
        f"difference ({number(noise)} each)"
    )
