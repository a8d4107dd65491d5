"""Sparse probing of whole texts: planted concepts, sklearn's fits, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pytest_sae.metrics import sparse_probing, sparse_probing_estimates, transfer
from pytest_sae.metrics.class_probes import balanced, members, one_versus_rest
from pytest_sae.metrics.sparse_probing import KS, ProbedTexts, score_dataset
from pytest_sae.probes import L2, fit_logistic

CLASSES, D, LATENTS = 3, 12, 70


def texts(
    seed: int, per_class: int = 60, signal: float = 1.0, noise: float = 0.4, distractors: int = 0
) -> ProbedTexts:
    """Latent c fires on class c; all else is sparse noise; neurons are a mixture of latents."""
    rng = np.random.default_rng(seed)
    labels = np.arange(CLASSES * per_class) % CLASSES
    z = np.abs(rng.normal(size=(len(labels), LATENTS))) * (rng.random((len(labels), LATENTS)) < 0.3)
    z[:, :CLASSES] = signal * (labels[:, None] == np.arange(CLASSES)) + noise * z[:, :CLASSES]
    x = z @ np.random.default_rng(9).normal(size=(LATENTS, D))
    targets, weights = one_versus_rest(labels, CLASSES), balanced(labels, CLASSES)
    weights = weights / weights.sum(1, keepdims=True)
    return ProbedTexts(sparse.csr_array(z.astype("f4")), x.astype("f4"), targets, weights, labels)


def score(train: ProbedTexts, test: ProbedTexts) -> sparse_probing.ProbedDataset:
    rng = np.random.default_rng(0)
    chosen = tuple(members(each.cells, CLASSES, rng) for each in (train, test))
    return score_dataset("planted", ["a", "b", "c"], train, test, chosen)


def changed(split: ProbedTexts, z) -> ProbedTexts:
    return ProbedTexts(sparse.csr_array(z), split.x, split.targets, split.weights, split.cells)


def values(dataset: sparse_probing.ProbedDataset) -> dict[str, float]:
    return {
        each.metric + "".join(f":{v}" for v in each.params.values()): each.value
        for each in sparse_probing_estimates.estimates([dataset], 0)
    }


def test_a_latent_that_is_the_concept_is_found_and_suffices() -> None:
    found = score(texts(0, noise=0.0), texts(1, noise=0.0))
    assert found.chosen[:, 0].tolist() == [0, 1, 2]
    read = values(found)
    for k in KS:
        assert read[f"sparse_probing.auc:{k}"] == pytest.approx(1.0)
        assert read[f"sparse_probing:{k}"] == pytest.approx(1.0)
    assert read["sparse_probing.gain:1"] > 0.1
    assert read["sparse_probing.retention"] >= 1.0


def test_latents_that_know_nothing_are_at_chance() -> None:
    train, test = texts(0, signal=0.0, per_class=200), texts(1, signal=0.0, per_class=200)
    read = {e.metric: e for e in sparse_probing_estimates.estimates([score(train, test)], 0)}
    for name in ("sparse_probing.all_latents", "sparse_probing.activations"):
        assert abs(read[name].value - 0.5) < 4 * read[name].se
    assert read["sparse_probing.retention"].status == "unable"
    assert "nothing to keep" in read["sparse_probing.retention"].reason


def test_what_texts_add_to_the_error_of_a_figure_is_its_error() -> None:
    """The sum of squares of first derivatives, beside the spread of redrawn texts."""
    found = score(texts(0, signal=0.5), texts(1, signal=0.5))
    for each in sparse_probing_estimates.estimates([found, found], 0):
        assert len(each.influence) == 2 * CLASSES * 60
        # Both data sets are the same texts, and are drawn alike: they err together.
        one, other = np.split(np.array(each.influence), 2)
        assert np.linalg.norm(one + other) == pytest.approx(each.se, rel=0.06), each.metric


def test_the_few_latents_probes_are_sklearns() -> None:
    train, test = texts(0), texts(1)
    found, known, new = score(train, test), train.z.toarray(), test.z.toarray()
    difference = np.abs([known[t].mean(0) - known[~t].mean(0) for t in train.targets]) / known.std(
        0
    )
    for c in range(CLASSES):
        best = np.argsort(-difference[c], kind="stable")[:5]
        assert found.chosen[c, :5].tolist() == best.tolist()
        scale = known[:, best].std(0)
        fit = LogisticRegression(C=1 / L2, tol=1e-10, max_iter=10_000)
        fit.fit(known[:, best] / scale, train.targets[c], sample_weight=train.weights[c])
        logits = fit.decision_function(new[:, best] / scale)
        expected = roc_auc_score(test.targets[c], logits)
        assert found.latents.concepts[KS.index(5), c] == pytest.approx(expected, abs=2e-4)


def test_the_canonical_probes_are_sklearns_on_raw_columns_and_drawn_members() -> None:
    train, test = texts(0, noise=1.0), texts(1, noise=1.0)
    rng = np.random.default_rng(0)
    used, read = (members(each.cells, CLASSES, rng) for each in (train, test))
    found, known, new = score(train, test), train.z.toarray(), test.z.toarray()
    accuracies = []
    for c in range(CLASSES):
        pos, neg = used[c] & train.targets[c], used[c] & ~train.targets[c]
        best = np.argsort(-np.abs(known[pos].mean(0) - known[neg].mean(0)), kind="stable")[:2]
        fit = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
        fit.fit(known[used[c]][:, best], train.targets[c][used[c]])
        accuracies.append(fit.score(new[read[c]][:, best], test.targets[c][read[c]]))
    assert found.canonical is not None
    assert found.canonical[1].sum() == pytest.approx(np.mean(accuracies), abs=1e-9)


def test_numbering_latents_otherwise_changes_nothing() -> None:
    train, test = texts(0), texts(1)
    order = np.random.default_rng(3).permutation(LATENTS)
    moved = score(*(changed(each, each.z.toarray()[:, order]) for each in (train, test)))
    for name, value in values(score(train, test)).items():
        assert values(moved)[name] == pytest.approx(value, abs=1e-6), name


def test_rescaling_latents_changes_the_canonical_figures_only() -> None:
    train, test = texts(0, noise=1.0), texts(1, noise=1.0)
    scale = 2.0 ** np.random.default_rng(3).integers(-6, 6, LATENTS)
    scaled = score(*(changed(each, each.z.toarray() * scale) for each in (train, test)))
    plain = score(train, test)
    for name in ("latents", "all_latents"):
        np.testing.assert_allclose(
            getattr(scaled, name).concepts, getattr(plain, name).concepts, atol=1e-6
        )
    assert plain.canonical is not None
    assert scaled.canonical is not None
    assert abs(plain.canonical.sum() - scaled.canonical.sum()) > 0.01


def test_a_sparse_fit_on_all_columns_is_the_dense_one() -> None:
    train = texts(0)
    together = fit_logistic(train.z, train.targets, train.weights)
    dense = fit_logistic(train.z.toarray(), train.targets, train.weights)
    np.testing.assert_allclose(together.weight, dense.weight, atol=1e-5)
    np.testing.assert_allclose(together.bias, dense.bias, atol=1e-5)


def pooled(seed: int, concept_latents: slice, name: str) -> transfer.PooledTexts:
    rng = np.random.default_rng(seed)
    positive = np.arange(160) % 2 == 0
    z = np.abs(rng.normal(size=(160, 40))) * (rng.random((160, 40)) < 0.3)
    z[:, concept_latents] = positive[:, None] * (1 + z[:, concept_latents])
    each = sparse.csr_array(z)
    ways = dict.fromkeys(("mean", "max", "sum", "last"), each)
    return transfer.PooledTexts(name, ways, positive, positive.astype(int))


def test_a_shared_latent_transfers_and_a_private_one_does_not() -> None:
    train, home = (pooled(seed, slice(0, 1), "one") for seed in (0, 1))
    same = pooled(2, slice(0, 1), "same")
    other = pooled(3, slice(20, 21), "other")
    good, bad = transfer.fit_and_read(train, home, [same, other])
    for variant in transfer.VARIANTS:
        assert good.at_home[variant] == pytest.approx(1.0)
        assert good.shares[variant].sum() == pytest.approx(1.0)
        assert bad.shares[variant].sum() < 0.7
    found = transfer.estimates([good, bad], 0)
    assert [dict(each.params) for each in found] == [
        {"pooling": pooling, "binarised": binarised} for pooling, binarised in transfer.VARIANTS
    ]
    assert found[0].details["pairs"]["one > same"] == pytest.approx(1.0)


def test_without_a_shared_concept_transfer_has_no_data() -> None:
    assert {each.status for each in transfer.estimates([], 0)} == {"no_data"}


def test_logits_of_drawn_texts_give_the_aucs_of_these_texts_alone() -> None:
    train, test = texts(0), texts(1)
    logits = sparse_probing.fit_dataset(train, test)
    drawn = np.random.default_rng(3).integers(len(test.cells), size=400)
    labels = test.cells[drawn]
    weights = balanced(labels, CLASSES)
    few = ProbedTexts(
        test.z[drawn],
        test.x[drawn],
        test.targets[:, drawn],
        weights / weights.sum(1, keepdims=True),
        labels,
    )
    read = sparse_probing.Logits(
        logits.latents[..., drawn],
        logits.neurons[..., drawn],
        logits.all_latents[..., drawn],
        logits.activations[..., drawn],
        logits.chosen,
    ).read("planted", ["a", "b", "c"], few)
    for place in range(len(KS)):
        wanted = [
            roc_auc_score(labels == c, logits.latents[place, c, drawn]) for c in range(CLASSES)
        ]
        assert read.latents.concepts[place] == pytest.approx(wanted)
