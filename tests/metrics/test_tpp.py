"""TPP on worlds whose truth is planted, and what may not change it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import DataError
from pytest_sae.metrics import class_probes, tpp
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.metrics.class_probes import balanced, members, one_versus_rest
from pytest_sae.metrics.tpp import Effects, TppTask
from pytest_sae.metrics.tpp_estimates import estimates
from pytest_sae.metrics.written_scale import WrittenScale
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.probes import ProbeSets
from tests.metrics.planted import CLASSES, LATENTS, TppWorld, permuted, rescaled, tpp_world


@pytest.fixture(scope="module")
def world() -> TppWorld:
    return tpp_world()


def figures(task: TppTask, n: int = 1):
    return {estimate.metric: estimate for estimate in estimates([task], seed=0, headline_n=n)}


def values(task: TppTask, n: int = 1) -> dict[str, float]:
    return {metric: estimate.value for metric, estimate in figures(task, n).items()}


def at_scale(task: TppTask, factor: float, few: tuple[int, ...] = (1,)) -> Estimate:
    scale = WrittenScale(factor, np.full(1001, factor), (0.0, 0.0), 2)
    return estimates([task], seed=0, headline_n=1, scale=scale, few=few)[-1]


def curves(task: TppTask) -> list[float]:
    return [
        point["value"]
        for estimate in figures(task).values()
        for name in ("curve", "intended", "unintended")
        for point in estimate.details[name].values()
    ]


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_numbering_of_the_latents_changes_nothing(world: TppWorld, seed: int) -> None:
    permutation = np.random.default_rng(seed).permutation(LATENTS)
    changed = world.score(**permuted(world, permutation))
    assert curves(changed) == pytest.approx(curves(world.score()), abs=1e-9)


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_units_of_the_latents_change_nothing(world: TppWorld, seed: int) -> None:
    scale = 2.0 ** np.random.default_rng(seed).integers(-6, 7, LATENTS)
    changed = world.score(**rescaled(world, scale))
    assert curves(changed) == pytest.approx(curves(world.score()), abs=1e-9)


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_order_of_the_test_texts_changes_no_default_value(world: TppWorld, seed: int) -> None:
    """Not the canonical one: which negatives it draws is by position."""
    texts = np.random.default_rng(seed).permutation(len(world.test))
    z = world.test_split.z[texts]
    changed = tpp.score_task(
        "planted",
        CLASSES,
        world.probes,
        world.train,
        world.train_split.z,
        world.test[texts],
        world.test_split.x[texts],
        world.rows,
        AffineRemoval(z, world.rows),
        0,
        (1, 5, 20),
    )
    for metric in ("tpp", "tpp.margin"):
        assert values(changed)[metric] == pytest.approx(values(world.score())[metric], abs=1e-9)


def test_ablating_a_class_own_latent_costs_that_class_alone(world: TppWorld) -> None:
    found = figures(world.score())["tpp"]
    assert found.value == pytest.approx(1.0, abs=0.03)
    assert found.details["unintended"]["1"]["value"] == pytest.approx(0.0, abs=0.03)
    assert found.details["intended"]["1"]["value"] == pytest.approx(1.0, abs=0.03)


def test_latents_that_know_nothing_cost_no_class(world: TppWorld) -> None:
    rows = world.rows.copy()
    rows[: len(CLASSES)] = 0
    found = figures(world.score(rows=rows))
    assert found["tpp"].value == pytest.approx(0.0, abs=0.02)
    assert found["tpp.margin"].value == pytest.approx(0.0, abs=0.02)


def test_brute_force_that_costs_all_classes_alike_scores_nothing(world: TppWorld) -> None:
    """Every ablation takes every probe to chance: intended 1, unintended 1."""
    task = world.score()
    whole = {
        variant: replace(effects, unintended=effects.intended)
        for variant, effects in task.effects.items()
    }
    assert set(values(replace(task, effects=whole)).values()) == {0.0}


def test_a_dictionary_that_writes_nothing_scores_exactly_zero(world: TppWorld) -> None:
    for estimate in figures(world.score(rows=np.zeros_like(world.rows))).values():
        assert (estimate.value, estimate.se, estimate.ci) == (0.0, 0.0, (0.0, 0.0))


def test_latents_that_speak_against_a_class_are_not_ablated(world: TppWorld) -> None:
    """Signed effects: a class told by the absence of its latent scores nothing."""
    rows = -world.rows
    found = figures(world.score(rows=rows))["tpp.margin"]
    assert found.value < 0.05
    latents = [each["latents"] for each in found.details["tasks"]["planted"].values()]
    assert max(latents) <= 20


def test_fewer_positive_effects_than_n_are_counted(world: TppWorld) -> None:
    rows = world.rows.copy()
    rows[len(CLASSES) :] = 0
    details = figures(world.score(rows=rows), n=20)["tpp"].details["tasks"]["planted"]
    assert {each["latents"] for each in details.values()} == {1}


def test_classes_that_cannot_be_told_apart_have_nothing_to_lose() -> None:
    found = figures(tpp_world(strength=0.0).score())
    for metric in ("tpp", "tpp.margin"):
        assert (found[metric].status, found[metric].value) == ("unable", None)
        assert "nothing to lose" in found[metric].reason
    assert found["tpp.canonical"].value == pytest.approx(0.0, abs=0.1)


def test_shuffled_labels_have_nothing_to_lose(world: TppWorld) -> None:
    labels = np.random.default_rng(2).permutation(world.train)
    probes = class_probes.fit_probes("planted", world.train_split.x, labels, len(CLASSES), 0)
    assert figures(replace(world, probes=probes).score())["tpp"].status == "unable"


def test_canonical_is_the_mean_over_classes_of_own_minus_other_losses(world: TppWorld) -> None:
    """Against the definition, cell by cell, from accuracies on the fixed negatives."""
    task, probes, count = world.score(), world.probes.published, len(CLASSES)
    chosen = members(world.test, count, generator(0, "tpp", "planted", "test"))
    targets = one_versus_rest(world.test, count)
    x = world.test_split.x.astype("f8")
    z, rows = world.test_split.z.toarray(), world.rows

    def accuracy(probe: int, activations: np.ndarray) -> float:
        logits = activations @ probes.weight[probe] + probes.bias[probe]
        return float(((logits > 0) == targets[probe])[chosen[probe]].mean())

    scores = []
    dense = world.train_split.z.toarray().astype("f8")
    for c in range(count):
        mine = world.train == c
        contrast = dense[mine].mean(0) - dense[~mine].mean(0)
        effects = np.maximum(0, contrast) * (rows @ probes.weight[c])
        ablated = [j for j in np.argsort(-effects)[:5] if effects[j] > 0]
        changed = x - z[:, ablated] @ rows[ablated]
        losses = [accuracy(probe, x) - accuracy(probe, changed) for probe in range(count)]
        scores.append(losses[c] - (sum(losses) - losses[c]) / (count - 1))
    assert figures(task, n=5)["tpp.canonical"].value == pytest.approx(np.mean(scores), abs=1e-12)


def test_fits_on_other_texts_are_scored_as_if_these_were_the_training_texts(
    world: TppWorld,
) -> None:
    """Against texts written out as often as they are drawn, with the probes as the published."""
    task, known = world.score(), world.train_split
    assert task.redrawn is not None
    assert len(world.probes.redrawn) == task.redrawn.shape[1] == 4
    for place, redrawn in enumerate(world.probes.redrawn):
        texts = np.repeat(np.arange(len(world.train)), redrawn.counts.astype(int))
        drawn = replace(
            world,
            train=world.train[texts],
            train_split=replace(known, x=known.x[texts], z=known.z[texts]),
            probes=ProbeSets(redrawn.probes, world.probes.fits),
        )
        for number, n in enumerate(task.ns):
            expected = values(drawn.score(), n)["tpp.canonical"]
            assert task.redrawn[number, place] == pytest.approx(expected, abs=1e-9)


def test_the_error_of_canonical_has_the_variance_from_fit_to_fit_in_it() -> None:
    """By hand: nothing else varies, as every text loses the same."""
    task = by_hand(0.4, 0.1, 0.4, 50, "one")
    scores = [0.25, 0.3, 0.35, 0.4]
    tasks = [replace(task, redrawn=np.array([scores])), replace(task, name="two")]
    (canonical,) = (each for each in estimates(tasks, 0) if each.metric == "tpp.canonical")
    assert canonical.value == pytest.approx(0.3)
    expected = np.std(scores, ddof=1) / 2  # the mean over two tasks, of which the other is sure
    assert math.hypot(*canonical.influence) == pytest.approx(expected, rel=1e-6)
    assert canonical.se == pytest.approx(expected, rel=0.1)


def test_balanced_weights_give_every_other_class_the_same_share() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    weights = balanced(labels, 3)
    np.testing.assert_allclose(weights.sum(1), 1.0)
    for c in range(3):
        shares = [weights[c][labels == other].sum() for other in range(3)]
        assert shares == pytest.approx([0.5 if other == c else 0.25 for other in range(3)])


@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=5), seed=st.integers(0, 50))
def test_canonical_negatives_are_stratified_over_the_other_classes(
    sizes: list[int],
    seed: int,
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    chosen = members(labels, len(sizes), np.random.default_rng(seed))
    for c, row in enumerate(chosen):
        wanted = -(-sizes[c] // (len(sizes) - 1))
        for other, size in enumerate(sizes):
            expected = size if other == c else min(wanted, size)
            assert row[labels == other].sum() == expected


def by_hand(intended: float, unintended: float, achievable: float, each: int, name: str) -> TppTask:
    labels = np.arange(len(CLASSES) * each) % len(CLASSES)
    share = np.full((1, 1, len(labels)), 1 / len(labels))
    losses = np.zeros((1, len(CLASSES), len(CLASSES)))
    effects = Effects(
        intended * share,
        unintended * share,
        achievable * share[0],
        losses,
        np.full((1, len(CLASSES)), 20),
    )
    return TppTask(
        name, CLASSES, (20,), labels, {"canonical": effects, "accuracy": effects, "margin": effects}
    )


def test_default_is_a_ratio_of_sums_and_canonical_a_mean_over_tasks() -> None:
    tasks = [by_hand(0.4, 0.1, 0.4, 50, "one"), by_hand(0.1, 0.1, 0.2, 20, "two")]
    default, _, canonical = estimates(tasks, seed=0)
    assert default.value == pytest.approx((0.3 + 0.0) / (0.4 + 0.2))
    assert canonical.value == pytest.approx((0.3 + 0.0) / 2)
    assert default.n == {"texts": 280, "tasks": 2, "classes": 8}


def test_the_margin_is_blind_to_a_shifted_threshold(world: TppWorld) -> None:
    """A latent that is always on moves every logit alike: nothing is unlearned by removing it."""
    z_train, z_test = world.train_split.z.tolil(), world.test_split.z.tolil()
    z_train[:, 10], z_test[:, 10] = 1.0, 1.0
    before = values(world.score(), n=20)["tpp.margin"]
    after = values(world.score(z_train=z_train.tocsr(), z_test=z_test.tocsr()), n=20)["tpp.margin"]
    assert after == pytest.approx(before, abs=0.02)


@given(strength=st.sampled_from([1.0, 2.0, 5.0]))
def test_rescaled_is_the_same_however_much_more_than_is_there_a_dictionary_writes(
    world: TppWorld, strength: float
) -> None:
    weaker = at_scale(world.score(rows=world.rows * np.float32(strength)), 1 / strength)
    whole = figures(world.score())["tpp.margin"]
    assert weaker.value == pytest.approx(whole.value, rel=1e-5)
    assert weaker.se == pytest.approx(whole.se, rel=1e-4)
    assert math.hypot(*weaker.influence) == pytest.approx(math.hypot(*whole.influence), rel=1e-4)


def test_to_write_too_weakly_is_not_made_up_for(world: TppWorld) -> None:
    """Else latents that no task reads could be halved, and all others would count for more."""
    margin, found = figures(world.score())["tpp.margin"], at_scale(world.score(), 1.7)
    assert (found.value, found.se, found.influence[:-2]) == (
        margin.value,
        margin.se,
        margin.influence,
    )
    assert found.details["scale"] == 1.7


def test_the_mean_over_few_latents_errs_as_slow_resampling_of_it_says() -> None:
    """Every replicate draws texts and fits once and reads all n of it: they err together."""
    world, few = tpp_world(strength=0.2, test=20), (1, 5, 20)
    task = world.score(rows=world.rows * np.float32(0.7))
    effects, found = task.effects["margin"], at_scale(task, 0.8, few)
    rng, drawn = np.random.default_rng(5), []

    def score(texts: np.ndarray, fits: np.ndarray) -> float:
        scores = []
        for place in range(len(few)):
            won, there = 0.0, 0.0
            for fit in fits:
                own, others = effects.intended[place, fit], effects.unintended[place, fit]
                won += (own[texts] - others[texts]).sum()
                there += effects.achievable[fit, texts].sum()
            scores.append(0.8 * won / there)
        return float(np.mean(scores))

    every = np.arange(len(task.labels))
    for _ in range(1500):
        groups = [rng.choice(np.flatnonzero(task.labels == c), 20) for c in range(len(CLASSES))]
        drawn.append(score(np.concatenate(groups), np.arange(5)))
    alone = [score(every, np.array([fit])) for fit in range(5)]
    # A mean of five fits on resampled training texts: those are other ones too.
    slow = math.hypot(np.std(drawn), np.std(alone, ddof=1) * math.sqrt(1 + 1 / 5))
    each = [at_scale(task, 0.8, (n,)) for n in few]
    assert found.value == pytest.approx(np.mean([one.value for one in each]), rel=1e-12)
    assert found.se == pytest.approx(slow, rel=0.08)
    assert math.hypot(*found.influence) == pytest.approx(slow, rel=0.08)
    apart = math.hypot(*(one.se for one in each)) / len(few)  # if they erred by themselves
    assert found.se > 1.2 * apart


def test_the_factor_errs_as_far_as_it_is_below_one(world: TppWorld) -> None:
    draws = np.concatenate([[1.2], 1.2 + 0.05 * np.random.default_rng(0).standard_normal(1000)])
    unsure = WrittenScale(1.2, draws, (0.04, -0.03), 2)
    found = estimates([world.score()], seed=0, headline_n=1, scale=unsure, few=(1,))[-1]
    assert found.se == pytest.approx(figures(world.score())["tpp.margin"].se, rel=0.01)
    assert found.influence[-2:] == (0.0, 0.0)


def test_what_explains_nothing_scores_nothing_when_rescaled(world: TppWorld) -> None:
    assert at_scale(world.score(), 0.0).value == 0.0
    assert at_scale(world.score(), -0.1).value < 0


def test_the_error_of_the_scale_is_part_of_the_error(world: TppWorld) -> None:
    rng, task = np.random.default_rng(0), world.score()
    draws = np.concatenate([[0.5], 0.5 + 0.05 * rng.standard_normal(1000)])
    unsure = WrittenScale(0.5, draws, (0.04, -0.03), 2)
    margin = figures(task)["tpp.margin"]
    found = estimates([task], seed=0, headline_n=1, scale=unsure, few=(1,))[-1]
    wanted = math.hypot(0.5 * margin.se, 0.05 * margin.value)
    assert found.se == pytest.approx(wanted, rel=0.1)
    assert math.hypot(*found.influence) == pytest.approx(wanted, rel=0.1)
    assert found.n["scale_texts"] == 2


def test_the_interval_widens_with_fewer_texts() -> None:
    few, many = (
        figures(tpp_world(strength=0.15, test=each).score())["tpp"].se for each in (20, 180)
    )
    assert few > 1.5 * many


def test_the_same_run_gives_the_same_bits(world: TppWorld) -> None:
    assert figures(world.score()) == figures(world.score())


def test_details_are_strict_json_with_the_curve_over_n(world: TppWorld) -> None:
    for estimate in figures(world.score()).values():
        details = json.loads(json.dumps(dict(estimate.details), allow_nan=False))
        assert list(details["curve"]) == ["1", "5", "20"]
        assert details["curve"]["1"]["value"] == estimate.value
        assert list(details["tasks"]["planted"]) == list(CLASSES)


@pytest.mark.parametrize("labels", [[0, 0, 2], [0, 0, 0]])
def test_a_class_without_texts_is_an_error_that_names_it(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"these have none: \[1"):
        one_versus_rest(np.array(labels), 3)


def test_an_n_that_was_not_measured_is_an_error(world: TppWorld) -> None:
    with pytest.raises(ValueError, match="n=7 was not measured"):
        estimates([world.score()], seed=0, headline_n=7)
    with pytest.raises(ValueError, match="n=2 was not measured"):
        at_scale(world.score(), 1.0, few=(1, 2))
    with pytest.raises(ValueError, match="at least one task"):
        estimates([], seed=0)


def test_a_permuted_decoder_collapses(world: TppWorld) -> None:
    rows = world.rows[np.random.default_rng(3).permutation(LATENTS)]
    assert figures(world.score(rows=rows))["tpp"].value < 0.3


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_readings_of_drawn_texts_are_those_of_a_task_of_these_texts(
    world: TppWorld, seed: int
) -> None:
    count = len(world.test)
    drawn = np.sort(np.random.default_rng(seed).integers(count, size=count))

    def read(texts: np.ndarray) -> tpp.ProbeReadings:
        removal = AffineRemoval(world.test_split.z[texts], world.rows)
        known, new = world.train_split.z, world.test_split.x[texts]
        return tpp.read_probes(
            world.probes, world.train, known, new, world.rows, removal, (1, 5, 20)
        )

    taken, made = (
        readings.score("planted", CLASSES, world.test[drawn], 0)
        for readings in (read(np.arange(count)).take(drawn), read(drawn))
    )
    assert curves(taken) == pytest.approx(curves(made), abs=1e-9)
