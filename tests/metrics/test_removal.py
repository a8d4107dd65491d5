"""What few latents remove for good: planted dictionaries, the definition done slowly, attacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from pytest_sae.metrics.ablation import MeasuredRemoval
from pytest_sae.metrics.frontier import references
from pytest_sae.metrics.frontier_texts import TaskTexts, pairs
from pytest_sae.metrics.removal import NS, Removed, estimates, trace
from pytest_sae.numbers.estimate import Estimate
from tests.metrics.planted import CLASSES
from tests.metrics.test_frontier import Dictionary, entangled, noise, oracle, planted


def removed(dictionary: Dictionary) -> list[Removed]:
    _, texts, known = planted()
    return trace(texts, known, dictionary.ablation())


def score(dictionary: Dictionary) -> Estimate:
    return estimates({"scr": [], "tpp": removed(dictionary)}, 0)[0]


def value(dictionary: Dictionary) -> float:
    found = score(dictionary).value
    assert found is not None
    return found


def coded(codes: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> Dictionary:
    return Dictionary(*(sparse.csr_array(z) for z in codes), rows.astype(np.float32))


def split(reads: np.ndarray, rows: np.ndarray) -> Dictionary:
    """Two latents for each direction that is read, one for each sign, from the mean on: dense."""
    train, test = (each.x.astype(float) for each in _splits())
    before = [(x - train.mean(0)) @ reads.T for x in (train, test)]
    codes = [np.maximum(np.concatenate([p, -p], axis=1), 0) for p in before]
    return coded((codes[0], codes[1]), np.concatenate([rows, -rows]))


def _splits():
    world = planted()[0]
    return world.train_split, world.test_split


def test_one_latent_per_concept_takes_it_all_and_nothing_else() -> None:
    found = score(oracle())
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.n == {"texts": 240, "concepts": 4, "tasks": 1}
    assert found.details["leace"]["value"] == pytest.approx(1.0, abs=0.05)


def test_latents_that_know_nothing_are_not_above_nothing() -> None:
    assert value(noise()) < 0.05


def test_the_more_entangled_the_latents_the_lower_the_value() -> None:
    found = [score(entangled(share)) for share in (0.0, 0.3, 0.8)]
    assert found[0].ci[0] > found[1].ci[1]
    assert found[1].ci[0] > found[2].ci[1]


def test_a_dictionary_that_writes_nothing_removes_exactly_nothing() -> None:
    silent = oracle()
    assert value(replace(silent, rows=np.zeros_like(silent.rows))) == 0.0


def test_wiping_the_whole_activation_damages_as_much_as_it_removes() -> None:
    _, texts, known = planted()
    wiped = (
        MeasuredRemoval(lambda sets, x=each.x: np.stack([x] * len(sets))) for each in _splits()
    )
    train, test = wiped
    ablation = replace(oracle().ablation(), removal_train=train, removal=test)
    found = estimates({"tpp": trace(texts, known, ablation)}, 0)[0]
    assert found.value == pytest.approx(0.0, abs=1e-9)


def test_numbering_of_latents_changes_nothing() -> None:
    clean = entangled(0.4)
    order = np.random.default_rng(0).permutation(clean.rows.shape[0])
    shuffled = Dictionary(clean.z_train[:, order], clean.z_test[:, order], clean.rows[order])
    assert value(shuffled) == pytest.approx(value(clean), abs=1e-9)


def test_units_of_latents_change_nothing() -> None:
    clean = entangled(0.4)
    scale = 2.0 ** np.random.default_rng(0).integers(-3, 4, clean.rows.shape[0])
    z_train, z_test = (sparse.csr_array(z * scale) for z in (clean.z_train, clean.z_test))
    scaled = Dictionary(z_train, z_test, clean.rows / scale[:, None].astype(np.float32))
    assert value(scaled) == pytest.approx(value(clean), abs=1e-9)


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
    one = score(clean)
    two = estimates({"tpp": trace(moved, references(moved), other.ablation())}, 0)[0]
    assert two.value == pytest.approx(one.value, abs=1e-9)
    assert two.ci == pytest.approx(one.ci, abs=1e-9)


def test_the_value_is_what_decoding_refitting_and_reading_by_hand_gives() -> None:
    _, texts, _ = planted()
    dictionary = entangled(0.4)
    fits = range(len(texts.counts))
    clean = np.array([[by_hand(texts, dictionary, c, fit, 0) for fit in fits] for c in range(4)])
    lost = []
    for n in NS:
        after = [[by_hand(texts, dictionary, c, fit, n) for fit in fits] for c in range(4)]
        own, others = ((clean - np.array(after)) / (clean - 0.5).sum((0, 1))).sum((0, 1))
        lost.append(own - others)
    assert value(dictionary) == pytest.approx(np.mean(lost), abs=2e-3)


def by_hand(
    texts: TaskTexts,
    dictionary: Dictionary,
    one: int,
    fit: int,
    n: int,
    ranked_on: np.ndarray | None = None,
) -> tuple[float, float]:
    """AUC of a refitted probe of class `one` against the next, and of the other classes' probes."""
    world = planted()[0]
    two = (one + 1) % len(CLASSES)
    rest = [c for c in range(len(CLASSES)) if c not in (one, two)]
    z_train, z_test = dictionary.z_train.toarray(), dictionary.z_test.toarray()
    x_train, x_test = (each.x.astype(float) for each in _splits())
    scale, rows = x_train.std(0), dictionary.rows.astype(float)
    among = np.isin(world.train, (one, two))
    ranking = np.arange(len(among)) if ranked_on is None else ranked_on
    drawn = ranking[among[ranking]]
    probe = discriminant(x_train[drawn] / scale, world.train[drawn] == one) / scale
    means = [z_train[ranking[world.train[ranking] == each]].mean(0) for each in (one, two)]
    gap = means[0] - means[1]
    effect = gap * (rows @ probe)
    chosen = [j for j in np.argsort(-effect)[:n] if effect[j] > 0]
    train = x_train - z_train[:, chosen] @ rows[chosen]
    test = x_test - z_test[:, chosen] @ rows[chosen]
    drawn = np.repeat(np.arange(len(among)), texts.counts[fit].astype(int) * among)
    again = discriminant(train[drawn] / scale, world.train[drawn] == one) / scale
    mine, theirs = np.isin(world.test, (one, two)), np.isin(world.test, rest)
    own = roc_auc_score(world.test[mine] == one, test[mine] @ again)
    others = [
        roc_auc_score(world.test[theirs] == c, test[theirs] @ texts.probes[fit, c].astype(float))
        for c in rest
    ]
    return own, float(np.mean(others))


