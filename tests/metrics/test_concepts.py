"""Concept deletion and insertion on planted concepts, against an explicit loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import pearsonr

from pytest_sae.metrics.concepts import (
    Carried,
    ProbedConcept,
    curves,
    estimates,
    fidelity,
    stability,
)
from pytest_sae.metrics.coupling import coupling

TEXTS, LATENTS = 120, 150


def concept(carriers: int, strength: float = 4.0, seed: int = 0) -> ProbedConcept:
    """A concept whose logit is carried by the first latents alone; the rest add nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(TEXTS) % 2 == 0
    z = rng.random((TEXTS, LATENTS)) * (rng.random((TEXTS, LATENTS)) < 0.3)
    signs = np.where(labels, 1.0, -1.0)
    adds = np.zeros(LATENTS)
    for j in range(carriers):
        z[:, j] = 1 + signs
        adds[j] = strength / carriers
    logits = z @ adds - strength
    live = np.arange(LATENTS)
    table = sparse.csr_array(z.astype(np.float32))
    usual = z.mean(0)
    return ProbedConcept(f"planted {carriers}", labels, logits, table, adds, adds * 2, live, usual)


def by_hand(found: ProbedConcept, latents: list[int]) -> float:
    """Probability of the truth after removing latents, both labels weighing the same."""
    kept = {True: [], False: []}
    z = found.z.toarray().astype(np.float64)
    for text in range(TEXTS):
        logit = found.logits[text] - sum(z[text, j] * found.adds[j] for j in latents)
        sign = 1 if found.labels[text] else -1
        kept[bool(found.labels[text])].append(1 / (1 + math.exp(-sign * logit)))
    return sum(map(np.mean, kept.values())) / 2


def test_curves_are_those_of_an_explicit_loop() -> None:
    found = concept(3)
    drawn = curves(found, 0, most=5)
    everyone = list(range(LATENTS))
    for n, first in enumerate([[], [0], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2]]):
        assert drawn.deletion[n] == pytest.approx(by_hand(found, first), abs=1e-6)
        rest = [j for j in everyone if j not in first]
        assert drawn.insertion[n] == pytest.approx(by_hand(found, rest), abs=1e-6)


def test_a_latent_that_is_the_concept_takes_it_away_and_brings_it_back_at_once() -> None:
    drawn = curves(concept(1), 0, most=20)
    sure, blind = drawn.deletion[0], drawn.deletion[1]
    assert sure > 0.95
    assert blind == pytest.approx(0.5, abs=1e-6)
    assert drawn.insertion[1] == pytest.approx(sure, abs=1e-6)
    lost, won = drawn.areas
    assert lost == pytest.approx(sure - 0.5, abs=0.06)
    assert won == pytest.approx(sure - 0.5, abs=0.06)


def test_the_more_latents_share_a_concept_the_smaller_both_areas() -> None:
    areas = np.array([curves(concept(many), 0, most=20).areas for many in (1, 5, 20, 100)])
    assert (np.diff(areas, axis=0) < 0).all()


def test_a_concept_that_no_latent_carries_is_at_the_floor() -> None:
    nothing = concept(1)
    silent = ProbedConcept(
        "silent",
        nothing.labels,
        nothing.logits,
        nothing.z,
        np.zeros(LATENTS),
        np.zeros(LATENTS),
        nothing.live,
        nothing.usual,
    )
    assert curves(silent, 0).areas == (0.0, 0.0)


def test_estimates_average_concepts_and_tell_each() -> None:
    found = [Carried(f"c{n}", curves(concept(n), 0, most=20), 1 / n, n / 5) for n in (1, 5)]
    deletion, insertion, faithful, stable = estimates(found, {})
    assert deletion.value == pytest.approx(np.mean([each.curves.areas[0] for each in found]))
    assert insertion.value == pytest.approx(np.mean([each.curves.areas[1] for each in found]))
    assert (faithful.value, stable.value) == (pytest.approx(0.6), pytest.approx(0.6))
    assert stable.details["concepts"] == {"c1": 0.2, "c5": 1.0}
    assert deletion.n == {"concepts": 2}
    assert set(deletion.details["concepts"]) == {"c1", "c5"}
    assert [point["n"] for point in deletion.details["curve"]] == [0, 1, 2, 5, 10, 20]
    assert estimates([], {})[0].status == "undefined"


