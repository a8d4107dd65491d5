"""Bounds: `thresholds.toml` becomes one rule per metric, each with the line it stands on."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

from pytest_sae.errors import ThresholdsError, suggest
from pytest_sae.families.registry import known, spec_of
from pytest_sae.gate.relative_bounds import relative_bound
from pytest_sae.gate.rules import Override, Regression, Rule, Thresholds
from pytest_sae.gate.toml_lines import Place, TomlText
from pytest_sae.numbers.keys import parse_key
from pytest_sae.numbers.metric_spec import MetricSpec
from pytest_sae.records.rule import Tolerance

T = TypeVar("T", bool, str)

__all__ = ["Rule", "Thresholds", "load_thresholds", "parse_thresholds"]

_NUMBERS = ("min", "max")
_TOLERANCES = ("regression", "other_seed")
_SETS = (*_NUMBERS, "max_se", "bound", "undecided", "gate", "optional", *_TOLERANCES)
_KEYS = (*_SETS, "reason")
_OVERRIDE = ("sae", "metric", *_SETS, "reason", "expires")
_BESIDE = "baseline"  # gate = "baseline": it decides where a baseline has a value of the metric
_REGRESSION = ("abs", "rel", "sigma")


def load_thresholds(path: Path, shown: str | None = None) -> Thresholds:
    """Read a file of bounds.

    Args:
        path: the file.
        shown: how messages and reports call it; the path itself by default.

    Returns:
        A rule for each metric that it names, and the overrides of single SAEs.

    Raises:
        ThresholdsError: not TOML, unknown metric or key, impossible bound; with file and line.
    """
    raw = path.read_bytes()
    return parse_thresholds(raw, shown or str(path), date.today())


def parse_thresholds(raw: bytes, shown: str, today: date = date.min) -> Thresholds:
    """Read bounds from bytes; `load_thresholds` says the rest.

    Args:
        raw: content of the file.
        shown: how messages call it.
        today: overrides that expired before are refused.

    Returns:
        A rule for each metric that they name, and the overrides of single SAEs.
    """
    text, document = _document(raw, shown)
    _only(document, ("version", "metrics", "override"), "the file", Place(shown, text, ""))
    if document.get("version") != 1 or isinstance(document["version"], bool):
        raise ThresholdsError(
            f"{shown}:1: version is {document.get('version')!r}. Expected a line version = 1."
        )
    tables = document.get("metrics", {})
    if not isinstance(tables, dict):
        raise ThresholdsError(f"{shown}:1: metrics is no table. Expected [metrics.NAME] tables.")
    rules = {name: _rule(name, table, Place(shown, text, name)) for name, table in tables.items()}
    overrides = _overrides(document.get("override", []), rules, Place(shown, text, ""))
    for override in overrides:
        _check_day(override, shown, today)
    return Thresholds(shown, hashlib.sha256(raw).hexdigest(), rules, overrides)


def _document(raw: bytes, shown: str) -> tuple[TomlText, dict[str, object]]:
    try:
        text = raw.decode("utf-8")
        return TomlText(text), tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ThresholdsError(f"{shown}:1: not UTF-8 text ({error}).") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ThresholdsError(f"{shown}:{line[1] if line else 1}: not TOML: {error}") from None
    except RecursionError:
        raise ThresholdsError(f"{shown}:1: not usable as TOML: nested too deeply.") from None


def _rule(name: str, table: object, place: Place) -> Rule:
    _check_name(name, place)
    if not isinstance(table, dict):
        raise ThresholdsError(f"{place.at()}: {name} is no table. Expected [metrics.{name}].")
    _check_no_subtable(name, table, place)
    _only(table, _KEYS, f"[metrics.{name}]", place)
    rule = Rule(
        name=name,
        reason=_typed(table, "reason", str, "", place).strip(),
        file=place.file,
        lines=place.lines(list(table)),
        **_set(table, name, place),
    )
    _check_bounds(rule)
    return rule


def _set(table: Mapping[str, object], metric: str, place: Place) -> dict[str, Any]:
    """Return the fields of a rule that a table sets."""
    fields: dict[str, Any] = {
        key: _number(table[key], key, place) for key in _NUMBERS if key in table
    }
    if "gate" in table:
        beside = table["gate"] == _BESIDE
        fields["gate"] = beside or _typed(table, "gate", bool, True, place)
        fields["beside_baseline"] = beside
    if "optional" in table:
        fields["optional"] = _typed(table, "optional", bool, True, place)
    if "max_se" in table:
        fields.update(_precision(table["max_se"], place))
    if "bound" in table:
        spec = spec_of(parse_key(metric)[0])
        fields["bound"] = relative_bound(table["bound"], spec, place, _number)
    if "undecided" in table:
        fields["undecided"] = _undecided(table["undecided"], place)
    fields.update({key: _tolerance(table[key], key, place) for key in _TOLERANCES if key in table})
    return fields


def _precision(value: object, place: Place) -> dict[str, float]:
    """Read `max_se`: in the metric's unit, or as a share of the value."""
    if not isinstance(value, str):
        return {"max_se": _number(value, "max_se", place)}
    share = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)
    if not share:
        raise ThresholdsError(
            f"{place.at('max_se')}: max_se is {value!r}. Expected a number, or a share of the "
            'value: "10 %".'
        )
    return {"max_rel_se": float(share[1]) / 100}


