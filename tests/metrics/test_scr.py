"""SCR on worlds whose truth is planted, and what may not change it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from pytest_sae.errors import DataError
from pytest_sae.metrics.ablation import MeasuredRemoval
from pytest_sae.metrics.scr import DirectionLogits, Quadrants, ScrTask, fit_probes, score_task
from pytest_sae.metrics.scr_estimates import estimates
from pytest_sae.metrics.scr_gaps import Gap, draw_task, gap_of
from pytest_sae.probes import ProbeSets
from tests.metrics.planted import LATENTS, ScrWorld, permuted, quadrants, rescaled, scr_world


@pytest.fixture(scope="module")
def world() -> ScrWorld:
    return scr_world()


@pytest.fixture(scope="module")
def one_sided() -> ScrWorld:
    return scr_world(two_sided=False)


def figures(task: ScrTask, n: int = 2):
    """Estimates by metric and direction."""
    return {
        (estimate.metric, estimate.params.get("direction")): estimate
        for estimate in estimates([task], seed=0, headline_n=n)
    }


def values(task: ScrTask, n: int = 2):
    return {key: estimate.value for key, estimate in figures(task, n).items()}


def curves(task: ScrTask, n: int = 2) -> list[float]:
    return [
        point["value"]
        for estimate in figures(task, n).values()
        for point in estimate.details["curve"].values()
    ]


def within(estimate, truth: float, slack: float = 0.0) -> bool:
    low, high = estimate.ci
    return low - slack <= truth <= high + slack


# Properties


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_numbering_of_the_latents_changes_nothing(world: ScrWorld, seed: int) -> None:
    permutation = np.random.default_rng(seed).permutation(LATENTS)
    changed = world.score(**permuted(world, permutation))
    assert curves(changed) == pytest.approx(curves(world.score()), abs=1e-9)


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_units_of_the_latents_change_nothing(world: ScrWorld, seed: int) -> None:
    scale = 2.0 ** np.random.default_rng(seed).integers(-6, 7, LATENTS)
    changed = world.score(**rescaled(world, scale))
    assert curves(changed) == pytest.approx(curves(world.score()), abs=1e-9)


@example(seed=169)
@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_the_order_of_the_test_texts_changes_neither_value_nor_interval(
    world: ScrWorld, seed: int
) -> None:
    task = world.score()
    texts = np.random.default_rng(seed).permutation(len(task.test.cells))

    def shuffled(reading: DirectionLogits) -> DirectionLogits:
        return replace(
            reading,
            own=reading.own[:, texts],
            ablated=reading.ablated[..., texts],
            confounded=reading.confounded[:, texts],
        )

    test = Quadrants(task.test.intended[texts], task.test.spurious[texts])
    changed = replace(
        task,
        test=test,
        published={key: shuffled(part) for key, part in task.published.items()},
        fits={key: shuffled(part) for key, part in task.fits.items()},
        redrawn=tuple({key: shuffled(part) for key, part in each.items()} for each in task.redrawn),
    )
    assert values(changed) == pytest.approx(values(task), abs=1e-9)
    for key, estimate in figures(task).items():
        assert figures(changed)[key].ci == pytest.approx(estimate.ci, abs=1e-9)


@given(scale=st.floats(0.01, 100))
@settings(max_examples=8, deadline=None)
def test_the_margin_does_not_depend_on_the_length_of_a_probe(world: ScrWorld, scale: float) -> None:
    task = world.score()
    longer = {
        key: replace(
            part,
            own=part.own * scale,
            confounded=part.confounded * 3 * scale,
            ablated=part.ablated * 3 * scale,
        )
        for key, part in task.fits.items()
    }
    assert values(replace(task, fits=longer)) == pytest.approx(values(task), abs=1e-9)


# Planted truths


def test_ablating_the_spurious_latents_wins_everything_back(world: ScrWorld) -> None:
    found = figures(world.score())
    assert within(found["scr", "spurious"], 1.0)
    assert found["scr", "spurious"].value == pytest.approx(1.0, abs=0.05)
    assert found["scr.margin", "spurious"].value == pytest.approx(1.0, abs=0.05)


def test_latents_that_know_nothing_win_nothing_back(world: ScrWorld) -> None:
    """Only the background latents are left: the planted ones write nothing any more."""
    rows = world.rows.copy()
    rows[:4] = 0
    found = figures(world.score(rows=rows))
    for metric in ("scr", "scr.margin"):
        assert within(found[metric, "spurious"], 0.0, slack=0.01)
        assert found[metric, "spurious"].value == pytest.approx(0.0, abs=0.05)


def test_ablating_the_intended_concept_instead_makes_it_worse(world: ScrWorld) -> None:
    """The decoder rows of the two concepts are swapped: what is removed is the wrong one."""
    rows = world.rows.copy()
    rows[[0, 1, 2, 3]] = rows[[2, 3, 0, 1]]
    z = world.test_split.z[:, [2, 3, 0, 1, *range(4, LATENTS)]]
    z_train = world.train_split.z
    found = figures(world.score(rows=rows, z_train=z_train, z_test=z))
    assert found["scr.margin", "spurious"].ci[1] < 0


def test_a_dictionary_that_writes_nothing_scores_exactly_zero(world: ScrWorld) -> None:
    found = figures(world.score(rows=np.zeros_like(world.rows)))
    for direction in ("spurious", "intended"):
        assert found["scr", direction].value == 0.0
        assert found["scr", direction].ci == (0.0, 0.0)
        assert found["scr.margin", direction].value == pytest.approx(0.0, abs=1e-12)
    assert found["scr.canonical", None].value == 0.0


def test_the_literal_mean_margin_cannot_see_a_perfect_erasure(world: ScrWorld) -> None:
    """What METRICS.md's wording would measure: it stays where it is while the accuracy recovers."""
    reading = world.score().fits["spurious"]
    signs = np.where(world.test.intended, 1.0, -1.0)
    before, after = (np.mean(signs * part) for part in (reading.confounded, reading.ablated[0]))
    clean = np.mean(signs * reading.own)
    assert abs(after - before) < 0.05 * abs(clean - before)
    assert figures(world.score())["scr.margin", "spurious"].value > 0.95


