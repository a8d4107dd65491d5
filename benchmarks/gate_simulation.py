"""How often the gate is wrong: false alarms, and what is bad and passes.

    python -m benchmarks.gate_simulation [--worlds DIR] [--only NAME ...] [--repetitions 100] \\
        [--work DIR] [--output docs/gate.md]

Every dictionary of the bundled world, and of those in DIR that foreign_worlds.py made, is loaded,
run and encoded once, by the same `EvalSession` as in a run of the suite, with the controls that the
rules ask for; every family that gates without a judge is measured up to its last step. A repetition
(`gate_draws`) draws

- the held-out texts of the corpus, with replacement, as many as there are, the same for a
  dictionary and for its controls;
- the entities of RAVEL and the groups of the principled tasks, likewise;
- one of the seeds that everything random was made with: masks, edits;
- a seed for every bootstrap;

and gives them to the estimators of the suite (`gate_reconstruction`, `gate_causal`), the figures
and their controls to `gate.verdict.judge`, with the rules of `evals/thresholds.toml`. Training
texts, model and activations are not drawn again, nor are the weights of random controls.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.gate_draws import Draw
from benchmarks.gate_families import DECIDING, FAMILIES
from benchmarks.gate_outcomes import Refused, Run, outcome
from benchmarks.gate_reconstruction import Shared
from benchmarks.gate_tables import Seen, write_tables
from benchmarks.gate_worlds import BUNDLED, Kind, Variant, World, worlds
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import PytestSAEError
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.rules import Thresholds
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.options import Options
from pytest_sae.records.measurement import Measurement
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.session import EvalSession, LoadedSAE

_KEPT = ("metric", "params", "value", "se", "ci", "n", "status", "reason", "influence")


def simulate(world: World, chosen: argparse.Namespace, rules: Thresholds) -> Seen:
    """Return what becomes of every dictionary of a world.

    Args:
        world: with its dictionaries.
        chosen: the command's arguments.
        rules: of the suite.
    """
    session = EvalSession(_options(world, chosen))
    shared = Shared(session, rules, chosen.texts)
    families = [name for name in chosen.families if _there(FAMILIES[name].table, session)]
    runs: dict[str, list[Run]] = {}
    outcomes, simulated = [], dict[str, None]()
    for variant in world.variants():
        count = chosen.repetitions if variant.kind == "good" else chosen.of_others
        cheap = [name for name in families if _asked(name, variant.kind, chosen)]
        kept = chosen.work / "measured" / world.name / variant.name
        if chosen.as_kept:
            cheap = [name for name in cheap if len(_read(kept / f"{name}.json")) >= count]
        if not cheap:
            continue
        simulated |= dict.fromkeys(cheap)
        runs[variant.name] = _measured(shared, variant, kept, count, cheap)
        outcomes.append(outcome(variant, runs.get(variant.of, []), runs[variant.name], rules))
        print(world.name, outcomes[-1].told, flush=True)
    session.close()
    return Seen(world.name, list(simulated), _texts(runs), outcomes)


def _asked(family: str, kind: Kind, chosen: argparse.Namespace) -> bool:
    """Whether a family is simulated: no other than `reconstruction` has a bound to be red by."""
    if kind == "worthless":
        return family == "reconstruction"
    return kind == "good" or family not in chosen.good_only


def _texts(runs: Mapping[str, Sequence[Run]]) -> int:
    """Return how many texts were drawn: what was kept may be of fewer than are asked for now."""
    held = (run for each in runs.values() for run in each if not isinstance(run, Refused))
    of = (each.estimate for run in held for each in run if each.key == "explained_variance")
    return max(each.n.get("texts", 0) for each in of)


def _options(world: World, chosen: argparse.Namespace) -> Options:
    return Options(
        sae=(), model=world.model, device="cpu", dtype="float32", suite="standard",
        data=world.data, thresholds=None, report="", cache=str(chosen.work / "cache"), seed=0,
        gate=True, threads=1, asked=True,
    )  # fmt: skip


def _there(table: str, session: EvalSession) -> bool:
    return not table or bool(getattr(session.tasks, table))


def _measured(
    shared: Shared, variant: Variant, kept: Path, count: int, families: Sequence[str]
) -> list[Run]:
    """Return what gates of every repetition; measured once, kept as JSON."""
    files = {family: kept / f"{family}.json" for family in families}
    missing = {name: file for name, file in files.items() if len(_read(file)) < count}
    if missing:
        _measure(shared, variant, missing, count)
    found = zip(*(_read(file)[:count] for file in files.values()), strict=True)
    return [_joined(variant.name, parts) for parts in found]


def _measure(shared: Shared, variant: Variant, files: Mapping[str, Path], count: int) -> None:
    """Write what every repetition measures of a dictionary, a file for each family."""
    (spec,) = resolve([variant.sae])
    try:
        sae = shared.session.load(spec)
    except PytestSAEError as error:
        told = {family: [str(error)] * count for family in files}
    else:
        told = {family: _repeated(shared, sae, family, count) for family in files}
        shared.session.release(sae)
    for family, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told[family]))


def _repeated(shared: Shared, sae: LoadedSAE, family: str, count: int) -> list[Any]:
    pool, found = FAMILIES[family].pool(shared, sae), list[Any]()
    for number in range(count):
        try:
            drawn = list(pool.measured(Draw(shared.session.options.seed, number)))
        except PytestSAEError as error:
            found.append(str(error))
        else:
            found.append([_told(*each) for each in drawn if _gates(each[0], shared.rules)])
    return found


def _gates(estimate: Estimate, rules: Thresholds) -> bool:
    rule = rules.rule_for(estimate.metric, estimate.params)
    return rule is not None and rule.gate


def _told(estimate: Estimate, controls: Sequence[Control]) -> dict[str, Any]:
    told = asdict(replace(estimate, details={}))
    # Four digits of what each text adds are enough, and a third of the file.
    told["influence"] = [float(f"{each:.4g}") for each in estimate.influence]
    beside = [asdict(each) for each in controls]
    return {**{name: told[name] for name in _KEPT}, "controls": beside}


def _read(file: Path) -> list[Any]:
    kept: list[Any] = json.loads(file.read_text()) if file.is_file() else []
    return kept


def _joined(name: str, parts: Sequence[Any]) -> Run:
    """Return one repetition of all families, or why the dictionary was refused in it."""
    refused = next((each for each in parts if isinstance(each, str)), None)
    if refused is not None:
        return Refused(refused)
    # The fingerprints of other texts and seeds differ, and a run would rightly refuse to compare
    # them; whether it would have been right to is what is asked here.
    return [
        Measurement(name, Estimate(**own), controls=tuple(Control(**each) for each in controls))
        for part in parts
        for row in part
        for own, controls in [({key: row[key] for key in _KEPT}, row["controls"])]
    ]


def main() -> None:
    """Simulate, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--worlds", type=Path, help="what foreign_worlds.py made")
    add("--trained", type=Path, help="what gate_trainings.py made")
    add("--only", nargs="+", help=f"names of worlds, such as {BUNDLED}")
    add("--repetitions", type=int, default=100, help="of good dictionaries")
    add("--of-others", type=int, default=40, help="of the others")
    add("--texts", type=int, default=300, help="most texts of the corpus that are drawn from")
    add("--families", nargs="+", default=list(DECIDING), choices=list(FAMILIES))
    told = "families that the others are judged without, to save time"
    add("--good-only", nargs="*", default=DECIDING[1:], choices=list(FAMILIES), help=told)
    add("--as-kept", action="store_true", help="measure nothing: tables of what --work holds")
    add("--thresholds", type=Path, help="rules other than the shipped ones")
    add("--work", type=Path, default=Path("gate-simulation"))
    add("--output", type=Path, default=Path("docs/gate.md"))
    chosen = parser.parse_args()
    rules = load_thresholds(chosen.thresholds or shipped_thresholds(), "evals/thresholds.toml")
    found = [
        simulate(world, chosen, rules)
        for world in worlds(chosen.worlds, chosen.trained)
        if not chosen.only or world.name in chosen.only
    ]
    write_tables(found, chosen, chosen.output)


if __name__ == "__main__":
    main()
