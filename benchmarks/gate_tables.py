"""docs/gate.md: what gate_simulation.py found, as tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gate_concepts import ASKED, OFFERED, WANTED_TOLD
from benchmarks.gate_damage_tables import TABLES, TRUTH
from benchmarks.gate_draws import SEEDS
from benchmarks.gate_families import FAMILIES
from benchmarks.gate_outcomes import BASELINES, Figure, Outcome, Reds, share
from benchmarks.gate_worlds import Kind
from pytest_sae.gate.rules import DEFAULT
from pytest_sae.numbers.bootstrap import share_estimate
from pytest_sae.numbers.plain import number

FALSE_ALARMS, DETECTED = 0.01, 0.95
_FEW = 0.10  # of runs, that a metric must be red in to be named where much is red


@dataclass(frozen=True)
class Seen:
    """What became of the dictionaries of one world.

    Args:
        world: its name.
        families: that were simulated.
        texts: of the corpus, that were drawn from.
        outcomes: of its dictionaries.
    """

    world: str
    families: Sequence[str]
    texts: int
    outcomes: Sequence[Outcome]


def write_tables(seen: Sequence[Seen], chosen: argparse.Namespace, output: Path) -> None:
    """Write the document: how it was made, the rates, then every dictionary, then the errors.

    Args:
        seen: the worlds.
        chosen: the command's arguments.
        output: the file.
    """
    parts = [_HEAD, _drawn(seen, chosen), _rates(seen), _bounds(seen), _regressions(seen),
             _concepts(seen), _errors(seen), *_damages(chosen)]  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _damages(chosen: argparse.Namespace) -> list[str]:
    """What gate_damages.py and gate_truth.py have written, if they have."""
    files = [chosen.work / name for name in (TABLES, TRUTH)]
    return [file.read_text(encoding="utf-8").strip() for file in files if file.is_file()]


_HEAD = f"""# How often the gate is wrong

Made by `python -m benchmarks.gate_simulation --worlds DIR --trained DIR`, with the rules of
`evals/thresholds.toml` and, for what they are silent about, the default: worse by more than
{DEFAULT.rel:.0%} of the baseline *and* by more than {DEFAULT.sigma:g} standard errors of the \
difference. The worlds are the bundled one
and those of [foreign.md](foreign.md), where what a real run says of each dictionary stands.

