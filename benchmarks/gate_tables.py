"""docs/gate.md: what gate_simulation.py found, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gate_damage import Variant
from benchmarks.gate_draws import SEEDS
from benchmarks.gate_families import FAMILIES
from pytest_sae.gate.rules import DEFAULT
from pytest_sae.numbers.bootstrap import Floats, share_estimate
from pytest_sae.numbers.plain import number

PAIRED, OTHER = "the same texts and seeds", "other texts and seeds"
SIGMAS = (2.0, 2.5, 3.0, 3.5)
BASELINES = 20  # repetitions that each repetition of a bundled dictionary is also compared with
MANY = f"{OTHER}, {BASELINES} baselines each"
FALSE_ALARMS, DETECTED = 0.01, 0.95
Run = Mapping[str, str]


def sigma_name(sigma: float) -> str:
    """Return how runs on other texts are called that were judged with a sigma of their own."""
    return f"sigma {sigma:g}"


@dataclass(frozen=True)
class Figure:
    """One metric over all repetitions.

    Args:
        value: its mean.
        se: the mean of the standard errors that it was given.
        spread: how far its values really lie apart, as a standard deviation.
    """

    value: float
    se: float
    spread: float

    @classmethod
    def of(cls, values: Floats, errors: Floats) -> Figure:
        """Sum up the values and standard errors of all repetitions."""
        return cls(float(values.mean()), float(errors.mean()), float(values.std(ddof=1)))


@dataclass(frozen=True)
class Outcome:
    """What became of one variant over all repetitions.

    Args:
        variant: the dictionary.
        runs: red verdicts of each repetition by metric, by the kind of comparison.
        values: of what gates, by metric.
    """

    variant: Variant
    runs: Mapping[str, Sequence[Run]]
    values: Mapping[str, Figure]


def share(runs: Sequence[Run]) -> float:
    """Return the share of runs that are red."""
    return sum(map(bool, runs)) / len(runs)


def write_tables(
    outcomes: Sequence[Outcome],
    families: Mapping[str, Sequence[str]],
    bundled_only: Sequence[str],
    output: Path,
) -> None:
    """Write the document: how it was made, false alarms, errors, detection, values.

    Args:
        outcomes: of all variants.
        families: what gates of each that is simulated.
        bundled_only: those that all but the bundled dictionaries were judged without.
        output: the file.
    """
    parts = [
        _HEAD,
        _simulated(families),
        _not_simulated([name for name in bundled_only if name in families]),
        _false_alarms(outcomes),
        _errors(outcomes),
        _detection(outcomes),
        _values(outcomes),
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


_HEAD = f"""# How often the gate is wrong

Made by `python -m benchmarks.gate_simulation`, on the bundled world, with the rules of
`evals/thresholds.toml` and, for what they are silent about, the default: worse by more than
{DEFAULT.rel:.0%} of the baseline *and* by more than {DEFAULT.sigma:g} standard errors of the \
difference.

Every dictionary is loaded, run and encoded once, and every family is measured up to its last step,
with each of {len(SEEDS)} seeds. A repetition then draws the units of each family with replacement,
as many as there are, one of the seeds, and the seed of every bootstrap; and gives them to the
estimators, the baseline and the gate of a run. Nothing is drawn from a standard error. A text that
several tasks share is drawn once for all of them, an entity once for all of its attributes, a
held-out text once for reconstruction and for the scale of TPP. Model, dictionary and training texts
are not drawn again. A run is red if any metric is that gates.

A run compares in one of two ways. On *other texts and seeds*, both values err independently. On
*the same texts and seeds*, which is what a build does with its own baseline, they err alike, and
the baseline's per-text values say how far, for metrics that keep any: the comparison is paired."""