def test_importance_that_is_what_latents_add_to_a_nearly_linear_belief_is_faithful() -> None:
    """Where the logit hardly moves belief is linear in it, so that the correlation is one."""
    rng = np.random.default_rng(1)
    adds = 1e-4 * rng.normal(size=LATENTS)
    z, usual = np.full((TEXTS, LATENTS), 3.0), np.full(LATENTS, 2.0)
    labels = np.arange(TEXTS) % 2 == 0
    live = np.arange(LATENTS)
    found = ProbedConcept("c", labels, z @ adds, sparse.csr_array(z), adds, adds, live, usual)
    assert fidelity(found, 0) == pytest.approx(1.0, abs=1e-4)
    turned = ProbedConcept("c", labels, z @ adds, sparse.csr_array(z), -adds, adds, live, usual)
    assert fidelity(turned, 0) == pytest.approx(-1.0, abs=1e-4)


def test_fidelity_is_the_mean_correlation_over_subsets_that_are_removed_by_hand() -> None:
    """Against other subsets and scipy's correlation, text by text."""
    rng, found = np.random.default_rng(2), concept(5, strength=2.0)
    noisy = replace(found, importance=found.importance * rng.uniform(0.2, 1.8, LATENTS))
    z, by_text = found.z.toarray().astype(float), []
    subsets = [rng.random(LATENTS) < 0.5 for _ in range(400)]
    sums = [noisy.importance[subset].sum() for subset in subsets]
    for text in np.flatnonzero(found.labels):
        moved = (z[text] - z.mean(0)) * found.adds
        left = [found.logits[text] - moved[s].sum() for s in subsets]
        lost = 1 / (1 + np.exp(-found.logits[text])) - 1 / (1 + np.exp(-np.array(left)))
        by_text.append(pearsonr(sums, lost)[0])
    assert fidelity(noisy, 0) == pytest.approx(np.mean(by_text), abs=0.05)
    assert 0.5 < np.mean(by_text) < 0.95


def test_importance_of_what_adds_nothing_is_not_faithful() -> None:
    found = concept(3)
    wrong = replace(found, importance=np.roll(found.importance, 10))
    assert abs(fidelity(wrong, 0)) < 0.2
    assert fidelity(replace(found, adds=np.zeros(LATENTS)), 0) == 0.0


def test_numbering_of_latents_changes_neither() -> None:
    found, turn = concept(4), np.random.default_rng(3).permutation(LATENTS)
    unequal = found.importance + np.linspace(0, 0.01, LATENTS)
    one = replace(found, importance=unequal)
    two = replace(
        one,
        z=found.z[:, turn],
        adds=found.adds[turn],
        importance=unequal[turn],
        usual=found.usual[turn],
    )
    assert fidelity(two, 0) == pytest.approx(fidelity(one, 0))
    halves = [(unequal, unequal[::-1])]
    assert stability([(a[turn], b[turn]) for a, b in halves]) == stability(halves)


@pytest.mark.parametrize("latents", [40, 200])
def test_halves_that_agree_by_chance_share_as_many_as_the_hypergeometric_says(latents: int) -> None:
    rng = np.random.default_rng(4)
    halves = [tuple(rng.random((2, latents))) for _ in range(400)]
    assert stability(halves) == pytest.approx(20 / latents, abs=0.02)
    assert stability([(a, a) for a, _ in halves]) == 1.0
    assert stability([(np.zeros(latents), np.zeros(latents))]) == 0.0


def test_coupling_is_the_slope_of_one_score_on_another() -> None:
    rng = np.random.default_rng(0)
    known, wanted = rng.normal(size=(2, 6))
    x = rng.normal(size=(200_000, 6))
    slope = np.polyfit(x @ known, x @ wanted, 1)[0]
    assert coupling(known, wanted) == pytest.approx(slope, abs=0.02)


def test_coupling_is_exact_on_multiples_and_not_symmetric() -> None:
    y = np.array([1.0, 2.0, -2.0])
    assert coupling(y, 3 * y) == pytest.approx(3.0)
    assert coupling(3 * y, y) == pytest.approx(1 / 3)
    assert coupling(y, np.array([2.0, -1.0, 0.0])) == 0.0
    assert np.isnan(coupling(np.zeros(3), y))
    other = np.array([0.5, 1.0, 4.0])
    assert coupling(y, other) * (y @ y) == pytest.approx(coupling(other, y) * (other @ other))
    np.testing.assert_allclose(coupling(np.stack([y, 3 * y]), y), [1.0, 1 / 3])