def test_a_one_sided_latent_shifts_the_threshold_which_costs_accuracy_and_no_margin(
    one_sided: ScrWorld,
) -> None:
    """Ablation sets to zero, not to the mean: all logits move, though the concept is gone."""
    found = figures(one_sided.score())
    assert found["scr", "spurious"].value < 0.3
    assert found["scr.margin", "spurious"].value > 0.85


def test_equal_accuracies_leave_nothing_to_score() -> None:
    """No spurious concept: there is no gap in either direction, and the reason says so."""
    world = scr_world(spurious=0.0)
    for (metric, _), estimate in figures(world.score()).items():
        if metric != "scr.canonical":
            assert (estimate.status, estimate.value) == ("unable", None)
            assert "no task of 1 has a gap" in estimate.reason
            (excluded,) = estimate.details["excluded"]
            assert excluded["clean"] == pytest.approx(excluded["confounded"], abs=0.05)


def gaps_of(world: ScrWorld, probes: ProbeSets) -> list[Gap]:
    logits = np.stack([fit.logits(world.test_split.x) for fit in probes.fits])
    draws = draw_task("planted", world.test, logits[:, 2], 0)
    return [
        gap_of("planted", direction, world.test, logits[:, own], logits[:, 2], draws)
        for direction, own in (("spurious", 0), ("intended", 1))
    ]


def test_shuffled_labels_leave_nothing_to_score(world: ScrWorld) -> None:
    rng = np.random.default_rng(5)
    shuffled = world.train.cells[rng.permutation(len(world.train.cells))]
    labels = Quadrants(shuffled >= 2, shuffled % 2 == 1)
    probes = fit_probes("planted", world.train_split.x, labels, 0)
    gaps = gaps_of(world, probes)
    assert not any(gap.usable for gap in gaps)
    assert all(gap.clean == pytest.approx(0.5, abs=0.2) for gap in gaps)


def test_gaps_are_known_before_any_dictionary_and_decide_what_is_used(world: ScrWorld) -> None:
    before = gaps_of(world, world.probes)
    spurious, intended = before
    assert spurious.usable
    assert spurious.size > 0.1
    found = figures(world.score())
    for gap in (spurious, intended):
        assert found["scr", gap.direction].details["used"] == int(gap.usable)


# Arithmetic by hand


def by_hand(
    accuracies: dict[str, tuple[float, float, float]], each: int = 250, name: str = "hand"
) -> ScrTask:
    """A task whose (clean, confounded, ablated) accuracies are given per direction; n = 20."""
    test = quadrants(each)

    def logits(concept: str, accuracy: float) -> np.ndarray:
        signs = np.where(test.label(concept), 1.0, -1.0)
        wrong = np.arange(4 * each) // 4 >= round(accuracy * each)
        return np.where(wrong, -signs, signs)[None]

    def reading(direction: str) -> DirectionLogits:
        read = "intended" if direction == "spurious" else "spurious"
        clean, confounded, ablated = (logits(read, value) for value in accuracies[direction])
        return DirectionLogits(clean, confounded, ablated[None], np.array([20]))

    both = {direction: reading(direction) for direction in ("spurious", "intended")}
    return ScrTask(name, (20,), test, both, both)