_NOT_SIMULATED = f"""What the last column names was made {len(SEEDS)} times for each dictionary.
As far as it decides, the figures rest on {len(SEEDS)} independent measurements, and not on as many
as there are repetitions.

Not simulated: what a judge has a say in (`judge_calibration`, `shift`, `autointerp.failed`), and
the controls, below which a metric may not fall. SCR is simulated once a rule lets it gate."""


def _not_simulated(bundled_only: Sequence[str]) -> str:
    if not bundled_only:
        return _NOT_SIMULATED
    return (
        f"{_NOT_SIMULATED}\n\nDamaged dictionaries, and those trained again, were judged without "
        f"{' and '.join(bundled_only)}, to save time. More metrics can only turn more runs red: "
        "what is said of damage is a lower bound, what is said of other seeds too."
    )


def _simulated(families: Mapping[str, Sequence[str]]) -> str:
    lines = ["| family | gates | drawn | made anew with each seed |", "|---|---|---|---|"]
    for name, keys in families.items():
        gates, about = ", ".join(f"`{key}`" for key in keys), FAMILIES[name]
        lines.append(f"| {name} | {gates} | {about.drawn} | {about.remade} |")
    return "\n".join(lines)


def _false_alarms(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "## False alarms",
        "",
        f"Share of runs that are red although nothing changed; the goal is at most "
        f"{FALSE_ALARMS:.0%}. With 95 % interval, by the number of standard errors that a "
        f"regression must exceed (shipped: {DEFAULT.sigma:g}); and, as rules stand, when every run "
        f"is compared with {BASELINES} baselines in place of one: of the same runs, but more of "
        "what happens to them, by metric.",
        "",
        f"| dictionary | runs | {PAIRED} | {' | '.join(f'{OTHER}, {s:g}' for s in SIGMAS)} "
        f"| {MANY} | by |",
        "|---|---|---|" + "---|" * (len(SIGMAS) + 2),
    ]
    for each in outcomes:
        if not each.variant.of:
            cells = [_interval(each.runs[name]) for name in (PAIRED, *map(sigma_name, SIGMAS))]
            row = [each.variant.told, str(len(each.runs[PAIRED])), *cells]
            row += [f"{share(each.runs[MANY]):.2%}", _by(each.runs[MANY], 0.0)]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", *_retrained(outcomes)])


def _errors(outcomes: Sequence[Outcome]) -> str:
    bundled = [each for each in outcomes if not each.variant.of]
    keys = list(dict.fromkeys(key for each in bundled for key in each.values))
    lines = [
        "## Standard errors",
        "",
        "How far the values of a metric really lie apart over the repetitions (their standard "
        "deviation), in units of the standard error that it reports: 1 where that tells the truth, "
        "more where it leaves something out. The units of `dead_share` and `dense_share_10pct` are "
        "latents, which are not drawn here: their standard errors are too large for what is. "
        "`ravel` holds its masks fixed: what that leaves out is made up for by its rule in "
        "`evals/thresholds.toml`, which was set by what is seen here.",
        "",
        f"| dictionary | {' | '.join(map(_short, keys))} |",
        "|---|" + "---|" * len(keys),
    ]
    for each in bundled:
        ratios = [each.values[key].spread / each.values[key].se for key in keys]
        lines.append(f"| {each.variant.told} | {' | '.join(f'{r:.2f}' for r in ratios)} |")
    return "\n".join(lines)


def _retrained(outcomes: Sequence[Outcome]) -> list[str]:
    again = [each for each in outcomes if each.variant.of and not each.variant.damaged]
    if not again:
        return []
    return [
        "A dictionary that is trained again with another seed is another dictionary. On the same "
        "texts its difference is known so well that only the tolerance stands between it and a red "
        "run. The tolerances in `evals/thresholds.toml` are therefore wider than what these seeds "
        "differ by, as far as that is known.",
        "",
        f"| dictionary | red on {PAIRED} | by | red on {OTHER} | by |",
        "|---|---|---|---|---|",
        *(
            f"| {each.variant.told} "
            f"| {share(each.runs[PAIRED]):.0%} | {_by(each.runs[PAIRED], 0.0)} "
            f"| {share(each.runs[OTHER]):.0%} | {_by(each.runs[OTHER], 0.0)} |"
            for each in again
        ),
    ]