def _undecided(value: object, place: Place) -> str:
    if value not in ("fail", "pass"):
        raise ThresholdsError(
            f'{place.at("undecided")}: undecided is {value!r}. Expected "fail" or "pass": what '
            "becomes of a value whose interval spans a bound."
        )
    return str(value)


def _overrides(tables: object, rules: Mapping[str, Rule], place: Place) -> list[Override]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ThresholdsError(
            f"{place.at('override')}: override is no list of tables. Expected [[override]]."
        )
    numbered = enumerate(tables, 1)
    return [
        _override(table, rules, Place(place.file, place.text, "", number))
        for number, table in numbered
    ]


def _override(table: Mapping[str, object], rules: Mapping[str, Rule], place: Place) -> Override:
    _only(table, _OVERRIDE, "[[override]]", place)
    told = {key: _typed(table, key, str, "", place).strip() for key in ("sae", "metric", "reason")}
    for key, example in (
        ("sae", 'a pattern of SAE ids such as sae = "layer_0*"'),
        ("metric", 'a metric such as metric = "l0"'),
        ("reason", 'a line reason = "why this SAE is held to something else"'),
    ):
        if not told[key]:
            raise ThresholdsError(f"{place.at()}: the override has no {key}. Expected {example}.")
    _check_name(told["metric"], place)
    changes = _set(table, told["metric"], place)
    if not changes:
        raise ThresholdsError(
            f"{place.at()}: the override changes nothing. Expected one of {', '.join(_SETS)}."
        )
    override = Override(
        **told, changes=changes, expires=_day(table, place), lines=place.lines(list(table))
    )
    base = rules.get(override.metric, Rule(override.metric, file=place.file))
    _check_bounds(override.over(base))
    return override


def _day(table: Mapping[str, object], place: Place) -> date:
    day = table.get("expires")
    if not isinstance(day, date) or isinstance(day, datetime):
        found = f"expires is {day!r}" if "expires" in table else "the override never expires"
        raise ThresholdsError(
            f"{place.at('expires')}: {found}. "
            "Expected a date without quotes, such as expires = 2030-01-31."
        )
    return day


def _check_day(override: Override, shown: str, today: date) -> None:
    if today > override.expires:
        raise ThresholdsError(
            f"{shown}:{override.lines['expires']}: the override of {override.metric} for "
            f"{override.sae} expired on {override.expires} (it was there because: "
            f"{override.reason}). Remove it, or look at it again and give it a new date."
        )


def _check_name(name: str, place: Place) -> None:
    try:
        metric, _ = parse_key(name)
    except ValueError as error:
        raise ThresholdsError(f"{place.at()}: {error}") from None
    if metric not in known():
        raise ThresholdsError(
            f"{place.at()}: unknown metric {metric!r}.{suggest(metric, known())} "
            f"Known: {', '.join(known())}."
        )


def _check_no_subtable(name: str, table: Mapping[str, object], place: Place) -> None:
    # [metrics.scr.canonical] is TOML for a table inside [metrics.scr].
    for key in table:
        if f"{name}.{key}" in known():
            raise ThresholdsError(
                f"{place.file}:{Place(place.file, place.text, f'{name}.{key}').header()}: "
                f'a name with a dot needs quotes. Expected [metrics."{name}.{key}"].'
            )


def _only(table: Mapping[str, object], valid: Sequence[str], where: str, place: Place) -> None:
    for key in table:
        if key not in valid:
            raise ThresholdsError(
                f"{place.at(key)}: unknown key {key!r} in {where}.{suggest(key, valid)} "
                f"Known: {', '.join(valid)}."
            )


