"""What the gate says of the repetitions of one dictionary, by its bounds and beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.gate_concepts import ASKED, asked
from benchmarks.gate_worlds import Variant
from pytest_sae.gate.baseline import Baseline, entries_of
from pytest_sae.gate.judged import judged
from pytest_sae.gate.rules import Rule, Thresholds
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.records.measured_row import measured_row
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.relative import Margin
from pytest_sae.records.verdicts import Verdict

BASELINES = 20  # repetitions that each repetition of a good dictionary is compared with
REFUSED = "refused"


@dataclass(frozen=True)
class Refused:
    """A repetition in which the dictionary was refused: red, whatever it is asked for.

    Args:
        why: the sentence.
    """

    why: str


Run = Sequence[Measurement] | Refused
Reds = Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """One metric, or how far it lies from its bound, over all repetitions.

    Args:
        value: its mean.
        se: the mean of the standard errors that it was given.
        spread: how far its values really lie apart, as a standard deviation.
    """

    value: float
    se: float
    spread: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Figure:
        """Sum up the values and standard errors of all repetitions."""
        values: Floats = np.array([value for value, _ in pairs])
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return cls(float(values.mean()), float(np.mean([se for _, se in pairs])), spread)


@dataclass(frozen=True)
class Outcome:
    """What became of one dictionary over all repetitions.

    Args:
        variant: the dictionary.
        bounds: what is red by a bound in each repetition, by metric.
        alike: what regressed from the baseline on the same texts; empty without a baseline.
        other: what regressed from baselines on other texts; likewise.
        at_two: the same where two standard errors of the difference are asked for; good ones alone.
        concepts: what would have regressed on other texts, were concept metrics to decide; good
            ones alone.
        values: of what gates, by metric.
        margins: how far that is from bounds that controls set, by metric.
    """

    variant: Variant
    bounds: Sequence[Reds]
    alike: Sequence[Reds] = ()
    other: Sequence[Reds] = ()
    at_two: Sequence[Reds] = ()
    concepts: Sequence[Reds] = ()
    values: Mapping[str, Figure] = field(default_factory=dict)
    margins: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """It in one line."""
        shares = {"bounds": self.bounds, "alike": self.alike, "other": self.other}
        rates = [f"{name} {share(each):.1%}" for name, each in shares.items() if each]
        return f"{self.variant.name}: {', '.join(rates)}"


def share(runs: Sequence[Reds]) -> float:
    """Return the share of runs that are red."""
    return sum(map(bool, runs)) / len(runs)


def outcome(
    variant: Variant, before: Sequence[Run], now: Sequence[Run], rules: Thresholds
) -> Outcome:
    """Return what the gate says of all repetitions of a dictionary.

    Args:
        variant: the dictionary.
        before: repetitions of what it is compared with; none for no baseline.
        now: its own.
        rules: of the suite.
    """
    held = [each for each in now if not isinstance(each, Refused)]
    bounds = [_by_bounds(each, rules) for each in now]
    figures = _figures(held), _margins(held, rules)
    if not before or len(held) < len(now):
        return Outcome(variant, bounds, values=figures[0], margins=figures[1])
    good = [each for each in before if not isinstance(each, Refused)]
    rules = rules.of_other_seed() if variant.kind == "again" else rules
    is_good, wanted = variant.kind == "good", asked()
    # Of as many comparisons as repetitions alone, a rate below one in a hundred cannot be told.
    lags = range(1, BASELINES + 1) if is_good else (1,)
    apart = [baseline_of(each, rules, variant.name) for each in good]
    shifted = [
        (apart[(place + lag) % len(good)], held[place])
        for lag in lags
        for place in range(len(held))
    ]
    alike = [
        (baseline_of(old, rules, variant.name, paired=True), new)
        for old, new in zip(good, held, strict=False)
    ]
    return Outcome(
        variant,
        bounds,
        alike=[regressed(new, rules, baseline) for baseline, new in alike],
        other=[regressed(new, rules, baseline) for baseline, new in shifted],
        # A baseline for each is enough for a rate of several in a hundred.
        at_two=[
            regressed(new, rules, baseline, 2.0)
            for baseline, new in shifted[: len(held)]
            if is_good
        ],
        concepts=[
            regressed([each for each in new if each.key in ASKED], wanted, baseline)
            for baseline, new in shifted
            if is_good
        ],
        values=figures[0],
        margins=figures[1],
    )


def _by_bounds(run: Run, rules: Thresholds) -> Reds:
    if isinstance(run, Refused):
        return {REFUSED: "refused"}
    verdicts = {each.key: _judged(each, _rule(each, rules)) for each in run}
    return {key: each.name for key, each in verdicts.items() if each.red}


def _rule(each: Measurement, rules: Thresholds) -> Rule | None:
    return rules.rule_for(each.estimate.metric, each.estimate.params, each.sae)


def _judged(each: Measurement, rule: Rule | None, baseline: Baseline | None = None) -> Verdict:
    influence = each.estimate.influence
    against = None
    if baseline is not None:
        key = (each.sae, each.key)
        against = baseline.against(key, each.fingerprints, influence=influence)
    return judge(each.estimate, rule, "", against, each.controls, each.spec.direction)


def beside(before: Sequence[Measurement], now: Sequence[Measurement], rules: Thresholds) -> Reds:
    """Return what is worse than in a baseline on the same texts, whatever the bounds say of it.

    Args:
        before: what was measured of the dictionary that is the baseline.
        now: of the other one.
        rules: of the suite.
    """
    return regressed(now, rules, baseline_of(before, rules, now[0].sae, paired=True))


def baseline_of(
    before: Sequence[Measurement], rules: Thresholds, sae: str, paired: bool = False
) -> Baseline:
    """Return what was measured of a dictionary as the baseline of another.

    Args:
        before: what was measured.
        rules: of the suite.
        sae: the other one.
        paired: whether both are measured on the same texts.
    """
    # A value that misses its bound, or has no controls for one, is a baseline all the same.
    rows = [judged(measured_row(each, ""), _judged(each, _free(each, rules))) for each in before]
    kept = {(each.sae, each.key): each.estimate.influence for each in before} if paired else {}
    return Baseline("baseline", [replace(each, sae=sae) for each in entries_of(rows, kept)])


def regressed(
    now: Sequence[Measurement], rules: Thresholds, baseline: Baseline, sigma: float | None = None
) -> Reds:
    """Return what is worse than a baseline, whatever the bounds say of it.

    Args:
        now: what was measured.
        rules: of the suite.
        baseline: of `baseline_of`.
        sigma: standard errors that are asked for, None for what the rules say.
    """
    verdicts = {each.key: _regression(each, _free(each, rules), baseline, sigma) for each in now}
    return {key: name for key, name in verdicts.items() if name == "regressed"}


def _free(each: Measurement, rules: Thresholds) -> Rule | None:
    """Return a rule without its bounds: they come first, and would hide what a baseline says."""
    rule = _rule(each, rules)
    return rule and replace(rule, min=None, max=None, bound=None, max_se=None, max_rel_se=None)


def _regression(
    each: Measurement, free: Rule | None, baseline: Baseline, sigma: float | None
) -> str:
    allowed = free and free.allowed(each.spec.direction)
    if free and allowed and sigma is not None:
        free = replace(free, regression=replace(allowed, sigma=sigma))
    return _judged(replace(each, controls=()), free, baseline).name


def _figures(runs: Sequence[Sequence[Measurement]]) -> dict[str, Figure]:
    found: dict[str, list[tuple[float, float]]] = {}
    for each in (each for run in runs for each in run):
        if each.estimate.value is not None:
            found.setdefault(each.key, []).append((each.estimate.value, each.estimate.se or 0.0))
    return {key: Figure.of(pairs) for key, pairs in found.items()}


def _margins(runs: Sequence[Sequence[Measurement]], rules: Thresholds) -> dict[str, Figure]:
    found: dict[str, list[tuple[float, float]]] = {}
    for each in (each for run in runs for each in run):
        estimate, rule = each.estimate, rules.rule_for(each.estimate.metric, each.estimate.params)
        if rule is None or rule.bound is None or estimate.value is None:
            continue
        margin = rule.bound.margin(estimate.value, estimate.se, each.controls, each.spec.direction)
        if isinstance(margin, Margin):
            half = (margin.high - margin.low) / 2 / rule.bound.sigma
            found.setdefault(each.key, []).append(((margin.low + margin.high) / 2, half))
    return {key: Figure.of(pairs) for key, pairs in found.items()}
