"""Controls: values that a metric must tell from the one under test, or it tells nothing here.

expected_of(metric, control) -> what must hold, None where nothing is declared
holds(value, se, control) -> does it, None where there is nothing to compare
doubt(value, se, controls) -> why the metric does not discriminate, empty if it does
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from pytest_sae.numbers.control import CONTROLS, Control, Expected
from pytest_sae.numbers.plain import as_number, number

#: A difference under this many of its standard errors is none. Never laxer than intervals apart,
#: 3 sqrt(a^2 + b^2) > 1.96 (a + b), and stricter than two: many metrics are held to many controls,
#: and how far apart the draws of a random one lie is known from a few of them alone.
STANDARD_ERRORS = 3.0

_DECODED: Mapping[str, Expected] = {
    "random": "below",
    "permuted_decoder": "below",
    "best_k": "below",
    "random_tied": "reference",
    "pca": "reference",
    "identity": "reference",
}
# How sparse a dictionary is says nothing about how good it is: random weights have no dead latent.
_CODES: Mapping[str, Expected] = {"random": "reference", "permuted_decoder": "same"}
# Rows that are tied write where they read, and take away what they find: close to a trained SAE.
_ERASED: Mapping[str, Expected] = {
    "random": "below",
    "permuted_decoder": "below",
    "random_tied": "reference",
    "shuffled_labels": "chance",
    "word_deletion": "reference",
}

#: What must hold, by metric (a pattern; the first that fits counts) and control.
EXPECTED: tuple[tuple[str, Mapping[str, Expected]], ...] = (
    ("explained_variance", _DECODED),
    ("mse", _DECODED),
    ("cosine", _DECODED),
    ("ce_spliced", _DECODED),
    ("ce_recovered", _DECODED),
    ("ce_recovered.zero", _DECODED),
    ("kl", _DECODED),
    ("l0", _CODES),
    ("l1", _CODES),
    ("dead_share", _CODES),
    ("dense_share_*", _CODES),
    ("scr", _ERASED),
    ("scr.*", _ERASED),
    ("tpp", _ERASED),
    ("tpp.*", _ERASED),
    ("erasure", {"random": "below", "permuted_decoder": "below"}),
    ("sparse_probing.gain", {"random": "below", "permuted_decoder": "same"}),
    ("sparse_probing*", {"random": "reference", "permuted_decoder": "same"}),
    # What the judge did is no figure of the dictionary.
    ("shift.agreement", {}),
    ("shift.accepted", {}),
    ("shift.abstained", {}),
    ("shift", _ERASED),
    ("shift.*", _ERASED),
    ("autointerp.failed", {}),
    ("autointerp.*", {"random": "below"}),
)

#: What a guess reaches, by metric (a pattern); 0 for those that are not here.
CHANCE: tuple[tuple[str, float], ...] = ()


def expected_of(metric: str, control: str) -> Expected | None:
    """Return what must hold of a control under a metric, None where the two have no business."""
    found = (table for pattern, table in EXPECTED if fnmatchcase(metric, pattern))
    return next(found, {}).get(control)


def chance_of(metric: str) -> float:
    """Return what a guess reaches under a metric."""
    return next((level for pattern, level in CHANCE if fnmatchcase(metric, pattern)), 0.0)


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
