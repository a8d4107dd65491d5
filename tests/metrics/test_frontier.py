"""The erasure frontier, on planted dictionaries and against its definition done slowly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score

from pytest_sae.metrics import class_probes
from pytest_sae.metrics.ablation import AffineRemoval, MeasuredRemoval
from pytest_sae.metrics.frontier import (
    Ablation,
    Frontier,
    References,
    matched,
    references,
    trace,
)
from pytest_sae.metrics.frontier_area import area, corners
from pytest_sae.metrics.frontier_estimates import NAMES, estimates
from pytest_sae.metrics.frontier_texts import ProbeAucs, ProbeScores, TaskTexts, pairs
from pytest_sae.numbers.estimate import Estimate
from tests.metrics.planted import CLASSES, TppWorld, tpp_world

NS = (1, 2, 5, 20)
FITS = 5


@dataclass(frozen=True)
class Dictionary:
    z_train: sparse.csr_array
    z_test: sparse.csr_array
    rows: np.ndarray

    def ablation(self) -> Ablation:
        train, test = (AffineRemoval(z, self.rows) for z in (self.z_train, self.z_test))
        return Ablation(self.z_train, self.rows, train, test)


@cache
def planted() -> tuple[TppWorld, TaskTexts, References]:
    world = tpp_world(train=100, test=60)
    texts = TaskTexts(
        "tpp/planted",
        pairs(CLASSES, world.train, world.test),
        world.train,
        world.test,
        world.train_split.x,
        world.test_split.x,
        np.stack([fit.weight for fit in world.probes.fits]),
        class_probes.resamples("planted", world.train, 0, FITS),
    )
    return world, texts, references(texts)


def oracle() -> Dictionary:
    """One latent for each class, and background that knows nothing."""
    world = planted()[0]
    return Dictionary(world.train_split.z, world.test_split.z, world.rows)


def entangled(share: float) -> Dictionary:
    """Each class's latent also writes, and fires for, the next class, by a share."""
    clean = oracle()
    turn = np.eye(clean.rows.shape[0])
    for c in range(len(CLASSES)):
        turn[c, (c + 1) % len(CLASSES)] = share
    back = np.linalg.inv(turn)
    z_train, z_test = (sparse.csr_array(z.toarray() @ back) for z in (clean.z_train, clean.z_test))
    return Dictionary(z_train, z_test, (turn @ clean.rows).astype(np.float32))


def noise() -> Dictionary:
    """Latents that fire anywhere and write anywhere."""
    rng = np.random.default_rng(5)
    clean = oracle()
    rows = rng.normal(size=clean.rows.shape) * 0.3
    z_train, z_test = (
        sparse.csr_array(np.abs(rng.normal(size=z.shape)) * (rng.random(z.shape) < 0.2))
        for z in (clean.z_train, clean.z_test)
    )
    return Dictionary(z_train, z_test, rows.astype(np.float32))


def frontiers(dictionary: Dictionary) -> list[Frontier]:
    _, texts, known = planted()
    return trace(texts, known, dictionary.ablation(), 0, NS)


def score(dictionary: Dictionary) -> Estimate:
    return estimates({"scr": [], "tpp": frontiers(dictionary)}, 0)[0]


def test_one_latent_per_concept_is_as_surgical_as_leace() -> None:
    found = score(oracle())
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.ci is not None
    assert found.ci[0] > 0.8
    assert found.n == {"texts": 240, "concepts": 4, "tasks": 1}


def test_latents_that_know_nothing_score_nothing() -> None:
    found = score(noise())
    assert found.value == pytest.approx(0.0, abs=0.05)


def test_the_more_entangled_the_latents_the_lower_the_score() -> None:
    found = [score(entangled(share)) for share in (0.0, 0.3, 0.8)]
    assert [each.status for each in found] == ["ok"] * 3
    assert found[0].ci[0] > found[1].ci[1]
    assert found[1].ci[0] > found[2].ci[1]


def test_random_latents_of_a_perfect_dictionary_are_worse_than_the_chosen_ones() -> None:
    areas = score(oracle()).details["areas"]
    assert areas["random"]["high"] < areas["sae"]["low"]


def test_a_dictionary_that_writes_nothing_scores_exactly_nothing() -> None:
    silent = oracle()
    found = score(replace(silent, rows=np.zeros_like(silent.rows)))
    assert found.value == 0.0


def test_numbering_of_latents_changes_nothing() -> None:
    clean = oracle()
    order = np.random.default_rng(0).permutation(clean.rows.shape[0])
    shuffled = Dictionary(clean.z_train[:, order], clean.z_test[:, order], clean.rows[order])
    assert score(shuffled).value == pytest.approx(score(clean).value, abs=1e-9)