def _number(value: object, key: str, place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ThresholdsError(f"{place.at(key)}: {key} is {value!r}. Expected a finite number.")
    return float(value)


def _typed(table: Mapping[str, object], key: str, kind: type[T], default: T, place: Place) -> T:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise ThresholdsError(
            f"{place.at(key)}: {key} is {value!r}. Expected a {kind.__name__} value."
        )
    return value


def _tolerance(table: object, key: str, place: Place) -> Regression:
    if not isinstance(table, dict):
        raise ThresholdsError(
            f"{place.at(key)}: {key} is {table!r}. "
            "Expected a table such as { abs = 0.01, sigma = 3.0 }."
        )
    _only(table, _REGRESSION, key, place)
    numbers = {name: _number(value, name, place) for name, value in table.items()}
    for name, number in numbers.items():
        if number < 0:
            raise ThresholdsError(f"{place.at(key)}: {name} is negative.")
    return Regression(**numbers)


#: No metric of a network's activations comes near it: a bound beyond it is no bound.
_BEYOND = 1e12
#: Standard errors beyond which no difference is noise.
_MOST_SIGMA = 20.0


def _check_forbids(rule: Rule, spec: MetricSpec) -> None:
    """Refuse a rule under which a metric could not fail: it would look as if it gated."""
    for key, bound, end in (("min", rule.min, spec.low), ("max", rule.max, spec.high)):
        sign = 1 if key == "min" else -1
        outside = bound is not None and end is not None and sign * bound <= sign * end
        if bound is not None and (outside or sign * bound <= -_BEYOND):
            worst = f"is never {'below' if key == 'min' else 'above'} {bound:g}"
            raise ThresholdsError(
                f"{rule.at(key)}: {rule.name} has {key} {bound:g} and {worst}: it forbids "
                "nothing. Expected a bound that can be missed, or none."
            )
    wrong = {"higher": ("min", rule.min, "max"), "lower": ("max", rule.max, "min")}
    needed, bound, there = wrong.get(spec.direction, ("", 0.0, ""))
    others = (rule.regression, rule.other_seed, rule.max_se, rule.max_rel_se, rule.bound)
    only = bound is None and all(each is None for each in others) and not rule.beside_baseline
    if rule.gate and needed and only:
        raise ThresholdsError(
            f"{rule.at(there)}: of {rule.name}, {spec.direction} is better, and it has a "
            f"{there} alone: however bad it is, it passes. Expected {needed} or regression."
        )
    for name in _TOLERANCES:
        tolerance: Tolerance | None = getattr(rule, name)
        if tolerance is not None:
            _check_tolerance(rule, name, tolerance, spec)


def _check_tolerance(rule: Rule, name: str, tolerance: Tolerance, spec: MetricSpec) -> None:
    span = math.inf if spec.low is None or spec.high is None else spec.high - spec.low
    for key, allowed, least in (
        ("abs", tolerance.abs, min(span, _BEYOND)),
        ("rel", tolerance.rel, 1.0),
        ("sigma", tolerance.sigma, _MOST_SIGMA),
    ):
        if allowed >= least:
            raise ThresholdsError(
                f"{rule.at(name)}: {rule.name} has {name} {key} {allowed:g}: no "
                f"value is that much worse, it forbids nothing. Expected less than {least:g}."
            )


def _check_bounds(rule: Rule) -> None:
    spec = spec_of(parse_key(rule.name)[0])
    if not rule.gate and not rule.reason:
        raise ThresholdsError(
            f"{rule.at('gate')}: {rule.name} has gate = false without a reason. "
            'Expected a line reason = "why it does not decide".'
        )
    if rule.beside_baseline and rule.bounded:
        raise ThresholdsError(
            f"{rule.at('gate')}: {rule.name} has a bound, and gates beside a baseline alone. "
            "Expected one of both: a bound is judged without any baseline."
        )
    relative = rule.regression or rule.other_seed or rule.beside_baseline
    if rule.gate and not (relative or rule.bounded):
        raise ThresholdsError(
            f"{rule.at()}: {rule.name} bounds nothing. "
            "Expected min, max, bound, max_se or regression, or gate = false with a reason."
        )
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise ThresholdsError(
            f"{rule.at('min')}: {rule.name} has min {rule.min} > max {rule.max}: nothing can pass."
        )
    if rule.max_se is not None and rule.max_se < 0:
        raise ThresholdsError(f"{rule.at('max_se')}: max_se is negative: nothing can pass.")
    if rule.min is not None and spec.high is not None and rule.min > spec.high:
        raise ThresholdsError(
            f"{rule.at('min')}: {rule.name} cannot be above {spec.high}: nothing can pass."
        )
    if rule.max is not None and spec.low is not None and rule.max < spec.low:
        raise ThresholdsError(
            f"{rule.at('max')}: {rule.name} cannot be below {spec.low}: nothing can pass."
        )
    _check_forbids(rule, spec)