Every dictionary is loaded, run and encoded once, with the controls that a run measures beside it. A
repetition then draws texts with replacement, as many as there are, the same for the dictionary and
its controls, and gives them to the estimators, the rules and the baseline of a run; nothing is
drawn from a standard error. Model, dictionary and the weights of controls are not drawn again. A
run is red if any metric is that gates."""


def _drawn(seen: Sequence[Seen], chosen: argparse.Namespace) -> str:
    there = {name for each in seen for name in each.families}
    lines = ["| family | drawn | made anew with each seed | worlds |", "|---|---|---|---|"]
    for name, about in FAMILIES.items():
        if name in there:
            worlds = ", ".join(each.world for each in seen if name in each.families)
            lines.append(f"| {name} | {about.drawn} | {about.remade} | {worlds} |")
    texts = ", ".join(f"{each.world} {each.texts}" for each in seen)
    without = ", ".join(sorted(there & set(chosen.good_only))) or "nothing"
    absent = "".join(f"{name}, " for name in FAMILIES if name not in there)
    return "\n".join([
        *lines,
        "",
        f"{chosen.repetitions} repetitions of each good dictionary, {chosen.of_others} of each "
        f"other one; texts of the corpus: {texts}; {len(SEEDS)} seeds. "
        f"The good ones alone with {without}, to save time. Not simulated: {absent}"
        "what a judge has a say in (`judge_calibration`, `shift`, `autointerp.failed`).",
    ])  # fmt: skip


def _of(seen: Sequence[Seen], *kinds: Kind) -> list[Outcome]:
    return [each for world in seen for each in world.outcomes if each.variant.kind in kinds]


def _runs(outcomes: Sequence[Outcome], of: Callable[[Outcome], Sequence[Reds]]) -> list[Reds]:
    return [run for each in outcomes for run in of(each)]


def _rates(seen: Sequence[Seen]) -> str:
    good, again = _of(seen, "good"), _of(seen, "again")
    damaged = [each for each in _of(seen, "damaged") if each.alike]
    many = " \\*"
    rows = [
        ("good and red by a bound", _runs([*good, *again], lambda each: each.bounds), "at most 1%"),
        ("worthless and red", _runs(_of(seen, "worthless"), lambda each: each.bounds), "100%"),
        (f"unchanged and regressed, on other texts{many}", _runs(good, lambda each: each.other),
         "at most 1%"),
        (f"the same, did `tpp.rescaled` decide too ({', '.join(_worlds_of(seen, OFFERED))}){many}",
         _with_offered(good), "at most 1%"),
        ("unchanged and regressed, were two standard errors asked for in place of "
         f"{DEFAULT.sigma:g}", _runs(good, lambda each: each.at_two), "-"),
        ("another seed and regressed, on the same texts", _runs(again, lambda each: each.alike),
         "at most 1%"),
        ("another seed and regressed, on other texts", _runs(again, lambda each: each.other),
         "at most 1%"),
        ("damaged and red by a bound", _runs(damaged, lambda each: each.bounds), "-"),
        ("damaged and regressed, on the same texts", _runs(damaged, lambda each: each.alike),
         "at least 95%"),
        ("damaged and regressed, on other texts", _runs(damaged, lambda each: each.other), "-"),
    ]  # fmt: skip
    lines = ["## Rates", "", "| of all dictionaries | runs | share | goal |", "|---|---|---|---|"]
    for what, runs, goal in rows:
        apart = len(runs) // BASELINES if many in what else len(runs)
        lines.append(f"| {what} | {len(runs)} | {_share(runs, apart)} | {goal} |")
    told = (
        f"\\* An unchanged dictionary is compared with {BASELINES} baselines for each repetition, "
        "which are not independent of each other: the interval is that of as many comparisons as "
        "there are repetitions."
    )
    return "\n".join([*lines, "", told, *_missed(seen)])


def _worlds_of(seen: Sequence[Seen], key: str) -> list[str]:
    return [
        world.world
        for world in seen
        if any(key in each.values for each in world.outcomes if each.variant.kind == "good")
    ]


def _with_offered(good: Sequence[Outcome]) -> list[Reds]:
    """Runs on other texts as they are with the concept metric that may be asked to decide."""
    return [
        {**run, **{key: name for key, name in more.items() if key == OFFERED}}
        for each in good
        if OFFERED in each.values
        for run, more in zip(each.other, each.concepts, strict=True)
    ]


def _missed(seen: Sequence[Seen]) -> Iterator[str]:
    """Say of which dictionaries a goal is missed."""
    told = {
        "Good, and red by a bound more often than that": _names(
            seen, ("good", "again"), lambda each: share(each.bounds) > FALSE_ALARMS
        ),
        "Worthless, and green at least once": _names(
            seen, ("worthless",), lambda each: share(each.bounds) < 1
        ),
        "Another seed, and regressed more often than that": _names(
            seen,
            ("again",),
            lambda each: any(share(runs) > FALSE_ALARMS for runs in (each.alike, each.other)),
        ),
        f"Damaged, and on the same texts seen in less than {DETECTED:.0%}": _names(
            seen, ("damaged",), lambda each: bool(each.alike) and share(each.alike) < DETECTED
        ),
    }
    for what, names in told.items():
        yield ""
        yield f"{what}: {', '.join(names) or 'none'}."
    yield from _changes(seen)


def _changes(seen: Sequence[Seen]) -> Iterator[str]:
    """Say how much a damage changes that a baseline does not see."""
    for world in seen:
        before = next((each for each in world.outcomes if each.variant.name == "topk"), None)
        for each in world.outcomes:
            missed = each.variant.kind == "damaged" and each.alike and share(each.alike) < DETECTED
            if before and missed:
                moved = [
                    f"{name} from {number(before.values[name].value)} to {number(now.value)}"
                    for name in ("explained_variance", "ce_recovered")
                    if (now := each.values.get(name)) is not None
                ]
                yield ""
                yield (
                    f"*{each.variant.told}* of {world.world} moves {' and '.join(moved)}: less "
                    "than the rules' tolerances."
                )


def _names(
    seen: Sequence[Seen], kinds: Sequence[Kind], which: Callable[[Outcome], bool]
) -> list[str]:
    return [
        f"{world.world}/{each.variant.name}"
        for world in seen
        for each in world.outcomes
        if each.variant.kind in kinds and which(each)
    ]


_BY_BOUNDS = """Share of runs that are red without any baseline. *By* names the metrics that are
red in a tenth of the runs, or at all where the dictionary is good. A bound asks for what principal
components reach, as many as *this* dictionary has active latents: one that lost half of its latents
is held to less, and where good dictionaries are far above components (`stories`), one that lost
much of that still passes. To see it takes a baseline."""


def _bounds(seen: Sequence[Seen]) -> str:
    lines = [
        "## By bounds alone",
        "",
        _BY_BOUNDS,
        "",
        "| world | dictionary | is | explained_variance | ce_recovered | red | by |",
        "|---|---|---|---|---|---|---|",
    ]
    for world in seen:
        for each in world.outcomes:
            least = _FEW if each.variant.kind in ("damaged", "worthless") else 0.0
            cells = [world.world, each.variant.told, each.variant.kind]
            cells += [_figure(each, metric) for metric in ("explained_variance", "ce_recovered")]
            cells += [_rate(share(each.bounds)), _by(each.bounds, least)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure(outcome: Outcome, metric: str) -> str:
    figure = outcome.values.get(metric)
    return f"{number(figure.value)} ± {figure.se:.2g}" if figure else "-"


def _regressions(seen: Sequence[Seen]) -> str:
    lines = [
        "## Beside a baseline",
        "",
        "Share of runs in which something regressed: from the same dictionary, where it is good; "
        "else from `topk`. On *other texts* both values err independently. On *the same texts*, "
        "which is what a build does with its own baseline, they err alike, and the comparison is "
        "paired, text by text.",
        "",
        "| world | dictionary | is | the same texts | by | other texts | by |",
        "|---|---|---|---|---|---|---|",
    ]
    for world in seen:
        for each in world.outcomes:
            if not each.other:
                continue
            good = each.variant.kind in ("good", "again")
            cells = [world.world, each.variant.told, each.variant.kind]
            for runs in (each.alike, each.other):
                cells += [_rate(share(runs)), _by(runs, 0.0 if good else _FEW)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


_WANTED = f"""Most concept metrics decide nothing by default. What would have been said of them by
{WANTED_TOLD}: *false alarms* is the share of
runs in which an unchanged dictionary would have been worse on other texts, training texts too,
*apart* how far values lie apart in units of their standard error. With 3 of these in place of 3.6,
`tpp.rescaled` would alone be red by chance in 1.7 % of the runs of `topk` on `neox`, where its
values lie 1.19 of them apart. Which damages they see stands in *Who sees what*."""


def _concepts(seen: Sequence[Seen]) -> str:
    lines = [
        "## Were concept metrics to decide",
        "",
        _WANTED,
        "",
        "| world | dictionary | metric | value | apart | false alarms |",
        "|---|---|---|---|---|---|",
    ]
    for world in seen:
        for each in world.outcomes:
            if each.variant.kind == "good":
                for key in (key for key in ASKED if key in each.values):
                    cells = [world.world, each.variant.told, _few(key), _figure(each, key)]
                    cells += [_ratio(each.values[key]), _alarms(each, key)]
                    lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _few(key: str) -> str:
    return key.replace("direction=", "").replace(":n=20", "")


def _alarms(outcome: Outcome, key: str) -> str:
    return _rate(sum(key in run for run in outcome.concepts) / len(outcome.concepts))


def _errors(seen: Sequence[Seen]) -> str:
    good = [(world.world, each) for world in seen for each in world.outcomes
            if each.variant.kind == "good"]  # fmt: skip
    keys = list(dict.fromkeys(key for _, each in good for key in each.values))
    margins = list(dict.fromkeys(key for _, each in good for key in each.margins))
    heads = [*map(_short, keys), *(f"{_short(key)}, to its bound" for key in margins)]
    lines = [
        "## Standard errors",
        "",
        "How far values really lie apart over the repetitions (their standard deviation), in units "
        "of the standard error that they are given: 1 where that tells the truth, more where it "
        "leaves something out. *To its bound* is the same of the distance to a bound that controls "
        "set, whose error is that of the value and its controls on the same texts. The units of "
        "`dead_share` and `dense_share_10pct` are latents, which are not drawn here. Values of "
        "`ravel`, whose masks are trained anew with each seed, lie 1.24 of its error apart on the "
        "bundled `topk`, for which its rule makes up.",
        "",
        f"| world | dictionary | {' | '.join(heads)} |",
        f"|---|---|{'---|' * len(heads)}",
    ]
    for world, each in good:
        cells = [world, each.variant.told, *(_ratio(each.values.get(key)) for key in keys)]
        cells += [_ratio(each.margins.get(key)) for key in margins]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(figure: Figure | None) -> str:
    return f"{figure.spread / figure.se:.2f}" if figure and figure.se else "-"


def _by(runs: Sequence[Reds], least: float) -> str:
    names = sorted({name for run in runs for name in run})
    rates = {name: sum(name in run for run in runs) / len(runs) for name in names}
    told = [
        f"{_short(name)} {_rate(rate)}{_undecided(runs, name)}"
        for name, rate in sorted(rates.items(), key=lambda each: -each[1])
        if rate >= least
    ]
    return ", ".join(told) or "-"


def _undecided(runs: Sequence[Reds], name: str) -> str:
    return " (undecided)" if {run.get(name) for run in runs if name in run} == {"undecided"} else ""


def _rate(rate: float) -> str:
    return f"{rate:.0%}" if rate >= 0.095 or rate == 0 else f"{rate:.2%}"


def _short(key: str) -> str:
    return key.partition(":")[0]


def _share(runs: Sequence[Reds], apart: int) -> str:
    """A share and its interval, which is that of so many runs as are independent."""
    if not runs:
        return "-"
    found = share_estimate("red", round(share(runs) * apart), apart, "runs")
    assert found.ci is not None
    return f"{share(runs):.2%} ({found.ci[0]:.1%} to {found.ci[1]:.1%})"