def _detection(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "## Known damage",
        "",
        f"Share of runs that are red; the goal is at least {DETECTED:.0%}. *By* names the metrics "
        "that are red in at least a tenth of the runs, with their share; a metric in bold fell "
        "below a bound of its own at least once, all others regressed.",
        "",
        f"| damage | to | runs | {PAIRED} | by | {OTHER} | by |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        if each.variant.damaged:
            alike, other = each.runs[PAIRED], each.runs[OTHER]
            lines.append(
                f"| {each.variant.told} | `{each.variant.of}` | {len(alike)} "
                f"| {share(alike):.1%} | {_by(alike)} | {share(other):.1%} | {_by(other)} |"
            )
    return "\n".join([*lines, *_misses(outcomes)])


def _misses(outcomes: Sequence[Outcome]) -> list[str]:
    """Return, for damage that other texts do not show, how far it stands out of the noise."""
    values = {each.variant.name: each.values for each in outcomes}
    lines = []
    for each in outcomes:
        if each.variant.damaged and share(each.runs[OTHER]) < DETECTED:
            before = values[each.variant.of]
            apart = {key: _apart(before[key], now) for key, now in each.values.items()}
            key = max(apart, key=lambda name: apart[name])
            lines += [
                "",
                f"*{each.variant.told}*, on other texts: what it changes most is {_short(key)}, "
                f"from {number(before[key].value)} to {number(each.values[key].value)}, "
                f"{apart[key]:.1f} standard errors of the difference where {DEFAULT.sigma:g} are "
                "asked for. The same texts show it, and so would more of them; asking for fewer "
                "standard errors would be paid for with false alarms.",
            ]
    return lines


def _apart(before: Figure, now: Figure) -> float:
    noise = math.hypot(before.se, now.se)
    return abs(now.value - before.value) / noise if noise else 0.0


def _by(runs: Sequence[Run], least: float = 0.1) -> str:
    names = sorted({name for run in runs for name in run})
    counts = {name: sum(name in run for run in runs) / len(runs) for name in names}
    bounded = {name for run in runs for name, verdict in run.items() if verdict == "fail"}
    told = [
        f"{'**' * (name in bounded)}{_short(name)}{'**' * (name in bounded)} {_rate(counts[name])}"
        for name in sorted(names, key=lambda name: -counts[name])
        if counts[name] >= least
    ]
    return ", ".join(told) or "-"


def _rate(rate: float) -> str:
    return f"{rate:.0%}" if rate >= 0.095 else f"{rate:.2%}"


def _short(key: str) -> str:
    metric, _, params = key.partition(":")
    for direction in ("intended", "spurious"):
        if direction in params:
            return f"{metric} ({direction})"
    return metric


def _interval(runs: Sequence[Run]) -> str:
    found = share_estimate("red", sum(map(bool, runs)), len(runs), "runs")
    assert found.ci is not None
    return f"{share(runs):.1%} ({found.ci[0]:.1%} to {found.ci[1]:.1%})"


def _values(outcomes: Sequence[Outcome]) -> str:
    keys = list(dict.fromkeys(key for each in outcomes for key in each.values))
    lines = [
        "## What was measured",
        "",
        "Mean value over the repetitions, ± mean standard error, of every metric that gates.",
        "",
        f"| dictionary | {' | '.join(map(_short, keys))} |",
        "|---|" + "---|" * len(keys),
    ]
    for each in outcomes:
        cells = [
            f"{each.values[key].value:.4f} ± {each.values[key].se:.4f}"
            if key in each.values
            else "-"
            for key in keys
        ]
        lines.append(f"| {each.variant.told} | {' | '.join(cells)} |")
    return "\n".join(lines)
