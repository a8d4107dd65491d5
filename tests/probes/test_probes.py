"""Batched probe fits against torch's own optimiser and against sklearn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pytest_sae.errors import MeasurementError
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.probes import (
    PUBLISHED,
    LinearProbes,
    ProbeRecipe,
    ProbeSets,
    Redrawn,
    fit_logistic,
    fit_published,
    schedule,
)

TEXTS, D, PROBES = 150, 12, 4


def problem(seed: int = 0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(TEXTS, D)) @ rng.normal(size=(D, D)) + rng.normal(size=D)).astype("f4")
    scores = x @ rng.normal(size=(D, PROBES)) + rng.normal(size=(TEXTS, PROBES)) * 3
    return x, (scores > np.median(scores, axis=0)).T


def rngs(count: int = PROBES) -> list[np.random.Generator]:
    return [generator(0, "probe", str(probe)) for probe in range(count)]


def members() -> list[np.ndarray]:
    """Probes of two different sizes, one with an odd last batch."""
    return [np.arange(TEXTS), np.arange(0, TEXTS, 2), np.arange(TEXTS), np.arange(1, TEXTS, 2)]


def torch_fit(x, y, texts, rng, recipe: ProbeRecipe) -> np.ndarray:
    """The recipe with nn.Linear, AdamW and autograd, on the same batches."""
    plan = schedule(texts, D, recipe, rng)
    inputs, targets = torch.as_tensor(x), torch.as_tensor(y.astype("f4"))
    probe = torch.nn.Linear(D, 1)
    with torch.no_grad():
        probe.weight[:] = torch.as_tensor(plan.start[None, :-1])
        probe.bias[:] = float(plan.start[-1])
    optimiser = torch.optim.AdamW(probe.parameters(), lr=recipe.lr)
    best, best_accuracy = None, -1.0
    for epoch in plan.order:
        for batch in torch.as_tensor(epoch).split(recipe.batch):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                probe(inputs[batch])[:, 0], targets[batch]
            )
            optimiser.zero_grad()
            (loss + recipe.l1 * probe.weight.abs().sum()).backward()
            optimiser.step()
        guesses = probe(inputs[plan.validation])[:, 0] > 0
        accuracy = float((guesses == (targets[plan.validation] > 0)).float().mean())
        if accuracy > best_accuracy:
            best_accuracy = accuracy
            best = torch.cat([probe.weight[0], probe.bias]).detach().clone()
    return best.numpy()


@pytest.mark.parametrize("recipe", [PUBLISHED, ProbeRecipe(lr=0.05, epochs=4, batch=7, l1=0.02)])
def test_the_published_recipe_is_torchs_adamw_with_autograd(recipe: ProbeRecipe) -> None:
    x, labels = problem()
    found = fit_published(x, labels, members(), rngs(), recipe)
    for probe, (texts, rng) in enumerate(zip(members(), rngs(), strict=True)):
        expected = torch_fit(x, labels[probe], texts, rng, recipe)
        np.testing.assert_allclose(found.weight[probe], expected[:-1], atol=1e-5)
        np.testing.assert_allclose(found.bias[probe], expected[-1], atol=1e-5)


def test_a_published_fit_does_not_depend_on_its_neighbours() -> None:
    x, labels = problem()
    together = fit_published(x, labels, members(), rngs())
    alone = fit_published(x, labels[2:3], members()[2:3], rngs()[2:3])
    np.testing.assert_allclose(together.weight[2:3], alone.weight, atol=1e-5)


def test_a_published_fit_learns() -> None:
    x, labels = problem()
    probes = fit_published(x, labels, [np.arange(TEXTS)] * PROBES, rngs(), ProbeRecipe(lr=0.05))
    assert ((probes.logits(x) > 0) == labels).mean() > 0.8


def test_the_epoch_is_not_chosen_on_texts_outside_the_members() -> None:
    x, labels = problem()
    texts = np.arange(100)
    before = fit_published(x, labels[:1], [texts], rngs(1))
    labels[:, 100:] = ~labels[:, 100:]
    x[100:] = 7.0
    after = fit_published(x, labels[:1], [texts], rngs(1))
    np.testing.assert_array_equal(before.weight, after.weight)


def test_validation_and_training_parts_share_no_text() -> None:
    plan = schedule(np.arange(10, 60), D, PUBLISHED, generator(0, "x"))
    assert len(plan.validation) == 10
    assert (np.sort(plan.order, axis=1) == np.sort(plan.order[0])).all()
    assert sorted([*plan.validation, *plan.order[0]]) == list(range(10, 60))


def test_too_few_members_are_an_error_that_says_so() -> None:
    x, labels = problem()
    with pytest.raises(MeasurementError, match="2 training texts"):
        fit_published(x, labels[:1], [np.arange(2)], rngs(1))


@pytest.mark.parametrize("l2", [1e-3, 1e-2, 1.0])
def test_logistic_probes_are_sklearns(l2: float) -> None:
    x, labels = problem()
    weights = np.random.default_rng(1).integers(0, 4, (PROBES, TEXTS)).astype(float)
    found = fit_logistic(x, labels, weights, l2)
    scaled = (x - x.mean(0, dtype="f8")) / x.std(0, dtype="f8")
    for probe in range(PROBES):
        witness = LogisticRegression(
            C=1 / (l2 * weights[probe].sum()), tol=1e-12, max_iter=10000, solver="newton-cholesky"
        )
        witness.fit(scaled, labels[probe], sample_weight=weights[probe])
        expected = witness.coef_[0] / x.std(0, dtype="f8")
        np.testing.assert_allclose(found.weight[probe], expected, rtol=1e-4, atol=1e-6)
        logits = witness.decision_function(scaled)
        np.testing.assert_allclose(found.logits(x)[probe], logits, rtol=1e-4, atol=1e-4)


def test_logistic_probes_of_a_call_do_not_depend_on_each_other() -> None:
    x, labels = problem()
    weights = np.ones((PROBES, TEXTS))
    alone = fit_logistic(x, labels[1:2], weights[1:2])
    np.testing.assert_allclose(
        fit_logistic(x, labels, weights).weight[1:2], alone.weight, rtol=1e-5, atol=1e-7
    )


def test_a_count_in_a_bootstrap_resample_is_a_text_that_occurs_so_often() -> None:
    x, labels = problem()
    counts = np.random.default_rng(2).integers(0, 3, TEXTS)
    rows = np.repeat(np.arange(TEXTS), counts)
    weighted = fit_logistic(x, labels[:1], counts[None].astype(float))
    scaled = (x - x.mean(0, dtype="f8")) / x.std(0, dtype="f8")
    witness = LogisticRegression(C=1 / (0.01 * len(rows)), tol=1e-12, max_iter=10000)
    witness.fit(scaled[rows], labels[0, rows])
    np.testing.assert_allclose(
        weighted.weight[0], witness.coef_[0] / x.std(0, dtype="f8"), rtol=1e-3, atol=1e-5
    )


def test_logistic_probes_follow_the_units_of_the_activations() -> None:
    x, labels = problem()
    scale, weights = np.linspace(0.01, 100, D).astype("f4"), np.ones((PROBES, TEXTS))
    plain, scaled = fit_logistic(x, labels, weights), fit_logistic(x * scale + 5, labels, weights)
    np.testing.assert_allclose(scaled.logits(x * scale + 5), plain.logits(x), atol=1e-3)


def test_a_constant_activation_gets_no_weight() -> None:
    x, labels = problem()
    x[:, 4] = 1.25
    assert (fit_logistic(x, labels, np.ones((PROBES, TEXTS))).weight[:, 4] == 0).all()


def test_separable_texts_are_fitted_too() -> None:
    x, _ = problem()
    labels = (x[:, :1] > 0).T
    probes = fit_logistic(x, labels, np.ones((1, TEXTS)), l2=1e-4)
    assert ((probes.logits(x) > 0) == labels).all()


@pytest.mark.parametrize("label", [True, False])
def test_a_probe_of_one_label_is_an_error(label: bool) -> None:
    x, labels = problem()
    weights = (labels[:1] == label).astype(float)
    with pytest.raises(MeasurementError, match="negative" if label else "positive"):
        fit_logistic(x, labels[:1], weights)


def test_activations_that_are_not_finite_do_not_pass_as_a_fit() -> None:
    x, labels = problem()
    x[3, 3] = np.nan
    with pytest.raises(MeasurementError, match="1 of 150 texts are not finite"):
        fit_logistic(x, labels, np.ones((PROBES, TEXTS)))
    with pytest.raises(MeasurementError, match="first: text 3"):
        fit_published(x, labels, members(), rngs())


@pytest.mark.parametrize("number", [0, 2])
def test_probe_sets_survive_a_cache_bit_by_bit(number: int) -> None:
    rng = np.random.default_rng(0)
    first, *fits = [
        LinearProbes(rng.normal(size=(3, D)).astype("f4"), rng.normal(size=3).astype("f4"))
        for _ in range(4)
    ]
    redrawn = Redrawn(fits[0], rng.integers(3, size=9).astype(float))
    sets = ProbeSets(first, tuple(fits), (redrawn,) * number)
    again = ProbeSets.from_arrays(sets.to_arrays())
    assert [len(again.redrawn), len(again.fits)] == [number, 3]
    for old, new in zip(sets.every, again.every, strict=True):
        np.testing.assert_array_equal(old.weight, new.weight)
        np.testing.assert_array_equal(old.bias, new.bias)
    for old, new in zip(sets.redrawn, again.redrawn, strict=True):
        np.testing.assert_array_equal(old.counts, new.counts)
