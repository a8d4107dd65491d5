"""The supervised reference of real activations, where what it should say is planted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.foreign_dictionaries import GOOD
from benchmarks.real_reference import (
    EXPLAINED,
    REFERENCES,
    TOGETHER,
    TPP,
    Concept,
    Floats,
    above,
    ranks,
    recovery,
    reference,
    tables,
    together,
)

TEXTS, TRAIN, WIDTH, LATENTS = 1200, 600, 64, 8
RNG = np.random.default_rng(3)
LABELS = RNG.random(TEXTS) < 0.3
DIRECTION = RNG.standard_normal(WIDTH)
DIRECTION /= np.linalg.norm(DIRECTION)
X = RNG.standard_normal((TEXTS, WIDTH)) + 12 * LABELS[:, None] * DIRECTION
CONCEPT = Concept(LABELS, X, TRAIN)
# What one latent should be, among others that have nothing to do with the concept.
ROWS = RNG.standard_normal((LATENTS, WIDTH))
OTHERS = np.abs(RNG.standard_normal((TEXTS, LATENTS)))
PLACE = 5


def planted(column: Floats, row: Floats) -> tuple[float, float]:
    """What is recovered of the concept where one latent is as told."""
    z, rows = OTHERS.copy(), ROWS.copy()
    z[:, PLACE], rows[PLACE] = column, row
    return recovery(CONCEPT, z, rows)


def test_a_latent_that_is_the_supervised_direction_recovers_the_concept() -> None:
    read = (X @ DIRECTION - 6).clip(min=0)
    assert planted(read, DIRECTION) == pytest.approx((1, 1), abs=0.1)


def test_a_supervised_dictionary_has_all_of_a_faint_concept_and_others_nothing() -> None:
    """Texts overlap, so that the best linear reader errs too."""
    x = X - 11 * LABELS[:, None] * DIRECTION
    concept = Concept(LABELS, x, TRAIN)
    assert recovery(concept, concept.supervised, concept.direction[None])[0] < 0.4
    z, rows = OTHERS.copy(), ROWS.copy()
    within = x - np.where(LABELS[:, None], x[LABELS].mean(0), x[~LABELS].mean(0))
    z[:, PLACE] = x @ np.linalg.solve(np.cov(within.T), concept.direction)
    rows[PLACE] = concept.direction
    found = reference([(concept, z), (concept, z)], rows)
    assert [found[each] for each in REFERENCES] == pytest.approx([1, 1], abs=0.15)
    nothing = reference([(concept, OTHERS)], ROWS)
    assert [nothing[each] for each in REFERENCES] == pytest.approx([0, 0], abs=0.15)


def test_a_latent_of_the_concept_s_absence_recovers_it_as_well() -> None:
    read = (6 - X @ DIRECTION).clip(min=0)
    assert planted(read, -DIRECTION) == pytest.approx((1, 1), abs=0.1)


def test_latents_that_have_nothing_to_do_with_it_recover_nothing() -> None:
    assert recovery(CONCEPT, OTHERS, ROWS) == pytest.approx((0, 0), abs=0.1)


def test_a_latent_that_reads_the_concept_and_writes_elsewhere_has_the_correlation_alone() -> None:
    across = ROWS[0] - ROWS[0] @ DIRECTION * DIRECTION
    f1, correlation = planted(LABELS.astype(float), across)
    assert f1 < 0.1
    assert correlation == pytest.approx(1)


def test_a_latent_that_writes_along_it_and_fires_anywhere_recovers_nothing() -> None:
    assert max(planted(OTHERS[:, 0], 2 * DIRECTION)) < 0.1


def test_a_latent_that_is_never_zero_is_told_by_its_threshold() -> None:
    assert planted(5.0 + LABELS, DIRECTION) == pytest.approx((1, 1), abs=0.1)


def test_a_latent_that_misses_half_of_the_texts_has_two_thirds_of_the_f1() -> None:
    """Precision 1 and recall 1/2; what yes to every text gets is taken off."""
    half = LABELS & (np.arange(TEXTS) % 2 == 0)
    seen = LABELS[TRAIN:]
    recall = half[TRAIN:].sum() / seen.sum()
    chance = 2 * seen.mean() / (1 + seen.mean())
    expected = (2 * recall / (1 + recall) - chance) / (1 - chance)
    assert planted(half.astype(float), CONCEPT.direction)[0] == pytest.approx(expected)


def test_ranks_leave_out_what_has_no_value_and_worthless_ones_are_counted_below_the_least() -> None:
    world = {
        name: dict(zip((*REFERENCES, "m"), (r, -r, v), strict=True))
        for name, r, v in [*zip(GOOD, (5, 6, 7), (5, 6, 7), strict=True),
                           ("random", 1, 1), ("permuted", 2, 5.5), ("topk-001", 3, 2)]
    }  # fmt: skip
    world["wrong-layer"] = dict.fromkeys(REFERENCES, 100.0)
    # Ranks of m: 1, 4, 2, 3, 5, 6 beside 1 to 6: the squares of their differences sum to 6.
    assert ranks(world, "m") == pytest.approx((1 - 6 * 6 / 210, -(1 - 6 * 6 / 210)))
    assert above(world, "m") == "2 of 3"


def test_a_metric_that_a_world_cannot_be_asked_for_has_an_empty_cell() -> None:
    world = {name: dict.fromkeys(REFERENCES, place) for place, name in enumerate(GOOD)}
    _, metrics = tables({"w": world})
    assert f"| {TPP} | - |" in metrics


def test_two_metrics_together_are_the_smaller_over_the_median_of_the_good_ones() -> None:
    good = {name: {TPP: v, EXPLAINED: 2 * v} for name, v in zip(GOOD, (1, 2, 3), strict=True)}
    found = together({**good, "random": {TPP: 4, EXPLAINED: 1}, "permuted": {TPP: 4}})
    assert found[GOOD[0]][TOGETHER] == 0.5
    assert found["random"][TOGETHER] == 0.25
    assert TOGETHER not in found["permuted"]
