"""The bench of families: its tasks are fair, what is planted is seen, its table is right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.concept_panels import Code
from benchmarks.concept_table import CONTROLS, LAST
from benchmarks.concept_worlds import Kind, KindWorld
from benchmarks.family_absorption import Parents, absorbing, value
from benchmarks.family_table import Judged, controls_of
from benchmarks.family_worlds import book, dictionary, values
from pytest_sae.activations.store import Store
from pytest_sae.metrics.absorption import fit_letters
from pytest_sae.synthetic.latents import WorldLatents
from tests.benchmarks.test_concept_worlds import SMALL

FLIPPED = Kind("flipped", 100, 24, 6, most=0.05, concept=1, flipped=0.2)
PARENTS = Kind("parents", 80, 32, 7, most=0.05, parents=0.2, concept=1, caused=False)


def test_cells_are_of_one_size_though_labels_are_wrong() -> None:
    world = KindWorld(FLIPPED)
    _, tasks = book(world, [world.pair(0, (30, 20), 0), world.multi(0, (30, 20), 0)], 0)
    for part in (tasks.tpp[0].train, tasks.tpp[0].test):
        assert len(set(Counter(part.labels).values())) == 1
    for pair in (tasks.scr[0].train, tasks.scr[0].test):
        assert len(set(Counter(zip(pair.intended, pair.spurious, strict=True)).values())) == 1


def test_the_truth_reconstructs_a_world_and_probes_read_it() -> None:
    world = KindWorld(SMALL)
    texts, tasks = book(world, [world.pair(0, (30, 20), 0), world.multi(0, (30, 20), 0)], 0)
    oracle = Code("oracle", "oracle", lambda x: x, world.rows)
    made = dictionary(oracle, world, texts.x[0], [(texts.x, texts.features)])
    found = dict(values(WorldLatents(texts, "here", made, Store(None)), tasks, 0))
    assert found["explained_variance"] == pytest.approx(1, abs=1e-4)
    assert (found["sparse_probing.auc:k=1"] or 0) > 0.95
    assert (found["mdl:error=0.1"] or 0) < 0  # bits are better lower, and stand with a minus


def test_absorption_rises_with_the_share_of_children_that_absorb_their_parent() -> None:
    torch.set_num_threads(1)
    world = KindWorld(PARENTS)
    parents = Parents.of(world)
    read = []
    for share in (0.0, 0.5, 1.0):
        found = parents.read(*absorbing(world, parents.features, share))
        read.append(value(found.projected, found))
    assert read[0] < 0.05
    assert read[0] + 0.1 < read[1] < read[2] - 0.1


def test_a_child_that_other_folds_know_counts_as_one_of_its_parents_latents() -> None:
    """Why tokens of a child stand in one fold: dealt one by one, nothing seems absorbed."""
    world = KindWorld(PARENTS)
    parents = Parents.of(world)
    folds = np.random.default_rng(0).permutation(len(parents.folds)) % 5
    probes = fit_letters(parents.x.numpy(), parents.letter, folds, parents.letter.max() + 1)
    dealt = replace(parents, folds=folds, probes=probes)
    found = dealt.read(*absorbing(world, parents.features, 1.0))
    assert value(found.projected, found) < 0.1


def test_a_child_is_in_one_fold_alone() -> None:
    world = KindWorld(PARENTS)
    parents = Parents.of(world)
    for child in np.flatnonzero(world.parent_of >= 0):
        there = (parents.features[:, child] > 0).numpy()
        assert len(set(parents.folds[there])) <= 1


def _world(oracle: float, trained: tuple[float, ...], control: float) -> Any:
    rows = {
        f"r{place}{LAST}": {"kind": "trained", "values": {"m": v}, "truth": [v, v]}
        for place, v in enumerate(trained)
    }
    rows |= {m: {"kind": "control", "values": {"m": control}, "truth": [0, 0]} for m in CONTROLS}
    rows["oracle"] = {"kind": "oracle", "values": {"m": oracle}, "truth": [1, 1]}
    return {"0": rows, "1": {name: rows[name] for name in list(rows)[:2]}}


def test_a_metric_that_follows_the_truth_is_told_so() -> None:
    judged = Judged.of(_world(0.9, (0.2, 0.4, 0.6, 0.8), 0.1), "m")
    assert judged.ranks == pytest.approx((1, 1))
    assert judged.oracle
    assert judged.best == pytest.approx(0.2)
    assert judged.above == ()


def test_a_control_above_the_median_is_named_and_a_truth_below_the_best_is_seen() -> None:
    judged = Judged.of(_world(0.7, (0.2, 0.4, 0.6, 0.8), 0.55), "m")
    assert set(judged.above) == set(CONTROLS)
    assert not judged.oracle


def test_where_lower_is_better_a_control_that_needs_twice_as_much_gets_half() -> None:
    judged = Judged.of(_world(-40, (-80.0, -100.0, -120.0, -100.0), -200), "m")
    assert judged.best == pytest.approx(0.5)
    assert judged.above == ()


def test_a_permuted_decoder_does_not_count_against_what_reads_latents_alone() -> None:
    first: Any = {name: {} for name in CONTROLS}
    assert "permuted" in controls_of(first, "ravel")
    assert "permuted" not in controls_of(first, "sparse_probing.auc:k=1")
