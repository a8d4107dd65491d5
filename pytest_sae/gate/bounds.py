"""Bounds: `thresholds.toml` becomes one rule per metric, each with the line it stands on."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pytest_sae.errors import ThresholdsError
from pytest_sae.keys import parse_key
from pytest_sae.metrics.registry import known, spec_of
from pytest_sae.stats import Param
from pytest_sae.suggest import suggest

T = TypeVar("T", bool, str)

_NUMBERS = ("min", "max", "max_se")
_KEYS = (*_NUMBERS, "gate", "reason", "regression")
_REGRESSION = ("abs", "rel", "z")


@dataclass(frozen=True)
class Rule:
    """The bounds of one metric, or of one metric at one setting.

    Args:
        name: as the file spells it: `scr`, `scr:n=20`.
        min: smallest value that passes, None for no bound.
        max: largest value that passes, None for no bound.
        max_se: largest standard error that counts as measured, None for no bound.
        gate: False for a metric that is shown and does not decide.
        reason: why the rule is what it is.
        regression: how much worse than a baseline is too much (abs, rel, z).
        file: the file, as shown to people.
        lines: line of the table's header (under "") and of each of its keys.
    """

    name: str
    min: float | None = None
    max: float | None = None
    max_se: float | None = None
    gate: bool = True
    reason: str = ""
    regression: Mapping[str, float] = field(default_factory=dict)
    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, key: str = "") -> int:
        """Line of a key, or of the table's header."""
        return self.lines.get(key, self.lines.get("", 1))

    def source(self, key: str = "") -> str:
        """Return `file:line` of a key, or of the table's header."""
        return f"{self.file}:{self.line(key)}"


@dataclass(frozen=True)
class Thresholds:
    """All rules of one file.

    Args:
        file: the file, as shown to people.
        sha256: of its bytes.
        rules: by name.
    """

    file: str
    sha256: str
    rules: Mapping[str, Rule]

    def rule_for(self, metric: str, params: Mapping[str, Param]) -> Rule | None:
        """Return the most specific rule that fits, None where the file is silent."""
        fitting = [rule for rule in self.rules.values() if _fits(rule, metric, params)]
        return max(
            fitting, key=lambda rule: (len(parse_key(rule.name)[1]), rule.name), default=None
        )


def _fits(rule: Rule, metric: str, params: Mapping[str, Param]) -> bool:
    name, wanted = parse_key(rule.name)
    return name == metric and all(
        key in params and str(params[key]) == str(value) for key, value in wanted.items()
    )


def load_thresholds(path: Path, shown: str | None = None) -> Thresholds:
    """Read a file of bounds.

    Args:
        path: the file.
        shown: how messages and reports call it; the path itself by default.

    Raises:
        ThresholdsError: not TOML, unknown metric or key, impossible bound; with file and line.
    """
    raw = path.read_bytes()
    return parse_thresholds(raw, shown or str(path))


def parse_thresholds(raw: bytes, shown: str) -> Thresholds:
    """Read bounds from bytes; `load_thresholds` says the rest."""
    text, document = _document(raw, shown)
    _only(document, ("version", "metrics"), "the file", _Place(shown, text, ""))
    if document.get("version") != 1 or isinstance(document["version"], bool):
        raise ThresholdsError(
            f"{shown}:1: version is {document.get('version')!r}. Expected a line version = 1."
        )
    tables = document.get("metrics", {})
    if not isinstance(tables, dict):
        raise ThresholdsError(f"{shown}:1: metrics is no table. Expected [metrics.NAME] tables.")
    rules = {name: _rule(name, table, _Place(shown, text, name)) for name, table in tables.items()}
    return Thresholds(shown, hashlib.sha256(raw).hexdigest(), rules)


def _document(raw: bytes, shown: str) -> tuple[str, dict[str, object]]:
    try:
        text = raw.decode("utf-8")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ThresholdsError(f"{shown}:1: not UTF-8 text ({error}).") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ThresholdsError(f"{shown}:{line[1] if line else 1}: not TOML: {error}") from None
    except RecursionError:
        raise ThresholdsError(f"{shown}:1: not usable as TOML: nested too deeply.") from None


@dataclass(frozen=True)
class _Place:
    """Where a table stands; tomllib knows no lines, so they are looked up in the text."""

    file: str
    text: str
    table: str

    def lines(self, keys: Sequence[str]) -> dict[str, int]:
        header = self._header()
        return {"": header, **{key: self._key(key, header) for key in keys}}

    def at(self, key: str = "") -> str:
        return f"{self.file}:{self.lines([key]).get(key, 1)}"

    def _header(self) -> int:
        if not self.table:
            return 1
        name = re.escape(self.table)
        header = rf"\s*\[\s*metrics\s*\.\s*(?:\"{name}\"|'{name}'|{name})\s*\]"
        return self._first(header) or self._first(rf".*{name}") or 1

    def _key(self, key: str, header: int) -> int:
        if not key:
            return header
        # At the start of a line, as a table of its own, or inside an inline table.
        quoted = rf"[\"']?{re.escape(key)}[\"']?\s*"
        pattern = rf"\s*{quoted}[=.]|\s*\[\s*{quoted}[.\]]|[^#]*[{{,]\s*{quoted}="
        if not self.table:
            return self._first(pattern) or 1
        found, until = self._first(pattern, header), self._first(r"\s*\[", header)
        return found if found and (not until or found < until) else header

    def _first(self, pattern: str, after: int = 0) -> int:
        numbered = enumerate(self.text.splitlines(), 1)
        return next((n for n, line in numbered if n > after and re.match(pattern, line)), 0)


