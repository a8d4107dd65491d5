"""docs/gate.md: what gate_simulation.py found, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gate_damage import Variant
from pytest_sae.bootstrap import share_estimate
from pytest_sae.gate.rules import DEFAULT
from pytest_sae.gate.verdict import number

PAIRED, OTHER = "the same texts and seeds", "other texts and seeds"
SIGMAS = (2.0, 2.5, 3.0, 3.5)
FALSE_ALARMS, DETECTED = 0.01, 0.95
Run = Mapping[str, str]


def sigma_name(sigma: float) -> str:
    """Return how runs on other texts are called that were judged with a sigma of their own."""
    return f"sigma {sigma:g}"


@dataclass(frozen=True)
class Outcome:
    """What became of one variant over all repetitions.

    Args:
        variant: the dictionary.
        runs: red verdicts of each repetition by metric, by the kind of comparison.
        values: mean value and mean standard error of what gates, by metric.
    """

    variant: Variant
    runs: Mapping[str, Sequence[Run]]
    values: Mapping[str, tuple[float, float]]


def share(runs: Sequence[Run]) -> float:
    """Return the share of runs that are red."""
    return sum(map(bool, runs)) / len(runs)


def write_tables(outcomes: Sequence[Outcome], output: Path) -> None:
    """Write the document: how it was made, false alarms, detection, values."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        "\n\n".join([_HEAD, _false_alarms(outcomes), _detection(outcomes), _values(outcomes)])
        + "\n",
        encoding="utf-8",
    )


_HEAD = f"""# How often the gate is wrong

Made by `python -m benchmarks.gate_simulation`, on the bundled world, with the rules of
`evals/thresholds.toml` and, for what they are silent about, the default: worse by more than
{DEFAULT.rel:.0%} of the baseline *and* by more than {DEFAULT.sigma:g} standard errors of the \
difference.

Every dictionary is loaded, run and encoded once. A repetition then draws the held-out texts with
replacement, the test texts of every SCR task with replacement within their quadrants (as many as
there are, both times), one of five sets of probes (fitted with five seeds, five fits each), and the
seed of every bootstrap; and gives them to the estimators, the baseline and the gate of a run.
Model, training texts and latents are not drawn again. A run is red if any metric is that gates.
Simulated are reconstruction, sparsity, behaviour and SCR, which is judged only where the
rules let it gate. Not simulated: the other families that gate, and what a judge has a say in.

A run compares in one of two ways. On *other texts and seeds*, both values err independently. On
*the same texts and seeds*, which is what a build does with its own baseline, they err alike, and
the baseline's per-text values say how far: the comparison is paired."""


def _false_alarms(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "## False alarms",
        "",
        f"Share of runs that are red although nothing changed; the goal is at most "
        f"{FALSE_ALARMS:.0%}. With 95 % interval, by the number of standard errors that a "
        f"regression must exceed (shipped: {DEFAULT.sigma:g}).",
        "",
        f"| dictionary | runs | {PAIRED} | {' | '.join(f'{OTHER}, {s:g}' for s in SIGMAS)} |",
        "|---|---|---|" + "---|" * len(SIGMAS),
    ]
    for each in outcomes:
        if not each.variant.of:
            cells = [_interval(each.runs[name]) for name in (PAIRED, *map(sigma_name, SIGMAS))]
            row = [each.variant.told, str(len(each.runs[PAIRED])), *cells]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", *_retrained(outcomes)])


def _retrained(outcomes: Sequence[Outcome]) -> list[str]:
    again = [each for each in outcomes if each.variant.of and not each.variant.damaged]
    if not again:
        return []
    return [
        "A dictionary that is trained again with another seed is another dictionary. On the same "
        "texts its difference is known so well that only the tolerance stands between it and a red "
        "run. The tolerance of `explained_variance` in `evals/thresholds.toml` is therefore wider "
        "than what these seeds differ by.",
        "",
        f"| dictionary | red on {PAIRED} | by | red on {OTHER} | by |",
        "|---|---|---|---|---|",
        *(
            f"| {each.variant.told} | {share(each.runs[PAIRED]):.0%} | {_by(each.runs[PAIRED])} "
            f"| {share(each.runs[OTHER]):.0%} | {_by(each.runs[OTHER])} |"
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
                f"from {number(before[key][0])} to {number(each.values[key][0])}, "
                f"{apart[key]:.1f} standard errors of the difference where {DEFAULT.sigma:g} are "
                "asked for. The same texts show it, and so would more of them; asking for fewer "
                "standard errors would be paid for with false alarms.",
            ]
    return lines


def _apart(before: tuple[float, float], now: tuple[float, float]) -> float:
    noise = math.hypot(before[1], now[1])
    return abs(now[0] - before[0]) / noise if noise else 0.0


def _by(runs: Sequence[Run]) -> str:
    names = sorted({name for run in runs for name in run})
    counts = {name: sum(name in run for run in runs) / len(runs) for name in names}
    bounded = {name for run in runs for name, verdict in run.items() if verdict == "fail"}
    told = [
        f"{'**' * (name in bounded)}{_short(name)}{'**' * (name in bounded)} {counts[name]:.0%}"
        for name in sorted(names, key=lambda name: -counts[name])
        if counts[name] >= 0.1
    ]
    return ", ".join(told) or "-"


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
            f"{number(each.values[key][0])} ± {number(each.values[key][1])}"
            if key in each.values
            else "-"
            for key in keys
        ]
        lines.append(f"| {each.variant.told} | {' | '.join(cells)} |")
    return "\n".join(lines)
