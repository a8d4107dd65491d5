"""The bench of definitions: its worlds are as they say, its truth is truth, its table is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from benchmarks.concept_definitions import CHOSEN, NS, Curve, valued
from benchmarks.concept_noise import variation
from benchmarks.concept_panels import Code, recovery
from benchmarks.concept_table import (
    ATTACKS,
    CONTROLS,
    LAST,
    Judged,
    World,
    interval,
    resampled_ranks,
    with_pairs,
)
from benchmarks.concept_worlds import DESIGN, HELD_OUT, Kind, KindWorld

SMALL = Kind("small", 60, 24, 5, most=0.05, concept=1, caused=False)


def test_no_held_out_world_shares_its_seed_or_name_with_one_that_was_looked_at() -> None:
    for what in ("name", "seed"):
        assert not {getattr(k, what) for k in DESIGN} & {getattr(k, what) for k in HELD_OUT}


def test_where_a_label_is_a_consequence_it_says_whether_the_feature_fired() -> None:
    world = KindWorld(SMALL)
    texts = world.pair(0, (20, 10), 0)
    fired = (texts.features[..., torch.as_tensor(world.pairs[0, :, 0])] > 0).any(1).numpy()
    np.testing.assert_array_equal(fired.T, texts.labels)


def test_a_child_never_fires_without_its_parent() -> None:
    world = KindWorld(replace(SMALL, parents=0.2))
    features = world.sample(2000, 0, "look").features.numpy()
    children = np.flatnonzero(world.parent_of >= 0)
    assert len(children) > 10
    assert not ((features[:, children] > 0) & (features[:, world.parent_of[children]] == 0)).any()


def test_flipped_labels_are_wrong_as_often_as_the_world_says() -> None:
    share = 0.2
    world = KindWorld(replace(SMALL, flipped=share))
    texts = world.pair(0, (400, 10), 0)
    fired = (texts.features[..., torch.as_tensor(world.pairs[0, :, 0])] > 0).any(1).numpy()
    # A wrong cell is another one in three of four cases.
    wrong = (texts.labels != fired.T).any(0).mean()
    assert wrong == pytest.approx(0.75 * share, abs=0.04)


def test_the_truth_recovers_all_of_itself_and_neurons_next_to_nothing() -> None:
    world = KindWorld(SMALL)
    sample = world.sample(4000, 0, "truth")
    oracle = Code("oracle", "oracle", lambda x: x, world.rows)
    axes = Code("axes", "control", torch.relu, torch.eye(SMALL.d))
    assert recovery(oracle, world, sample.x, sample.features) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert max(recovery(axes, world, sample.x, sample.features)) < 0.5


def test_n_is_chosen_where_it_is_known_and_read_where_it_is_not() -> None:
    test, known = np.zeros((len(NS), 2)), np.zeros((len(NS), 2))
    known[NS.index(CHOSEN[1]), 0] = 1.0
    test[NS.index(CHOSEN[1])] = 0.75, 0.25
    test[NS.index(CHOSEN[2]), 0] = 1.0
    found = valued([Curve(test, known)])
    assert found["n chosen"] == 0.5
    assert found["n = 2"] == 0.0


def test_a_definition_is_judged_by_rank_oracle_controls_attacks_and_noise() -> None:
    trained = {f"t{i}{LAST}": (i / 10, i) for i in (1, 2, 4)}
    others = dict.fromkeys(CONTROLS, 0.04) | dict.fromkeys(ATTACKS, 0.1)
    first = {
        **{m: {"kind": "trained", "values": {"d": v}, "truth": [t, -t]}
           for m, (v, t) in trained.items()},
        **{m: {"kind": "control", "values": {"d": v}, "truth": [0, 0]} for m, v in others.items()},
        "oracle": {"kind": "oracle", "values": {"d": 0.3}, "truth": [9, 9]},
    }  # fmt: skip
    first["asked doubled"]["values"]["d"] = 0.2
    again = {m: {"values": {"d": v}} for m, (v, _) in trained.items()}
    found = Judged.of({"0": first, "1": again}, "d")
    assert found.ranks == pytest.approx((1.0, -1.0))
    assert found.found == pytest.approx((1.0, -1.0))
    assert not found.oracle
    assert found.control == pytest.approx(0.2)
    assert found.attacks["asked doubled"] == pytest.approx(0.5)
    assert found.cv == 0.0


def test_two_definitions_together_are_the_smaller_over_the_median_of_what_is_trained() -> None:
    values = {f"a{LAST}": (1.0, 8.0), f"b{LAST}": (3.0, 4.0), f"c{LAST}": (2.0, 2.0), "x": (4, 1)}
    rows = {
        m: {"kind": "trained" if m.endswith(LAST) else "control",
            "values": {"removal": r, "explained_variance": e}, "truth": [0, 0]}
        for m, (r, e) in values.items()
    }  # fmt: skip
    found = with_pairs({"0": rows})["0"]
    together = [
        row["values"]["smaller of removal and explained_variance"] for row in found.values()
    ]
    assert together == [0.5, 1.0, 0.5, 0.25]


def test_noise_is_the_spread_over_draws_of_one_dictionary_over_the_mean_of_all() -> None:
    values = np.array([[1.0, 3.0], [5.0, 7.0]])[..., None]  # two dictionaries, two draws
    seen, told = variation(np.stack([values, np.full_like(values, 2.0)], axis=-1))
    assert seen == pytest.approx([np.sqrt(2) / 4])
    assert told == pytest.approx([2 / 4])


def trainings(recipes: int, steps: int, noise: float) -> World:
    """Of each recipe some steps, alike in truth and value but for some noise of the values."""
    rng, other = np.random.default_rng(1), np.random.default_rng(2)
    rows = {"oracle": {"kind": "oracle", "values": {"d": 99.0}, "truth": [-99.0, -99.0]}}
    for recipe in range(recipes):
        value, second = rng.standard_normal(2)
        for step in range(steps):
            off = noise * other.standard_normal()
            row = {"kind": "trained", "values": {"d": value + off}, "truth": [value, second]}
            rows[f"r{recipe}@{step}"] = row
    return {"0": rows}


def test_a_draw_of_trainings_has_the_rank_of_their_members_as_often_as_they_were_drawn() -> None:
    world = trainings(5, 3, noise=1.0)
    found = resampled_ranks(world, "d", 40, np.random.default_rng(4))
    counts = np.random.default_rng(4).multinomial(5, np.full(5, 0.2), 40)
    for draw, times in enumerate(counts):
        rows = [row for m, row in world["0"].items() if m != "oracle"
                for _ in range(times[int(m[1])])]  # fmt: skip
        said, truth = [r["values"]["d"] for r in rows], np.array([r["truth"] for r in rows]).T
        for place in (0, 1):
            expected = spearmanr(said, truth[place])[0]
            assert found[place, draw] == pytest.approx(expected, nan_ok=True)


def test_more_checkpoints_of_the_same_trainings_are_no_more_evidence() -> None:
    few, many = (interval([trainings(8, n, noise=0.0)], "d")[1] for n in (2, 20))
    assert many == pytest.approx(few, abs=0.05)
    assert np.ptp(few) > 0.5


def test_more_trainings_are_and_so_are_more_worlds() -> None:
    few, many = (np.ptp(interval([trainings(n, 3, noise=0.0)], "d")[1]) for n in (8, 80))
    assert many < 0.5 * few
    worlds = [trainings(8, 3, noise=0.0)] * 4
    assert np.ptp(interval(worlds, "d")[1]) == pytest.approx(few / 2, rel=0.2)


def test_a_definition_that_says_the_truth_has_no_interval() -> None:
    assert interval([trainings(30, 3, noise=0.0)], "d")[0] == pytest.approx([1.0, 1.0])
