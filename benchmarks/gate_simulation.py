"""How often the gate is wrong: false alarms, and known damage that it lets pass.

    python -m benchmarks.gate_simulation [--repetitions 200] [--work DIR] [--output docs/gate.md]

Every dictionary is loaded, run and encoded once, by the same `EvalSession` as in a run of the
suite, and every family that gates without a judge is measured up to its last step, with five
seeds. A repetition (`gate_draws`) draws

- the held-out texts of the corpus, with replacement, as many as there are;
- the labelled test texts, with replacement within the cells of their tasks, as many as there are;
- the entities of RAVEL and the groups of the principled tasks, likewise;
- one of the five seeds that everything random was made with: probe fits, masks, edits, orders;
- a seed for every bootstrap;

and gives them to the estimators of the suite (`gate_reconstruction`, `gate_probes`,
`gate_causal`), the values to `gate.baseline` and `gate.verdict.judge`, with the rules of
`evals/thresholds.toml`. Training texts, model and activations are not drawn again. A run is red if
any metric that gates is. Not in it: what a judge has a say in, and the controls.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate_damage import VARIANTS, Variant, make
from benchmarks.gate_draws import Draws
from benchmarks.gate_families import FAMILIES
from benchmarks.gate_tables import (
    BASELINES,
    MANY,
    OTHER,
    PAIRED,
    SIGMAS,
    Figure,
    Outcome,
    share,
    sigma_name,
    write_tables,
)
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.gate.baseline import Baseline, entries_of
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.judged import judged
from pytest_sae.gate.rules import Thresholds
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key, parse_key
from pytest_sae.options import Options
from pytest_sae.records.measured_row import measured_row
from pytest_sae.records.measurement import Measurement
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.session import EvalSession


def verdicts(
    before: Sequence[Measurement],
    now: Sequence[Measurement],
    rules: Thresholds,
    sigma: float | None = None,
    paired: bool = False,
) -> dict[str, str]:
    """Return the red verdicts of a run, by metric, as the gate gives them.

    Args:
        before: of the baseline.
        now: of the run.
        rules: of the suite.
        sigma: in place of that of the rules.
        paired: whether both were made on the same texts, and the baseline kept what each adds.
    """
    rows = [judged(measured_row(each, ""), judge(each.estimate, None)) for each in before]
    kept = {(each.sae, each.key): each.estimate.influence for each in before} if paired else {}
    entries = [replace(each, sae=now[0].sae) for each in entries_of(rows, kept)]
    baseline = Baseline("baseline", entries)
    red: dict[str, str] = {}
    for each in now:
        estimate, direction = each.estimate, each.spec.direction
        rule = rules.rule_for(estimate.metric, estimate.params, each.sae)
        if rule is None or not rule.gate:
            continue
        allowed = rule.allowed(direction)
        if sigma is not None and allowed is not None:
            rule = replace(rule, regression=replace(allowed, sigma=sigma))
        against = baseline.against(
            (each.sae, each.key), each.fingerprints, influence=estimate.influence
        )
        verdict = judge(estimate, rule, "no rule", against, direction=direction)
        if verdict.red:
            red[each.key] = verdict.name
    return red


def simulate(session: EvalSession, chosen: argparse.Namespace, rules: Thresholds) -> list[Outcome]:
    """Return what becomes of every variant.

    Args:
        session: of the suite.
        chosen: the command's arguments.
        rules: of the suite.
    """
    families = gating(chosen.families, rules)
    cheap = {name: keys for name, keys in families.items() if name not in chosen.bundled_only}
    runs: dict[str, list[list[Measurement]]] = {}
    found = []
    for variant in VARIANTS:
        count = (chosen.of_damage if variant.of else chosen.repetitions) + 1
        measured = cheap if variant.of else families
        runs[variant.name] = _measured(session, variant.name, chosen.work, count, measured)
        before = runs[variant.of or variant.name][:count]
        found.append(_outcome(variant, before, runs[variant.name], rules))
        print(variant.told, {name: share(each) for name, each in found[-1].runs.items()})
    return found


def of_baselines(rules: Thresholds) -> Thresholds:
    """Return the rules without bounds that are relative to controls, which are not drawn here."""
    held = {name: replace(rule, bound=None) for name, rule in rules.rules.items()}
    return replace(rules, rules=held)


def gating(names: Sequence[str], rules: Thresholds) -> dict[str, list[str]]:
    """Return what the rules let gate of each family; families of which they let nothing are out."""
    found = {name: [key for key in FAMILIES[name].keys if _gates(key, rules)] for name in names}
    return {name: keys for name, keys in found.items() if keys}


def _gates(key: str, rules: Thresholds) -> bool:
    rule = rules.rule_for(*parse_key(key))
    return rule is not None and rule.gate


def _measured(
    session: EvalSession, name: str, work: Path, count: int, families: Mapping[str, Sequence[str]]
) -> list[list[Measurement]]:
    """Return what gates of every repetition; measured once, kept as JSON."""
    files = {family: work / "measured" / name / f"{family}.json" for family in families}
    missing = [family for family, file in files.items() if len(_kept(file)) < count]
    if missing:
        _measure(session, make(name, work), {family: files[family] for family in missing}, count)
    keys = {key for each in families.values() for key in each}
    kept = zip(*(_kept(file)[:count] for file in files.values()), strict=True)
    retold = [[_retold(name, each) for run in parts for each in run] for parts in kept]
    return [[each for each in run if each.key in keys] for run in retold]


def _measure(session: EvalSession, dictionary: Path, files: Mapping[str, Path], count: int) -> None:
    """Write what every repetition measures of a dictionary, a file for each family."""
    (spec,) = resolve([str(dictionary)])
    sae, draws = session.load(spec), Draws.of(session.tasks, session.options.seed)
    for family, file in files.items():
        about = FAMILIES[family]
        pool = about.pool(session, sae)
        runs = (pool.measured(draws.of_repetition(number)) for number in range(count))
        told = [[_told(each) for each in run if _key(each) in about.keys] for run in runs]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told))
    session.release(sae)


def _kept(file: Path) -> list[list[dict[str, Any]]]:
    kept: list[list[dict[str, Any]]] = json.loads(file.read_text()) if file.is_file() else []
    return kept


def _key(estimate: Estimate) -> str:
    return metric_key(estimate.metric, estimate.params)


def _told(estimate: Estimate) -> dict[str, Any]:
    told = asdict(replace(estimate, details={}))
    return {name: told[name] for name in ("metric", "params", "value", "se", "status", "reason",
                                          "influence")}  # fmt: skip


def _retold(name: str, told: Mapping[str, Any]) -> Measurement:
    # The fingerprints of other texts and seeds differ, and a run would rightly refuse to compare
    # them; whether it would have been right to is what is asked here.
    return Measurement(name, Estimate(**told))


def _outcome(
    variant: Variant,
    before: Sequence[Sequence[Measurement]],
    now: Sequence[Sequence[Measurement]],
    rules: Thresholds,
) -> Outcome:
    elsewhere = list(zip(before[:-1], now[1:], strict=True))
    alike = list(zip(before[:-1], now[:-1], strict=True))
    runs = {
        PAIRED: [verdicts(*pair, rules, paired=True) for pair in alike],
        OTHER: [verdicts(*pair, rules) for pair in elsewhere],
    }
    for sigma in SIGMAS:
        judged = partial(verdicts, rules=rules, sigma=sigma)
        runs[sigma_name(sigma)] = [judged(*pair) for pair in elsewhere]
    if not variant.of:
        # Of 200 comparisons alone, a rate below one in a hundred could not be told.
        shifted = [(*now[lag:], *now[:lag]) for lag in range(1, BASELINES + 1)]
        pairs = (pair for each in shifted for pair in zip(before, each, strict=True))
        runs[MANY] = [verdicts(*pair, rules) for pair in pairs]
    return Outcome(variant, runs, _values(now))


def _values(now: Sequence[Sequence[Measurement]]) -> dict[str, Figure]:
    found: dict[str, list[tuple[float, float]]] = {}
    for each in (each for run in now for each in run):
        if each.estimate.value is not None:
            found.setdefault(each.key, []).append((each.estimate.value, each.estimate.se or 0.0))
    return {key: Figure.of(*np.array(pairs).T) for key, pairs in found.items()}


def main() -> None:
    """Simulate, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--of-damage", type=int, default=100, help="repetitions of damaged ones")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument(
        "--bundled-only",
        nargs="*",
        default=[],
        choices=list(FAMILIES),
        help="families that all but the bundled dictionaries are judged without, to save time",
    )
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--work", type=Path, default=Path("gate-simulation"))
    parser.add_argument("--output", type=Path, default=Path("docs/gate.md"))
    chosen = parser.parse_args()
    options = Options(
        sae=(), model=None, device="cpu", dtype="float32", suite=chosen.suite, data=None,
        thresholds=None, report="", cache=str(chosen.work / "cache"), seed=0, gate=True, threads=1,
        asked=True,
    )  # fmt: skip
    session = EvalSession(options)
    rules = of_baselines(load_thresholds(shipped_thresholds(), "evals/thresholds.toml"))
    found = simulate(session, chosen, rules)
    families = gating(chosen.families, rules)
    write_tables(found, families, chosen.bundled_only, chosen.output)


if __name__ == "__main__":
    main()
