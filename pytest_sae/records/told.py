"""What a row says to people: its value, bounds, baseline, repeats and controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_sae.numbers.plain import number
from pytest_sae.records.verdicts import bounds, difference

if TYPE_CHECKING:
    from pytest_sae.records.row import Against, JudgedControl, Row

_AS_IT_MUST: Mapping[tuple[str, bool | None], str] = {
    ("below", True): "worse, as it must be",
    ("below", False): "must be worse, and is not surely",
    ("same", True): "the same, as it must be",
    ("same", False): "must be the same, and is not",
    ("chance", True): "chance, as it must be",
    ("chance", False): "must be chance, with the SAE above, and is not",
}


def told_counts(counts: Mapping[str, int]) -> str:
    """Return how many units a value rests on, in words.

    >>> told_counts({"tasks": 3, "tasks_expected": 4, "texts": 1, "texts_dropped": 0})
    '3 of 4 tasks, 1 text'

    Args:
        counts: by kind of unit; `X_expected` is of how many, `X_dropped` what was left out.
    """
    return ", ".join(filter(None, (_counted(name, counts) for name in counts)))


def _counted(name: str, counts: Mapping[str, int]) -> str:
    unit, _, what = name.rpartition("_")
    count, of = counts[name], counts.get(f"{name}_expected", counts[name])
    if what == "expected" and unit in counts:
        return ""
    if what == "dropped":
        return f"{count:,} {_one(unit, count)} dropped" if count else ""
    share = f"{count:,} of {of:,}" if of != count else f"{count:,}"
    return f"{share} {_one(name.replace('_', ' '), of)}"


def _one(units: str, count: int) -> str:
    """A word for units, in the singular for one of them."""
    if count != 1 or not units.endswith("s"):
        return units
    if units.endswith("ies"):
        return f"{units[:-3]}y"
    return units[:-2] if units.endswith("sses") else units[:-1]


def shown_value(row: Row | JudgedControl) -> str:
    """Return value and standard error, `-` where there is no value."""
    if row.value is None:
        return "-"
    error = f" ± {number(row.se)}" if row.se is not None else ""
    return number(row.value) + error


def shown_bound(row: Row) -> str:
    """Return the bounds of a row, `-` where it has none."""
    # What controls set has as many digits as a float has.
    low, high = (None if end is None else float(f"{end:.4g}") for end in row.limits)
    return "-" if low is None and high is None else bounds(low, high)


def shown_baseline(row: Row) -> str:
    """Return the baseline of a row and the difference to it, `-` where it has none."""
    baseline = row.baseline
    if baseline is None or baseline.value is None:
        return "-"
    if row.value is None or baseline.differs:
        return number(baseline.value)
    return f"{number(baseline.value)} ({difference(row.value, baseline.value)})"


def told_baseline(row: Row) -> str:
    """Return all that a baseline says about a row: value, difference, tolerance, noise, source.

    Empty where the row was compared with nothing.
    """
    baseline, regression = row.baseline, row.rule.regression if row.rule else None
    if baseline is None:
        return ""
    if baseline.value is None:
        return f"none in {baseline.source}"
    parts = [shown_baseline(row)]
    if regression and row.value is not None and not baseline.differs:
        parts.append(f"tolerance {number(regression.tolerance(baseline.value))}")
        parts.append(f"noise {_noise(row.se, baseline, regression.sigma)}")
    return f"{', '.join(parts)}; {'; '.join([baseline.source, *baseline.differs])}"


def _noise(se: float | None, against: Against, sigma: float) -> str:
    noise, unpaired = against.noise(se), against.unpaired(se)
    if against.paired is not None:
        return f"{sigma:g} x {number(noise)} (paired: instead of {number(unpaired)})"
    return f"{sigma:g} x {number(noise)}" if noise else "unknown (no standard error)"


def told_repeats(row: Row) -> str:
    """Return how a value moved from repeat to repeat; empty where there was only one."""
    repeats = row.details.get("repeats")
    if not isinstance(repeats, Mapping):
        return ""
    return f"sd {number(repeats['sd'])} over {len(repeats['values'])} repeats"


def shown_control(control: JudgedControl) -> str:
    """Return value and standard error of a control, or its status."""
    return control.status.replace("_", " ") if control.value is None else shown_value(control)


def standing(control: JudgedControl) -> str:
    """Return whether a control is where it must be, in words; a reference has no such place."""
    told = _AS_IT_MUST.get((control.expected, control.holds))
    return told or ("reference" if control.expected == "reference" else "not compared")


def told_control(control: JudgedControl) -> str:
    """Return all that there is to say of a control in one line."""
    why = f": {control.reason}" if control.reason else ""
    return f"{control.control} {shown_control(control)} ({standing(control)}){why}"
