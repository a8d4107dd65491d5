"""The `bound` of a rule: `{ above = "controls", by = "3 se" }`, `{ share = 0.5, from, to }`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pytest_sae.errors import ThresholdsError, suggest
from pytest_sae.families.registry import comparable
from pytest_sae.gate.toml_lines import Place
from pytest_sae.numbers.metric_spec import MetricSpec
from pytest_sae.numbers.plain import INTERVAL
from pytest_sae.records.relative import WORTHLESS, Relative

Number = Callable[[object, str, Place], float]

_ABOVE = ("above", "below", "by")
_SHARE = ("share", "from", "to")
_EXPECTED = '{ above = "controls", by = "3 se" } or { share = 0.5, from = "controls", to = "pca" }'


def relative_bound(table: object, spec: MetricSpec, place: Place, number: Number) -> Relative:
    """Return the bound that a table describes.

    Args:
        table: the value of `bound`.
        spec: of the metric, which says what controls it has and which way of it is better.
        place: where it stands.
        number: reads a finite number, or says what is wrong with it.

    Raises:
        ThresholdsError: unknown keys, controls that the metric does not have, a wrong direction.
    """
    if not isinstance(table, dict) or not table:
        raise ThresholdsError(f"{place.at('bound')}: bound is {table!r}. Expected {_EXPECTED}.")
    keys = _SHARE if "share" in table else _ABOVE
    for key in table:
        if key not in keys:
            raise ThresholdsError(
                f"{place.at('bound')}: unknown key {key!r} in bound.{suggest(key, keys)} "
                f"Expected {_EXPECTED}."
            )
    return (_of_share if "share" in table else _beyond)(table, spec, place, number)


def _of_share(
    table: Mapping[str, object], spec: MetricSpec, place: Place, number: Number
) -> Relative:
    for key in ("from", "to"):
        if key not in table:
            raise ThresholdsError(
                f"{place.at('bound')}: bound has no {key!r}. Expected {_EXPECTED}."
            )
    share = number(table["share"], "bound", place)
    if share <= 0:
        raise ThresholdsError(
            f"{place.at('bound')}: share is {share:g}: it would let pass what is worth nothing. "
            "Expected a share of the way above 0."
        )
    to = table["to"]
    if isinstance(to, str):
        _check_control(to, spec, place)
    end = to if isinstance(to, str) else number(to, "bound", place)
    return Relative(_starts(table["from"], spec, place, number), end, share)


def _beyond(
    table: Mapping[str, object], spec: MetricSpec, place: Place, number: Number
) -> Relative:
    needed = {"higher": "above", "lower": "below"}.get(spec.direction, "")
    if needed not in table or len(set(table) & {"above", "below"}) > 1:
        better = f"{spec.direction} is better" if needed else "no way is better"
        hint = f"{needed} and by" if needed else "min and max instead"
        raise ThresholdsError(
            f"{place.at('bound')}: bound has {', '.join(table)}, and of {spec.name} {better}. "
            f"Expected {hint}."
        )
    starts = _starts(table[needed], spec, place, number)
    return Relative(starts, **_by(table.get("by", 0.0), place, number))


def _by(value: object, place: Place, number: Number) -> dict[str, Any]:
    if not isinstance(value, str):
        return {"by": number(value, "bound", place)}
    errors = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*se\s*", value)
    if not errors or not 0 < float(errors[1]) < math.inf:
        raise ThresholdsError(
            f'{place.at("bound")}: by is {value!r}. Expected a number, or standard errors: "3 se".'
        )
    return {"sigma": max(INTERVAL, float(errors[1]))}


def _starts(
    value: object, spec: MetricSpec, place: Place, number: Number
) -> tuple[str | float, ...]:
    found: dict[str | float, None] = {}
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, str):
            found[number(each, "bound", place)] = None
        elif each == "controls":
            found |= dict.fromkeys(_worthless(spec, place))
        else:
            _check_control(each, spec, place)
            found[each] = None
    if not found:
        raise ThresholdsError(f"{place.at('bound')}: bound names no control. Expected {_EXPECTED}.")
    return tuple(found)


def _worthless(spec: MetricSpec, place: Place) -> list[str]:
    names = [name for name in comparable(spec.name) if name in WORTHLESS]
    if not names:
        raise ThresholdsError(
            f"{place.at('bound')}: {spec.name} is measured on no worthless control. "
            "Expected min or max instead."
        )
    return names


def _check_control(name: str, spec: MetricSpec, place: Place) -> None:
    has = comparable(spec.name)
    if name not in has:
        raise ThresholdsError(
            f"{place.at('bound')}: {spec.name} cannot be held to a control {name!r}."
            f"{suggest(name, has)} It is measured on: {', '.join(has) or 'none'}."
        )
