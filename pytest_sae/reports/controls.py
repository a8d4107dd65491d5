"""Controls for people: what each reached, whether it is where it must be, and what that means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_sae.gate.verdict import UNDISCRIMINATING, headline, number
from pytest_sae.records.row import Row, doubt_of, is_red_row, key_of

_AS_IT_MUST: Mapping[tuple[str, object], str] = {
    ("below", True): "worse, as it must be",
    ("below", False): "must be worse, and is not surely",
    ("same", True): "the same, as it must be",
    ("same", False): "must be the same, and is not",
    ("chance", True): "chance, as it must be",
    ("chance", False): "must be chance, with the SAE above, and is not",
}


def shown_control(control: Row) -> str:
    """Return value and standard error of a control for people, or its status."""
    if control["value"] is None:
        return str(control["status"]).replace("_", " ")
    error = f" ± {number(control['se'])}" if control["se"] is not None else ""
    return number(control["value"]) + error


def standing(control: Row) -> str:
    """Return whether a control is where it must be, in words; a reference has no such place."""
    told = _AS_IT_MUST.get((control["expected"], control["holds"]))
    return told or ("reference" if control["expected"] == "reference" else "not compared")


def told_control(control: Row) -> str:
    """Return all that there is to say of a control in one line."""
    why = f": {control['reason']}" if control["reason"] else ""
    return f"{control['control']} {shown_control(control)} ({standing(control)}){why}"


def doubt_lines(rows: Iterable[Row]) -> list[str]:
    """Return a line for each metric that does not discriminate and does not gate either.

    Those that gate stand among the failures.
    """
    doubtful = ((row, doubt_of(row)) for row in rows if not is_red_row(row))
    return [
        headline(row["sae"], key_of(row), None, "doubt", f"{UNDISCRIMINATING}: {doubt}")
        for row, doubt in doubtful
        if doubt
    ]


def control_cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return one line of a table for each control of each row."""
    return [
        (row["sae"], key_of(row), each["control"], shown_control(each), standing(each))
        for row in rows
        for each in row["controls"]
    ]