def canonical(*tasks: ScrTask):
    return estimates(tasks, seed=0)[-1]


def test_fits_on_other_texts_read_as_if_these_were_the_training_texts(world: ScrWorld) -> None:
    """Against texts written out as often as they are drawn, with the probes as the published."""
    task, known, labels = world.score(), world.train_split, world.train
    assert len(world.probes.redrawn) == len(task.redrawn) == 4
    for redrawn, read in zip(world.probes.redrawn, task.redrawn, strict=True):
        texts = np.repeat(np.arange(len(labels.cells)), redrawn.counts.astype(int))
        drawn = replace(
            world,
            train=Quadrants(labels.intended[texts], labels.spurious[texts]),
            train_split=replace(known, x=known.x[texts], z=known.z[texts]),
            probes=ProbeSets(redrawn.probes, world.probes.fits),
        )
        for direction, expected in drawn.score().published.items():
            for name in ("own", "confounded", "ablated"):
                found = getattr(read[direction], name)
                np.testing.assert_allclose(found, getattr(expected, name), atol=1e-9)


def test_the_error_of_canonical_has_the_variance_from_fit_to_fit_in_it() -> None:
    """By hand, to first order: (gain - 2/3 gap) / 0.3 of three fits, the last with a wider gap."""
    other = (0.9, 0.8, 0.8)
    task = by_hand({"spurious": (0.9, 0.6, 0.8), "intended": other})
    fits = [
        by_hand({"spurious": accuracies, "intended": other}).published
        for accuracies in ((0.9, 0.6, 0.7), (0.9, 0.6, 0.9), (0.9, 0.5, 0.8))
    ]
    alone, found = canonical(task), canonical(replace(task, redrawn=tuple(fits)))
    assert found.value == alone.value == pytest.approx(2 / 3)
    between = np.std([-1 / 3, 1 / 3, 1 / 9], ddof=1)
    expected = math.hypot(*alone.influence, between)
    assert math.hypot(*found.influence) == pytest.approx(expected, rel=1e-6)
    assert found.se == pytest.approx(math.hypot(alone.se, between), rel=0.1)


def test_the_published_hand_case() -> None:
    task = by_hand({"spurious": (0.9, 0.4, 0.7), "intended": (0.9, 0.8, 0.85)})
    assert canonical(task).value == pytest.approx(0.6)
    assert canonical(task).details["tasks"]["hand"]["ablated"] == "spurious"


def test_a_tie_takes_the_mean_of_both_directions() -> None:
    task = by_hand({"spurious": (0.9, 0.4, 0.7), "intended": (0.8, 0.4, 0.4)})
    assert canonical(task).value == pytest.approx(0.3)


def test_a_score_is_not_clipped() -> None:
    low = by_hand({"spurious": (0.6, 0.5, 0.2), "intended": (0.9, 0.8, 0.85)})
    high = by_hand({"spurious": (0.6, 0.5, 0.9), "intended": (0.9, 0.8, 0.85)})
    assert canonical(low).value == pytest.approx(-3.0)
    assert canonical(high).value == pytest.approx(4.0)


def test_canonical_is_a_mean_of_ratios_and_default_a_ratio_of_sums() -> None:
    tasks = [
        by_hand({"spurious": (0.9, 0.4, 0.7), "intended": (0.9, 0.8, 0.85)}, name="wide"),
        by_hand({"spurious": (0.8, 0.6, 0.6), "intended": (0.9, 0.7, 0.85)}, name="narrow"),
    ]
    assert canonical(*tasks).value == pytest.approx((0.6 + 0.0) / 2)
    default = estimates(tasks, seed=0)[0]
    assert default.value == pytest.approx(0.3 / 0.7)
    assert default.n == {"texts": 2000, "tasks": 2}


def test_one_canonical_task_without_a_gap_leaves_no_headline() -> None:
    good = by_hand({"spurious": (0.9, 0.4, 0.7), "intended": (0.9, 0.8, 0.85)}, name="good")
    flat = by_hand({"spurious": (0.5, 0.5, 0.7), "intended": (0.9, 0.8, 0.85)}, name="flat")
    found = canonical(good, flat)
    assert (found.status, found.value) == ("unable", None)
    assert "1 of 2 tasks" in found.reason
    assert "flat: spurious direction" in found.reason
    assert (found.details["used"], found.details["expected"]) == (1, 2)