def test_units_of_latents_change_nothing() -> None:
    clean = entangled(0.4)
    scale = 2.0 ** np.random.default_rng(0).integers(-3, 4, clean.rows.shape[0])
    z_train, z_test = (sparse.csr_array(z * scale) for z in (clean.z_train, clean.z_test))
    scaled = Dictionary(z_train, z_test, clean.rows / scale[:, None].astype(np.float32))
    assert score(scaled).value == pytest.approx(score(clean).value, abs=1e-9)


def test_the_order_of_the_test_texts_changes_neither_value_nor_interval() -> None:
    _, texts, _ = planted()
    order = np.random.default_rng(0).permutation(len(texts.cells_test))
    moved = replace(
        texts,
        concepts=pairs(CLASSES, texts.cells_train, texts.cells_test[order]),
        cells_test=texts.cells_test[order],
        x_test=texts.x_test[order],
    )
    clean = entangled(0.4)
    other = replace(clean, z_test=clean.z_test[order])
    found = trace(moved, references(moved), other.ablation(), 0, NS)
    one, two = score(clean), estimates({"tpp": found}, 0)[0]
    assert two.value == pytest.approx(one.value, abs=1e-9)
    assert two.ci == pytest.approx(one.ci, abs=1e-9)


def test_measuring_what_is_removed_gives_what_the_identity_gives() -> None:
    _, texts, known = planted()
    affine = entangled(0.4).ablation()
    measured = replace(
        affine,
        removal_train=MeasuredRemoval(affine.removal_train.means),
        removal=MeasuredRemoval(affine.removal.means),
    )
    one, two = (trace(texts, known, each, 0, NS) for each in (affine, measured))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left.sae.own.sum(-1), right.sae.own.sum(-1), atol=2e-3)
        np.testing.assert_allclose(left.sae.others.sum(-1), right.sae.others.sum(-1), atol=2e-3)


def test_a_curve_is_what_ablating_refitting_and_reading_by_hand_gives() -> None:
    world, texts, _ = planted()
    found = frontiers(entangled(0.4))[1]
    dictionary = entangled(0.4)
    chosen = found.latents[:2]
    train, test = (
        x - z.toarray()[:, chosen] @ dictionary.rows[chosen].astype(float)
        for x, z in (
            (world.train_split.x, dictionary.z_train),
            (world.test_split.x, dictionary.z_test),
        )
    )
    scale = world.train_split.x.astype(float).std(0)
    times = texts.counts[0].astype(int) * np.isin(world.train, (1, 2))
    s, y = (np.repeat(each, times, axis=0) for each in (train / scale, world.train == 1))
    gap = s[y].mean(0) - s[~y].mean(0)
    v = np.linalg.solve(np.cov(s.T, bias=True) + np.eye(s.shape[1]), gap)
    mine, rest = np.isin(world.test, (1, 2)), np.isin(world.test, (0, 3))
    own = roc_auc_score(world.test[mine] == 1, test[mine] / scale @ v)
    others = [
        roc_auc_score(world.test[rest] == c, test[rest] @ texts.probes[0, c].astype(float))
        for c in (0, 3)
    ]
    place = found.ns.index(2)
    assert found.sae.own[place, 0].sum() == pytest.approx(own, abs=2e-3)
    assert found.sae.others[place, 0].sum() == pytest.approx(np.mean(others), abs=1e-6)


def test_random_latents_have_the_total_effect_of_those_they_are_compared_with() -> None:
    strength = np.array([5.0, 3.0, 1.0, 1.0, 0.5])
    counts = matched(strength, np.array([0, 1]), np.array([4, 2, 1, 3, 0]), (1, 2, 9))
    assert counts == (4, 5, 5)
    assert matched(strength, np.array([], int), np.array([0]), (1, 2)) == (0, 0)


points = st.lists(
    st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=1, max_size=12
).map(lambda pairs: tuple(np.array(axis) for axis in zip(*pairs, strict=True)))


@given(points)
def test_no_point_lies_below_the_hull_and_its_corners_turn_left(axes) -> None:
    removal, collateral = np.minimum(axes[0], 1.0), axes[1]
    chosen = corners(removal, collateral)
    x = np.array([0.0, *removal[chosen], 1.0])
    y = np.array([0.0, *collateral[chosen], 1.0])
    assert (np.diff(x[: len(chosen) + 1]) > 0).all()
    inside = (removal > 0) & (removal < 1)
    below = np.interp(removal[inside], x, y) - collateral[inside]
    assert (below <= 1e-9).all()