def discriminant(s: np.ndarray, positive: np.ndarray) -> np.ndarray:
    gap = s[positive].mean(0) - s[~positive].mean(0)
    return np.linalg.solve(np.cov(s.T, bias=True) + np.eye(s.shape[1]), gap)


def test_two_dictionaries_are_compared_by_what_each_text_adds_to_their_errors() -> None:
    found = score(entangled(0.4))
    assert np.linalg.norm(found.influence) == pytest.approx(found.se, rel=0.1)
    assert len(found.influence) == 240 + found.seeds + 1  # and what ranks the latents


@pytest.mark.parametrize("fit", [0, 1])
def test_latents_are_ranked_again_on_a_fits_own_texts_and_read_by_it_as_by_hand(fit: int) -> None:
    _, texts, _ = planted()
    dictionary = entangled(0.4)
    drawn = np.repeat(np.arange(len(texts.cells_train)), texts.counts[fit].astype(int))
    for c, each in enumerate(removed(dictionary)):
        found = each.reranked[fit]
        wanted = np.array([by_hand(texts, dictionary, c, fit, n, drawn) for n in NS])
        assert found.own.sum(2)[:, 0] == pytest.approx(wanted[:, 0], abs=2e-3)
        assert found.others.sum(2)[:, 0] == pytest.approx(wanted[:, 1], abs=2e-3)


def test_halving_what_no_task_reads_wins_nothing() -> None:
    """`tpp.rescaled` rises by it: its factor is that of all that is written."""
    clean = entangled(0.4)
    read = np.unique(np.concatenate([each.latents for each in removed(clean)]))
    scale = np.full(clean.rows.shape[0], 0.5)
    scale[read] = 1.0
    z_train, z_test = (sparse.csr_array(z * scale) for z in (clean.z_train, clean.z_test))
    assert value(Dictionary(z_train, z_test, clean.rows)) == pytest.approx(value(clean), abs=1e-9)


def test_writing_twice_as_strongly_what_the_tasks_read_wins_nothing() -> None:
    clean = oracle()
    assert value(replace(clean, rows=2 * clean.rows)) < value(clean) - 0.3


def test_dense_latents_on_the_dual_basis_of_the_probes_are_below_the_truth() -> None:
    probes = planted()[1].probes.mean(0).astype(float)
    assert value(split(probes, np.linalg.pinv(probes).T)) < value(oracle()) - 0.3


def test_coordinates_that_no_concept_lies_along_are_below_the_truth() -> None:
    d = _splits()[0].x.shape[1]
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    assert value(split(axes, axes)) < value(oracle()) - 0.3


def test_dropping_the_latents_of_a_concept_is_seen() -> None:
    clean = oracle()
    rows = clean.rows.copy()
    rows[0] = 0
    assert value(replace(clean, rows=rows)) < value(clean) - 0.2


def test_a_concept_that_no_probe_finds_is_left_out_and_said_to_be() -> None:
    _, texts, _ = planted()
    rng = np.random.default_rng(0)
    blind = replace(texts, x_train=rng.normal(size=texts.x_train.shape).astype(np.float32))
    found = trace(blind, references(blind), oracle().ablation())
    whole = estimates({"tpp": found}, 0)[0]
    assert whole.status == "unable"
    assert set(whole.details["excluded"]) == {f"tpp/planted: {each.concept}" for each in found}


def test_there_is_an_estimate_for_all_tasks_and_for_each_kind() -> None:
    found = estimates({"scr": [], "tpp": removed(oracle())}, 0)
    assert [each.params for each in found] == [{}, {"tasks": "scr"}, {"tasks": "tpp"}]
    assert [each.status for each in found] == ["ok", "undefined", "ok"]
    assert found[0].value == found[2].value