def test_a_task_without_a_sure_gap_is_left_out_of_the_default_and_listed() -> None:
    good = by_hand({"spurious": (0.9, 0.4, 0.7), "intended": (0.9, 0.8, 0.85)}, name="good")
    flat = by_hand({"spurious": (0.5, 0.5, 0.7), "intended": (0.9, 0.8, 0.85)}, name="flat")
    found = estimates([good, flat], seed=0)[0]
    assert found.value == pytest.approx(0.6)
    assert [each["task"] for each in found.details["excluded"]] == ["flat"]
    assert (found.details["used"], found.details["expected"]) == (1, 2)


# Intervals and the record


def test_the_spread_over_probe_fits_is_the_standard_deviation_of_their_scores() -> None:
    parts = [
        by_hand({"spurious": (0.9, 0.4, ablated), "intended": (0.9, 0.8, 0.85)})
        for ablated in (0.6, 0.7, 0.8)
    ]
    merged = {
        direction: DirectionLogits(
            *(
                np.concatenate([getattr(part.fits[direction], name) for part in parts], axis=axis)
                for name, axis in (("own", 0), ("confounded", 0), ("ablated", 1), ("latents", 0))
            )
        )
        for direction in ("spurious", "intended")
    }
    found = estimates([replace(parts[0], fits=merged)], seed=0)[0]
    assert found.value == pytest.approx(0.6)
    assert found.seeds == 3
    assert found.details["fit_sd"] == pytest.approx(np.std([0.4, 0.6, 0.8], ddof=1))


def test_intervals_of_scr_cover_the_truth_as_often_as_they_say() -> None:
    """Test texts drawn anew in every world; the probes' accuracies are known: score 0.5."""
    inside, each = 0, 60
    for seed in range(200):
        rng = np.random.default_rng(seed)
        test = quadrants(each)
        signs = np.where(test.intended, 1.0, -1.0)
        # One uniform number per text makes the three readings dependent, as real ones are.
        luck = rng.random(4 * each)
        clean, confounded, ablated = (
            np.where(luck < accuracy, signs, -signs)[None] for accuracy in (0.9, 0.6, 0.75)
        )
        reading = DirectionLogits(clean, confounded, ablated[None], np.array([20]))
        both = {"spurious": reading, "intended": reading}
        low, high = estimates([ScrTask("t", (20,), test, both, both)], seed)[0].ci
        inside += low <= 0.5 <= high
    assert 0.88 * 200 <= inside <= 0.99 * 200


def test_the_same_run_gives_the_same_bits(world: ScrWorld) -> None:
    assert figures(world.score()) == figures(world.score())


def test_details_are_strict_json_with_the_curve_over_n(world: ScrWorld) -> None:
    for estimate in figures(world.score()).values():
        details = json.loads(json.dumps(dict(estimate.details), allow_nan=False))
        assert list(details["curve"]) == ["2", "5", "20"]
        assert details["curve"]["2"]["value"] == estimate.value
        # The curve takes the training texts as given.
        assert details["curve"]["2"]["se"] <= 1.01 * estimate.se


def test_latents_that_run_out_are_counted(world: ScrWorld) -> None:
    """8 latents write anything; the two intended ones do not differ between spurious values."""
    rows = world.rows.copy()
    rows[8:] = 0
    details = figures(world.score(rows=rows))["scr", "spurious"].details
    assert details["tasks"]["planted"]["latents"] == 6


def test_the_general_path_gives_the_same_figures(world: ScrWorld) -> None:
    z = world.test_split.z

    def means(sets: list[np.ndarray]) -> np.ndarray:
        return np.stack([z[:, latents] @ world.rows[latents] for latents in sets])

    task = score_task(
        "planted",
        world.probes,
        world.train,
        world.train_split.z,
        world.test,
        world.test_split.x,
        world.rows,
        MeasuredRemoval(means),
        (2, 5, 20),
    )
    assert values(task) == pytest.approx(values(world.score()), abs=1e-5)


def test_a_missing_quadrant_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match="none with: spurious only"):
        Quadrants(np.array([True, True, False]), np.array([True, False, False]))


def test_an_n_that_was_not_measured_is_an_error(world: ScrWorld) -> None:
    with pytest.raises(ValueError, match="n=7 was not measured"):
        estimates([world.score()], seed=0, headline_n=7)
    with pytest.raises(ValueError, match="at least one task"):
        estimates([], seed=0)


def test_a_permuted_decoder_collapses(world: ScrWorld) -> None:
    rows = world.rows[np.random.default_rng(3).permutation(LATENTS)]
    found = figures(world.score(rows=rows))
    assert found["scr.margin", "spurious"].value < 0.5
    assert isinstance(world.test_split.z, sparse.csr_array)
