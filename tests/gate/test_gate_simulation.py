"""The simulation of the gate draws what it says, and gives estimators what was drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.gate_causal import _drawn_edits, _drawn_outcome
from benchmarks.gate_draws import Draw
from benchmarks.gate_outcomes import BASELINES, Refused, outcome, share
from benchmarks.gate_reconstruction import ReconstructionPool, Shared
from benchmarks.gate_tables import Seen, _rates, _share
from benchmarks.gate_worlds import ELSEWHERE, HALF, Kind, Variant, World
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.planned import controls_needed
from pytest_sae.metrics.principled_estimates import Edits
from pytest_sae.metrics.ravel import InterchangePairs, Outcome, estimates
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.session import EvalSession
from tests.labelled import labelled_data
from tests.session.test_session import options
from tests.tiny import tiny_model, tiny_sae

RULES = load_thresholds(shipped_thresholds())
NEEDED = controls_needed([RULES])


@dataclass(frozen=True)
class Once(Draw):
    """Every text once, in its order."""

    def corpus(self, count: int) -> NDArray[np.int64]:
        return np.arange(count)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    world = tmp_path_factory.mktemp("world")
    tiny_model(world / "model")
    (world / "data").mkdir()
    labelled_data(world / "data")
    tiny_sae(world / "topk", model=str(world / "model"))
    session = EvalSession(options(world, controls="cheap"), needed=NEEDED)
    return Shared(session, RULES, most=10_000)


def pool_of(shared: Shared) -> tuple[ReconstructionPool, Sequence[Measurement]]:
    folder = Path(str(shared.session.options.data)).parents[1]
    sae = shared.session.load(resolve([str(folder / "topk")])[0])
    return ReconstructionPool.of(shared, sae), shared.session.measure("core", sae)


def test_texts_that_are_drawn_once_each_give_what_a_run_measures_and_its_controls(
    shared: Shared,
) -> None:
    pool, run = pool_of(shared)
    measured = {each.estimate.metric: each for each in run}
    drawn = {own.metric: (own, controls) for own, controls in pool.measured(Once(0, 0))}
    for name in ("explained_variance", "cosine", "dead_share", "dense_share_10pct", "ce_spliced"):
        own, controls = drawn[name]
        same = measured[name].estimate
        assert (own.value, own.se, own.ci) == (same.value, same.se, same.ci)
        beside = {each.control: (each.value, each.se, each.paired) for each in controls}
        held = {
            each.control: (each.value, each.se, each.paired) for each in measured[name].controls
        }
        assert beside == held
        assert NEEDED.get(name, frozenset()) <= set(beside)


def test_a_dictionary_and_its_controls_are_drawn_on_the_same_texts(shared: Shared) -> None:
    pool, _ = pool_of(shared)
    itself = ReconstructionPool(pool.dictionary, pool.own, {"pca": pool.own})
    for number in range(3):
        for own, controls in itself.measured(Draw(0, number)):
            if own.influence and controls:
                assert controls[0].value == own.value
                assert controls[0].paired == 0


def test_repetitions_differ_and_can_be_repeated() -> None:
    one, two, again = (Draw(0, number) for number in (0, 1, 0))
    assert one.corpus(50).tolist() == again.corpus(50).tolist() != two.corpus(50).tolist()
    units = np.arange(9)
    assert one.units(units, "a").tolist() == again.units(units, "a").tolist()


def explained(value: float) -> list[Measurement]:
    """A run in which the strongest worthless control is at 0 and PCA at 0.9."""
    controls = [
        Control(name, "reference", "higher", level, 0.001, paired=0.001)
        for name, level in (
            ("random", 0.0), ("random_tied", 0.0), ("permuted_decoder", 0.0), ("pca", 0.9)
        )
    ]  # fmt: skip
    own = Estimate("explained_variance", value, se=0.001, influence=(0.001, 0.0))
    return [Measurement("x", own, controls=tuple(controls))]


GOOD = [explained(0.95)] * 30


@pytest.mark.parametrize(
    ("value", "by_bound", "regressed"),
    [(0.95, 0.0, 0.0), (0.94, 0.0, 1.0), (0.5, 1.0, 1.0), (0.99, 0.0, 0.0)],
)
def test_what_is_red_by_a_bound_and_what_regressed_are_counted_apart(
    value: float, by_bound: float, regressed: float
) -> None:
    found = outcome(Variant("x", "damaged", "x"), GOOD, [explained(value)] * 20, RULES)
    assert share(found.bounds) == by_bound
    assert share(found.alike) == share(found.other) == regressed


def test_what_is_refused_is_red_in_every_run() -> None:
    found = outcome(Variant("x", "worthless", "x"), [], [Refused("too dense")] * 7, RULES)
    assert found.bounds == [{"refused": "refused"}] * 7


def seen(kind: Kind, values: Sequence[float]) -> Seen:
    before = GOOD if kind in ("again", "damaged") else []
    runs = [explained(value) for value in values]
    return Seen("w", ["reconstruction"], 9, [outcome(Variant("x", kind, "x"), before, runs, RULES)])


def test_a_worthless_one_that_is_green_once_is_named() -> None:
    told = _rates([seen("worthless", [0.1] * 9 + [0.95])])
    assert "| worthless and red | 10 | 90.00% " in told
    assert "Worthless, and green at least once: w/x." in told


def test_a_good_one_that_is_red_once_in_ten_is_named() -> None:
    told = _rates([seen("good", [0.95] * 9 + [0.1])])
    assert "| good and red by a bound | 10 | 10.00% " in told
    assert "Good, and red by a bound more often than that: w/x." in told


def half_right() -> Outcome:
    """Entity 0 is always right, entity 1 never, each with a pair of both kinds."""
    entity, cause = np.array([0, 0, 1, 1]), np.array([True, False, True, False])
    pairs = InterchangePairs(np.arange(4), np.arange(4), np.arange(4), entity, cause)
    return Outcome(
        "cities.country", pairs, (entity == 0)[None], np.array([True, False, True, False])
    )


@pytest.mark.parametrize(("entities", "disentangle"), [((0, 0), 1.0), ((0, 1), 0.5), ((1, 1), 0.0)])
def test_pairs_of_an_entity_come_as_often_as_it_is_drawn(
    entities: tuple[int, int], disentangle: float
) -> None:
    drawn = _drawn_outcome(half_right(), np.array(entities))
    assert drawn.pairs.entity.tolist() == [0, 0, 1, 1]
    found = {each.metric: each.value for each in estimates([drawn], {}, 0)}
    assert found["ravel.disentangle"] == disentangle


def edits(seed: int, group: list[int]) -> Edits:
    values = np.array(group) + 10.0 * seed
    return Edits(
        "name", np.array(group), np.array(group), values, {2: values}, values, {2: values}, values
    )


def test_each_drawn_group_brings_the_edits_of_its_own_seed() -> None:
    seeds = [edits(0, [0, 1, 1]), edits(1, [0, 0, 1])]
    drawn = _drawn_edits(seeds, np.array([1, 0, 1]), np.array([0, 1, 1]))
    assert drawn.group.tolist() == [0, 0, 1, 1, 2]
    assert drawn.clean.tolist() == [1.0, 1.0, 10.0, 10.0, 11.0]
    assert drawn.edited[2].tolist() == drawn.clean.tolist()


def test_concept_metrics_are_asked_as_if_they_decided_and_nothing_else_is() -> None:
    def run(removed: float, explains: float) -> list[Measurement]:
        found = Estimate("removal", removed, se=0.001, influence=(0.001, 0.0))
        return [*explained(explains), Measurement("x", found)]

    before, now = [run(0.5, 0.95)] * 30, [run(0.4, 0.5)] * 20
    found = outcome(Variant("x", "good", "x"), before, now, RULES)
    assert found.concepts == [{"removal": "regressed"}] * 20 * BASELINES
    assert found.alike == [{"explained_variance": "regressed"}] * 20


def test_a_share_of_dependent_runs_has_the_interval_of_those_that_are_independent() -> None:
    runs = [{"a": "regressed"}, *[{}] * 99]
    assert _share(runs, 100) == "1.00% (0.2% to 5.4%)"
    assert _share(runs, 10) == "1.00% (0.0% to 27.8%)"


def test_a_world_has_the_state_after_half_of_the_training_and_the_block_above(
    tmp_path: Path,
) -> None:
    tiny_sae(tmp_path / "saes" / "topk", "topk")
    tiny_sae(tmp_path / "trained" / HALF, "topk")
    world = World("w", tmp_path / "saes", trained=tmp_path / "trained")
    found = {each.name: each for each in world.variants()}
    assert found[HALF] == Variant(HALF, "damaged", str(tmp_path / "trained" / HALF))
    hook = json.loads((tmp_path / "saes/topk/cfg.json").read_text())["metadata"]["hook_name"]
    block = int(hook.split(".")[1])
    assert f"site=blocks.{block + 1}." in found[ELSEWHERE].sae