def _rule(name: str, table: object, place: _Place) -> Rule:
    _check_name(name, place)
    if not isinstance(table, dict):
        raise ThresholdsError(f"{place.at()}: {name} is no table. Expected [metrics.{name}].")
    _check_no_subtable(name, table, place)
    _only(table, _KEYS, f"[metrics.{name}]", place)
    numbers = {key: _number(table[key], key, place) for key in _NUMBERS if key in table}
    rule = Rule(
        name=name,
        gate=_typed(table, "gate", bool, True, place),
        reason=_typed(table, "reason", str, "", place).strip(),
        regression=_regression(table.get("regression", {}), place),
        file=place.file,
        lines=place.lines(list(table)),
        **numbers,
    )
    _check_bounds(rule)
    return rule


def _check_name(name: str, place: _Place) -> None:
    try:
        metric, _ = parse_key(name)
    except ValueError as error:
        raise ThresholdsError(f"{place.at()}: {error}") from None
    if metric not in known():
        raise ThresholdsError(
            f"{place.at()}: unknown metric {metric!r}.{suggest(metric, known())} "
            f"Known: {', '.join(known())}."
        )


def _check_no_subtable(name: str, table: Mapping[str, object], place: _Place) -> None:
    # [metrics.scr.canonical] is TOML for a table inside [metrics.scr].
    for key in table:
        if f"{name}.{key}" in known():
            raise ThresholdsError(
                f"{place.file}:{_Place(place.file, place.text, f'{name}.{key}')._header()}: "
                f'a name with a dot needs quotes. Expected [metrics."{name}.{key}"].'
            )


def _only(table: Mapping[str, object], valid: Sequence[str], where: str, place: _Place) -> None:
    for key in table:
        if key not in valid:
            raise ThresholdsError(
                f"{place.at(key)}: unknown key {key!r} in {where}.{suggest(key, valid)} "
                f"Known: {', '.join(valid)}."
            )


def _number(value: object, key: str, place: _Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ThresholdsError(f"{place.at(key)}: {key} is {value!r}. Expected a finite number.")
    return float(value)


def _typed(table: Mapping[str, object], key: str, kind: type[T], default: T, place: _Place) -> T:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise ThresholdsError(
            f"{place.at(key)}: {key} is {value!r}. Expected a {kind.__name__} value."
        )
    return value


def _regression(table: object, place: _Place) -> dict[str, float]:
    if not isinstance(table, dict):
        raise ThresholdsError(
            f"{place.at('regression')}: regression is {table!r}. "
            "Expected a table such as { abs = 0.01, z = 2.0 }."
        )
    _only(table, _REGRESSION, "regression", _Place(place.file, place.text, place.table))
    numbers = {key: _number(value, key, place) for key, value in table.items()}
    for key, number in numbers.items():
        if number < 0:
            raise ThresholdsError(f"{place.at('regression')}: {key} is negative.")
    return numbers


def _check_bounds(rule: Rule) -> None:
    spec = spec_of(parse_key(rule.name)[0])
    if not rule.gate and not rule.reason:
        raise ThresholdsError(
            f"{rule.source('gate')}: {rule.name} has gate = false without a reason. "
            'Expected a line reason = "why it does not decide".'
        )
    if rule.gate and not rule.regression and _unbounded(rule):
        raise ThresholdsError(
            f"{rule.source()}: {rule.name} bounds nothing. "
            "Expected min, max or max_se, or gate = false with a reason."
        )
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise ThresholdsError(
            f"{rule.source('min')}: {rule.name} has min {rule.min} > max {rule.max}: "
            "nothing can pass."
        )
    if rule.max_se is not None and rule.max_se < 0:
        raise ThresholdsError(f"{rule.source('max_se')}: max_se is negative: nothing can pass.")
    if rule.min is not None and spec.high is not None and rule.min > spec.high:
        raise ThresholdsError(
            f"{rule.source('min')}: {rule.name} cannot be above {spec.high}: nothing can pass."
        )
    if rule.max is not None and spec.low is not None and rule.max < spec.low:
        raise ThresholdsError(
            f"{rule.source('max')}: {rule.name} cannot be below {spec.low}: nothing can pass."
        )


def _unbounded(rule: Rule) -> bool:
    return rule.min is None and rule.max is None and rule.max_se is None
