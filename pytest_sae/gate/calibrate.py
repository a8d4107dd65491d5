"""Bounds from SAEs of one's own that are known to be good: values in, rules out.

calibrate(good, bad, rate, one_recipe) -> Calibration
limit(reached, rate) -> the bound that another such SAE misses at that rate
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.stats import norm
from scipy.stats import t as students_t

from pytest_sae.errors import ReportError, ThresholdsError
from pytest_sae.families.registry import expected_of, known, place_of, spec_of
from pytest_sae.gate.bound_forms import BoundForm, Reached, forms
from pytest_sae.gate.bounds import parse_thresholds
from pytest_sae.gate.calibrated import Calibrated, Calibration, table
from pytest_sae.gate.judged import rejudged_against
from pytest_sae.gate.rules import Rule
from pytest_sae.numbers.keys import metric_key, parse_key
from pytest_sae.numbers.plain import number
from pytest_sae.records.made_alike import differences
from pytest_sae.records.relative import WORTHLESS
from pytest_sae.records.row import JudgedControl, Row

#: Share of SAEs like the good ones that miss a bound.
RATE = 0.01
_NO_SPREAD = 1e-9
# Controls that stand for damage: those that are worth nothing, and an SAE that was cut.
_DAMAGES = (*WORTHLESS, "best_k")


@dataclass(frozen=True)
class Known:
    """An SAE of which somebody says whether it is good.

    Args:
        name: unique among all of them.
        rows: what was measured of it, by key.
    """

    name: str
    rows: Mapping[str, Row]


def calibrate(
    good: Sequence[Known],
    bad: Sequence[Known] = (),
    rate: float = RATE,
    one_recipe: bool = False,
    damaged: Sequence[Known] = (),
) -> Calibration:
    """Return the rules that good SAEs keep surely, with what each is worth.

    Of every metric that has a better direction, at every setting, each good SAE has the strictest
    bound that its whole interval keeps. The rule's bound lies where one more SAE like them would
    miss it at the given rate, were they normally distributed, and never beyond what the worst of
    them keeps. It is a share of the way from the worthless controls to PCA where they were
    measured, else what has to lie between it and the worthless controls, else a minimum or a
    maximum.

    Args:
        good: SAEs that are known to be good, two at least.
        bad: SAEs that are known to be bad.
        rate: share of good SAEs that may miss a bound, for each bound.
        one_recipe: whether the good ones are runs of one recipe: how far they lie apart is then how
            much worse than a baseline of another seed is no regression.
        damaged: copies of a good SAE with one thing wrong, by what that is; they show what a bound
            catches, and set none.

    Raises:
        ReportError: less than two good SAEs, one that stands there twice, or SAEs that were not
            measured alike; says what differs.
    """
    good, bad = (sorted(each, key=lambda known: known.name) for each in (good, bad))
    _check(good, bad, damaged)
    keys = _keys([*good, *bad])
    measured = {parse_key(key)[0] for key in keys if _valued(key, good)}
    named = [key for key in keys if parse_key(key)[0] in measured]
    rules = tuple(_rule(key, good, bad, rate, one_recipe, damaged) for key in named)
    return Calibration(
        good=tuple(each.name for each in good),
        bad=tuple(each.name for each in bad),
        rate=rate,
        rules=rules,
        damaged=tuple(each.name for each in damaged),
        unmeasured=tuple(name for name in known() if name not in measured and _judgeable(name)),
    )


def limit(reached: Sequence[Reached], rate: float) -> float | None:
    """Return the bound that one more of the same kind would miss at a rate.

    It is the one-sided prediction limit of a normal distribution, `mean - t s sqrt(1 + 1/n)` with
    `s` the spread and `t` the quantile of Student's distribution with `n - 1` degrees of freedom:
    exact whatever mean and spread are. SAEs that happen to be alike are still known no better than
    their standard error, so `z` times that, the quantile of the normal distribution, is the least
    that is taken for `t s`.

    Args:
        reached: what each SAE reaches, the larger the better; two at least.
        rate: from 0 to 0.5.

    Returns:
        Never more than what all of them surely reach; None where nothing says how far apart they
        are.
    """
    levels = [each.surely for each in reached]
    spread = students_t.ppf(1 - rate, len(levels) - 1) * statistics.stdev(levels)
    error = norm.ppf(1 - rate) * statistics.fmean(each.error for each in reached)
    below = math.sqrt(1 + 1 / len(levels)) * max(spread, error)
    # What the last digits of floats differ by is no spread.
    if below < _NO_SPREAD * max(1.0, *map(abs, levels)):
        return None
    return _loosened(min(statistics.fmean(levels) - below, *levels), below)


def _loosened(bound: float, scale: float) -> float:
    """Round a bound to the digits that its distance to the values leaves, to the looser side."""
    digits = 1 - math.floor(math.log10(scale))
    return round(math.floor(bound * 10.0**digits) / 10.0**digits, digits)


def _check(good: Sequence[Known], bad: Sequence[Known], damaged: Sequence[Known]) -> None:
    if len(good) < 2:
        found = f"{len(good)} good SAE{'s' * (len(good) != 1)}"
        raise ReportError(
            f"there is {found}. Expected at least two, better five: how far they lie apart says "
            "how far another good one may be off."
        )
    seen: dict[str, str] = {}
    for each in (*good, *bad):
        mark = _fingerprint(each)
        if mark and mark in seen:
            raise ReportError(
                f"{each.name} is the same SAE as {seen[mark]}. Expected each of them once."
            )
        seen[mark] = each.name
    for key in _keys([*good, *bad]):
        everyone = (*good, *bad, *damaged)
        _check_alike([(each.name, each.rows[key]) for each in everyone if key in each.rows])


def _fingerprint(sae: Known) -> str:
    marks = (row.fingerprints.get("sae", "") for row in sae.rows.values())
    return next(filter(None, marks), "")


def _check_alike(rows: Sequence[tuple[str, Row]]) -> None:
    for name, row in rows[1:]:
        first, other = (_made_with(each) for each in (rows[0][1], row))
        differs = differences(first, other) if first and other else []
        if differs:
            raise ReportError(
                f"{row.key} of {name} was not measured as that of {rows[0][0]}: "
                f"{'; '.join(differs)}. Expected the same data, model and suite."
            )


def _made_with(row: Row) -> dict[str, str]:
    # A bad SAE may be one that reads another layer.
    return {kind: mark for kind, mark in row.fingerprints.items() if kind != "site"}


def _keys(saes: Iterable[Known]) -> list[str]:
    """Return the keys of what can be bounded, in the order of reports."""
    rows = {key: row for each in saes for key, row in each.rows.items() if _spelled(row)}
    return sorted(
        (key for key, row in rows.items() if row.direction != "none"),
        key=lambda key: (place_of(rows[key].metric), rows[key].order[1:3]),
    )


def _spelled(row: Row) -> bool:
    """Whether a file of bounds can name it."""
    try:
        metric, params = parse_key(row.key)
    except ValueError:
        return False
    return metric in known() and metric_key(metric, params) == row.key


def _judgeable(metric: str) -> bool:
    return spec_of(metric).direction != "none"


def _valued(key: str, saes: Iterable[Known]) -> list[Known]:
    return [each for each in saes if key in each.rows and each.rows[key].value is not None]


def _rule(
    key: str,
    good: Sequence[Known],
    bad: Sequence[Known],
    rate: float,
    one_recipe: bool,
    damaged: Sequence[Known],
) -> Calibrated:
    valued = _valued(key, good)
    if len(valued) < 2:
        return Calibrated(
            key, why=f"measured on {len(valued)} of {len(good)} good SAEs: two are needed"
        )
    whys = []
    for form in forms([each.rows[key] for each in valued]):
        tried = _Trial(key, form, tuple(good), tuple(bad), rate, tuple(damaged)).result()
        if isinstance(tried, Calibrated):
            return replace(tried, regression=_regression(key, valued, rate) if one_recipe else "")
        whys.append(tried)
    return Calibrated(key, why="; ".join(dict.fromkeys(whys)))


@dataclass(frozen=True)
class _Trial:
    """One form of bound for one metric at one setting, tried on all SAEs."""

    key: str
    form: BoundForm
    good: tuple[Known, ...]
    bad: tuple[Known, ...]
    rate: float
    damaged: tuple[Known, ...]

    def result(self) -> Calibrated | str:
        """Return the rule, or why this form is none."""
        there = _valued(self.key, self.good)
        reached = {each.name: self.form.strictest(each.rows[self.key]) for each in there}
        found = {name: each for name, each in reached.items() if each is not None}
        if len(found) < len(reached):
            return f"not measured beside what {self._told} needs"
        bound = limit(list(found.values()), self.rate)
        if bound is None:
            return "the good SAEs do not differ, and no error is known: another may be anywhere"
        if self.form.relative and bound <= 0:
            return f"no room for a bound: the good SAEs surely reach only {self._range(found)}"
        rule = _parsed(self.key, self.form.write(bound))
        if rule is None:
            return f"{self.form.write(bound)} would forbid nothing"
        for each in self.good:
            red = _red(each.rows.get(self.key), rule)
            if red:
                return f"{each.name} is red by {self.form.write(bound)}: {red}"
        return self._judged(rule, bound, found)

    @property
    def _told(self) -> str:
        return self.form.unit.strip() or "a minimum"

    def _judged(self, rule: Rule, bound: float, reached: Mapping[str, Reached]) -> Calibrated | str:
        bads = self._reds(rule, self.bad)
        controls = dict(self._controls(rule))
        if not self.form.relative and self._useless(bads, controls):
            passing = [name for name, red in (bads | controls).items() if not red]
            return f"{self.form.write(bound)} would let pass {', '.join(passing)}"
        return Calibrated(
            self.key,
            bound=self.form.write(bound),
            range=self._range(reached),
            judged=tuple(reached),
            alarms=tuple(self._alarms(reached)) if len(reached) > 2 else None,
            bads=bads,
            controls=controls,
            damages=self._reds(rule, self.damaged),
        )

    def _reds(self, rule: Rule, saes: Sequence[Known]) -> dict[str, bool]:
        return {
            each.name: _red(_bare(each.rows[self.key], rule), rule) != ""
            for each in _valued(self.key, saes)
        }

    def _useless(self, bads: Mapping[str, bool], controls: Mapping[str, bool]) -> bool:
        """Whether a minimum or a maximum catches no bad SAE, or misses what is worse by make."""
        metric = parse_key(self.key)[0]
        worse = [red for name, red in controls.items() if expected_of(metric, name) == "below"]
        damages = bads or controls
        return not all(worse) or (bool(damages) and not any(damages.values()))

    def _range(self, reached: Mapping[str, Reached]) -> str:
        levels = sorted(self.form.shown(each.surely) for each in reached.values())
        return f"{number(levels[0] + 0.0)} to {number(levels[-1] + 0.0)}{self.form.unit}"

    def _alarms(self, reached: Mapping[str, Reached]) -> Iterator[str]:
        """Give the good SAEs that are red by the bound that all others make."""
        for sae in _valued(self.key, self.good):
            others = [each for name, each in reached.items() if name != sae.name]
            bound = limit(others, self.rate)
            rule = None if bound is None else _parsed(self.key, self.form.write(bound))
            if rule is not None and _red(sae.rows[self.key], rule):
                yield sae.name

    def _controls(self, rule: Rule) -> Iterator[tuple[str, bool]]:
        """Give each damage that stands beside the good SAEs, and whether it is always red."""
        rows = [each.rows[self.key] for each in _valued(self.key, self.good)]
        for name in _DAMAGES:
            taken = [
                _as_sae(control, row)
                for row in rows
                for control in row.controls
                if control.control == name and control.expected != "same"
                if control.value is not None
            ]
            if taken:
                yield name, all(_red(_bare(each, rule), rule) for each in taken)


def _as_sae(control: JudgedControl, row: Row) -> Row:
    """Return the row of a control as if it were an SAE, beside the same controls."""
    return replace(
        row,
        value=control.value,
        se=control.se,
        ci=control.ci,
        n=control.n,
        # Paired with the SAE, and not with each other.
        controls=tuple(replace(each, paired=None) for each in row.controls),
    )


def _bare(row: Row, rule: Rule) -> Row:
    """Return a row beside those controls alone that a rule asks for: a run may measure no more."""
    named = rule.bound.names if rule.bound else ()
    return replace(row, controls=tuple(each for each in row.controls if each.control in named))


def _red(row: Row | None, rule: Rule) -> str:
    """Return why a rule fails a row, empty if it does not."""
    again = None if row is None else rejudged_against(row, None, rule, "")
    return (again.reason or again.verdict) if again and again.red else ""


def _parsed(key: str, line: str) -> Rule | None:
    """Return a rule as the gate reads it, None where it would refuse it."""
    text = f"version = 1\n\n{table(key)}\n{line}\n"
    try:
        return parse_thresholds(text.encode(), "calibrated").rules[key]
    except ThresholdsError:
        return None


def _regression(key: str, saes: Sequence[Known], rate: float) -> str:
    """Return how much worse one of two runs of a recipe is at a rate, as a line of TOML."""
    values = [value for each in saes if (value := each.rows[key].value) is not None]
    apart = students_t.ppf(1 - rate, len(values) - 1) * math.sqrt(2) * statistics.stdev(values)
    if apart == 0:
        return ""
    line = f"other_seed = {{ abs = {-_loosened(-apart, apart)!r} }}"
    return line if _parsed(key, line) else ""
