"""How often the gate is wrong: false alarms, and known damage that it lets pass.

    python -m benchmarks.gate_simulation [--repetitions 200] [--work DIR] [--output docs/gate.md]

Every dictionary is loaded, run and encoded once, by the same `EvalSession` as in a run of the
suite. What is measured before the last step is kept per text: the sums behind reconstruction,
sparsity and behaviour, how often each latent fires in it, and what every probe reads in it before
and after ablation. A repetition draws

- the held-out texts of the corpus, with replacement, as many as there are;
- the test texts of every SCR task, with replacement within their quadrants, as many as there are;
- one of five sets of probes, fitted with five seeds (each five fits on resampled training texts);
- a seed for every bootstrap;

and gives them to the estimators of the suite (`metrics.core.finish`, `metrics.behaviour.finish`,
`metrics.scr_estimates.recovered`), the values to `gate.baseline` and `gate.verdict.judge`, with the
rules of `evals/thresholds.toml`. Training texts, latents, model and activations are not drawn
again. A run is red if any metric that gates is. Not in it: what a judge has a say in.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.gate_damage import VARIANTS, Variant, make
from benchmarks.gate_tables import OTHER, PAIRED, SIGMAS, Outcome, share, sigma_name, write_tables
from pytest_sae.bootstrap import generator
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.gate.baseline import Baseline, entries_of
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.rules import Thresholds
from pytest_sae.gate.verdict import judge
from pytest_sae.measure import reconstruction
from pytest_sae.measure.erasure import View, erasure_texts, quadrants, scr_probes
from pytest_sae.measurement import Measurement
from pytest_sae.metrics import behaviour, core, scr, scr_estimates
from pytest_sae.metrics.behaviour import BehaviourSums
from pytest_sae.metrics.core import CoreSums
from pytest_sae.metrics.protocol import HEADLINE_N
from pytest_sae.metrics.scr import DIRECTIONS, Quadrants, Reading, ScrTask
from pytest_sae.metrics.token_groups import Group
from pytest_sae.options import Options
from pytest_sae.reports.rows import row_of
from pytest_sae.run import shipped_thresholds
from pytest_sae.session import EvalSession, LoadedSAE
from pytest_sae.stats import Estimate

SEEDS = tuple(range(5))
Indices = NDArray[np.int64]


class FiringSums(CoreSums):
    """The sums of the suite, and how often each latent fires in each text."""

    def __init__(self, n_texts: int, d: int, d_sae: int, *rest: Any) -> None:
        super().__init__(n_texts, d, d_sae, *rest)
        self.per_text_fires = torch.zeros(n_texts, d_sae, dtype=torch.int32)

    def update(
        self, x: Tensor, x_hat: Tensor, z: Tensor, text_rows: Tensor, group: Group = "ordinary"
    ) -> None:
        """Add a batch of tokens of one group."""
        super().update(x, x_hat, z, text_rows, group)
        if group != "special":
            self.per_text_fires.index_add_(0, text_rows, (z != 0).int())


@dataclass(frozen=True)
class Pool:
    """One dictionary, measured on every text there is, before anything is added up.

    Args:
        sae: the dictionary.
        sums: of the corpus, per text.
        behaved: of the corpus, per text.
        tasks: SCR tasks as each seed's probes read them, at the headline n alone.
    """

    sae: LoadedSAE
    sums: FiringSums
    behaved: BehaviourSums
    tasks: Sequence[Sequence[ScrTask]]

    @classmethod
    def of(cls, session: EvalSession, path: Path) -> Pool:
        """Measure a dictionary: one pass of the model (cached), one encode of each text."""
        (spec,) = resolve([str(path)])
        sae = session.load(spec)
        latents, tasks = session.latents(sae), session.tasks
        sums, behaved = reconstruction.gather(
            latents, session.corpus("reconstruction").texts, FiringSums
        )
        assert isinstance(sums, FiringSums)
        assert behaved is not None
        texts, read = erasure_texts(tasks), []
        for task in tasks.scr:
            view = View.of(latents, texts, task.train.texts, task.test.texts)
            train, test = quadrants(task.train), quadrants(task.test)
            read.append([
                scr.score_task(
                    task.name, scr_probes(latents, view, task, seed, session.suite.probe_fits),
                    train, view.z_train, test, view.x_test, view.rows, view.removal, (HEADLINE_N,),
                )
                for seed in SEEDS
            ])  # fmt: skip
        session.release(sae)
        return cls(sae, sums, behaved, list(zip(*read, strict=True)))

    def measured(self, draw: Draw) -> list[Measurement]:
        """Return what a run on the drawn texts, with the drawn seeds, would have measured."""
        tasks = [
            _drawn_task(task, texts)
            for task, texts in zip(self.tasks[draw.probes], draw.tests, strict=True)
        ]
        drawn = [scr_estimates.Drawn.of(task, draw.seed) for task in tasks]
        found: list[Estimate] = [
            *core.finish(_drawn_sums(self.sums, draw.corpus), draw.seed),
            *behaviour.finish(_drawn_behaviour(self.behaved, draw.corpus), draw.seed),
        ]
        for direction in DIRECTIONS:
            params = {"n": HEADLINE_N, "direction": direction}
            found.append(
                scr_estimates.recovered(
                    drawn, direction, "margin", "scr.margin", params, HEADLINE_N
                )
            )
        return [self.sae.measured(each) for each in found]


@dataclass(frozen=True)
class Draw:
    """What one repetition is made on.

    Args:
        corpus: (text,) held-out texts.
        tests: per SCR task, (text,) test texts.
        probes: which set of probes.
        seed: of the bootstraps.
    """

    corpus: Indices
    tests: Sequence[Indices]
    probes: int
    seed: int

    @classmethod
    def of(cls, session: EvalSession, repetition: int) -> Draw:
        """Draw texts and seeds of one repetition: alike for every dictionary."""
        rng = generator(session.options.seed, "gate simulation", str(repetition))
        corpus = len(session.corpus("reconstruction").texts)
        cells = [quadrants(task.test).cells for task in session.tasks.scr]
        return cls(
            rng.integers(corpus, size=corpus),
            [_within(each, rng) for each in cells],
            int(rng.integers(len(SEEDS))),
            repetition,
        )


def _within(cells: Indices, rng: np.random.Generator) -> Indices:
    groups = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    return np.concatenate([rng.choice(group, len(group)) for group in groups])


def _drawn_sums(sums: FiringSums, texts: Indices) -> CoreSums:
    drawn = CoreSums(len(texts), sums.centre.shape[1], len(sums.fires), "cpu", sums.reference)
    places = torch.from_numpy(texts)
    drawn.per_text, drawn.centre = sums.per_text[places], sums.centre[places]
    times = torch.bincount(places, minlength=len(sums.per_text_fires))
    # Which group they are of enters no figure but those of the groups, which nobody reads here.
    drawn.group_fires["ordinary"] = (times.double() @ sums.per_text_fires.double()).long()
    return drawn


def _drawn_behaviour(sums: BehaviourSums, texts: Indices) -> BehaviourSums:
    return sums.take(texts)


def _drawn_task(task: ScrTask, texts: Indices) -> ScrTask:
    def drawn(reading: Reading) -> Reading:
        return Reading(
            reading.own[:, texts],
            reading.confounded[:, texts],
            reading.ablated[:, :, texts],
            reading.latents,
        )

    return replace(
        task,
        test=Quadrants(task.test.intended[texts], task.test.spurious[texts]),
        fits={direction: drawn(task.fits[direction]) for direction in DIRECTIONS},
    )


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
    rows = [row_of(each, judge(each.estimate, None), None, "") for each in before]
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
            (each.sae, each.key), direction, each.fingerprints, influence=estimate.influence
        )
        verdict = judge(estimate, rule, "no rule", against)
        if verdict.red:
            red[each.key] = verdict.name
    return red


def simulate(session: EvalSession, work: Path, repetitions: int, of_damage: int) -> list[Outcome]:
    """Return what becomes of every variant.

    Args:
        session: of the suite.
        work: where dictionaries and their measurements are kept, and found again.
        repetitions: of the bundled dictionaries.
        of_damage: repetitions of all others.
    """
    rules = load_thresholds(shipped_thresholds(), "evals/thresholds.toml")
    runs: dict[str, list[list[Measurement]]] = {}
    found = []
    for variant in VARIANTS:
        count = (of_damage if variant.of else repetitions) + 1
        runs[variant.name] = _measured(session, variant.name, work, count, rules)
        before = runs[variant.of or variant.name][:count]
        found.append(_outcome(variant, before, runs[variant.name], rules))
        print(variant.told, {name: share(each) for name, each in found[-1].runs.items()})
    return found


def _measured(
    session: EvalSession, name: str, work: Path, count: int, rules: Thresholds
) -> list[list[Measurement]]:
    """Return what gates of every repetition; measured once, kept as JSON."""
    file = work / "measured" / f"{name}.json"
    kept = json.loads(file.read_text()) if file.is_file() else []
    if len(kept) < count:
        pool = Pool.of(session, make(name, work))
        runs = [pool.measured(Draw.of(session, number)) for number in range(count)]
        kept = [[_told(each) for each in run if _gates(each, rules)] for run in runs]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept))
    return [[_retold(name, each) for each in run] for run in kept[:count]]


def _gates(measurement: Measurement, rules: Thresholds) -> bool:
    estimate = measurement.estimate
    rule = rules.rule_for(estimate.metric, estimate.params, measurement.sae)
    return rule is not None and rule.gate


def _told(measurement: Measurement) -> dict[str, Any]:
    told = asdict(measurement.estimate)
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
    return Outcome(variant, runs, _values(now, rules))


def _values(
    now: Sequence[Sequence[Measurement]], rules: Thresholds
) -> dict[str, tuple[float, float]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for each in (each for run in now for each in run):
        rule = rules.rule_for(each.estimate.metric, each.estimate.params, each.sae)
        if rule is not None and rule.gate and each.estimate.value is not None:
            found.setdefault(each.key, []).append((each.estimate.value, each.estimate.se or 0.0))
    means = {key: np.mean(pairs, axis=0) for key, pairs in found.items()}
    return {key: (float(mean[0]), float(mean[1])) for key, mean in means.items()}


def main() -> None:
    """Simulate, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--of-damage", type=int, default=100, help="repetitions of damaged ones")
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
    found = simulate(session, chosen.work, chosen.repetitions, chosen.of_damage)
    write_tables(found, chosen.output)


if __name__ == "__main__":
    main()