def test_the_area_of_one_corner_is_removal_minus_collateral() -> None:
    assert area(np.array([0.7]), np.array([0.2])) == pytest.approx(0.5)
    assert area(np.array([]), np.array([])) == pytest.approx(0.0)
    assert area(np.array([[1.0], [0.3]]), np.array([[0.0], [0.3]])) == pytest.approx([1.0, 0.0])


def test_a_concept_that_no_probe_finds_is_left_out_and_said_to_be() -> None:
    _, texts, _ = planted()
    rng = np.random.default_rng(0)
    blind = replace(texts, x_train=rng.normal(size=texts.x_train.shape).astype(np.float32))
    found = trace(blind, references(blind), oracle().ablation(), 0, NS)
    whole = estimates({"tpp": found}, 0)[0]
    assert whole.status == "unable"
    assert "none of the 4 concepts" in whole.reason
    assert set(whole.details["excluded"]) == {f"tpp/planted: {each.concept}" for each in found}


def test_leace_no_better_than_random_latents_leaves_nothing_to_win() -> None:
    hopeless = [
        replace(each, erased={"leace": each.clean}, random=(each.sae,))
        for each in frontiers(oracle())
    ]
    found = estimates({"tpp": hopeless}, 0)[0]
    assert found.status == "undefined"
    assert "nothing to win" in found.reason


def test_there_is_an_estimate_for_all_tasks_and_for_each_kind() -> None:
    found = estimates({"scr": [], "tpp": frontiers(oracle())}, 0)
    assert [(each.metric, each.params) for each in found] == list(NAMES)
    assert [each.status for each in found] == ["ok", "undefined", "ok"]
    assert found[0].value == found[2].value


def test_references_survive_the_cache() -> None:
    _, _, known = planted()
    again = References.from_arrays(known.to_arrays())
    np.testing.assert_array_equal(again.directions, known.directions)
    for one, two in zip(known.curves, again.curves, strict=True):
        assert list(one) == list(two)
        for name in one:
            np.testing.assert_array_equal(one[name].others, two[name].others)


def test_scores_of_drawn_texts_give_the_areas_of_these_texts_alone() -> None:
    world, texts, _ = planted()
    concept, drawn = texts.concepts[0], np.r_[np.arange(0, 240, 2), np.arange(1, 120)]
    ablation = entangled(0.4).ablation()
    scores = texts.scores(concept, ablation.changes(texts, np.arange(4), (1, 2)))
    label = concept.own.test[drawn]
    about = replace(
        concept,
        own=replace(concept.own, test=label),
        others={c: replace(each, test=each.test[drawn]) for c, each in concept.others.items()},
    )
    read = ProbeScores(scores.own[..., drawn], scores.others[..., drawn], scores.known).read(about)
    wanted = [
        [roc_auc_score(label[label >= 0], fit[label >= 0]) for fit in point]
        for point in scores.own[..., drawn]
    ]
    assert read.own.sum(-1) == pytest.approx(np.array(wanted))
    assert read.own.shape[-1] == read.others.shape[-1] == len(drawn) != len(world.test)


def test_what_a_text_adds_to_the_error_is_how_the_score_moves_with_its_weight() -> None:
    found, step = score(entangled(0.4)), 1e-4
    cells, ours = planted()[1].cells_test, frontiers(entangled(0.4))
    moved = np.array([_weighed(ours, text, step) - _weighed(ours, text, -step) for text in FEW])
    slopes, told = moved / (2 * step), np.array(found.influence)[list(FEW)]
    for cell in range(len(CLASSES)):
        inside = cells[list(FEW)] == cell
        # What a text adds is its slope less its cell's mean, which a few texts do not tell.
        assert np.diff(told[inside]) == pytest.approx(np.diff(slopes[inside]), rel=1e-3, abs=1e-6)


FEW = (0, 1, 2, 60, 61, 62, 120, 121, 122, 180, 181, 182)


def _weighed(ours: list[Frontier], text: int, step: float) -> float:
    """The score where one test text counts a little more, or less."""

    def weighed(read: ProbeAucs) -> ProbeAucs:
        own, others = read.own.copy(), read.others.copy()
        own[..., text] *= 1 + step
        others[..., text] *= 1 + step
        return replace(read, own=own, others=others)

    changed = [
        replace(
            each,
            clean=weighed(each.clean),
            sae=weighed(each.sae),
            random=tuple(map(weighed, each.random)),
            erased={name: weighed(read) for name, read in each.erased.items()},
        )
        for each in ours
    ]
    value = estimates({"tpp": changed}, 0)[0].value
    assert value is not None
    return value


def test_its_error_is_what_texts_and_fits_add() -> None:
    found = score(entangled(0.4))
    assert np.linalg.norm(found.influence) == pytest.approx(found.se, rel=0.1)
    assert len(found.influence) == 240 + FITS
