"""The parts of SCR that are changed one at a time do what they say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import ttest_ind

from benchmarks import scr_variants as variants
from benchmarks.scr_variants import RULES, Effect, standard_errors
from pytest_sae.activations.store import Store
from pytest_sae.measure import scr_and_tpp
from pytest_sae.measure.given import Given
from pytest_sae.synthetic.latents import WorldLatents
from pytest_sae.synthetic.references import oracle
from pytest_sae.synthetic.tasks import SMOKE_BOOK, make_book
from pytest_sae.synthetic.worlds import SMOKE, World


def effect(difference: list[float], adds: list[float], se: float = 0.1) -> Effect:
    return Effect(np.array(difference), np.full(len(adds), se), np.array(adds))


def test_each_rule_takes_the_latents_that_it_names():
    own = effect([1.0, -1.0, 0.1, 2.0, 0.0], [3.0, 2.0, 9.0, -5.0, 1.0])
    other = effect([0.0, 3.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0])
    taken = {name: rule(own, other).tolist() for name, rule in RULES.items()}
    assert taken["as defined"] == [3, 0, 1, 2]  # the last has no effect at all
    assert taken["signed"] == [0, 2]  # the second and the fourth speak against the probe
    assert taken["certain"] == [0]  # the third's difference is one standard error
    assert taken["own"] == [0]
    moved = effect([9.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0])
    assert RULES["own"](own, moved).tolist() == []  # it moves the other concept more


def test_standard_errors_are_those_of_welchs_test():
    rng = np.random.default_rng(0)
    z, positive = rng.random((50, 4)) * (rng.random((50, 4)) < 0.5), rng.random(50) < 0.4
    t = ttest_ind(z[positive], z[~positive], equal_var=False).statistic
    difference = z[positive].mean(0) - z[~positive].mean(0)
    found = standard_errors(sparse.csr_array(z), positive)
    np.testing.assert_allclose(found, difference / t, rtol=1e-9)


def test_the_unchanged_variant_is_scr_margin_itself():
    world = World(SMOKE[0])
    book = make_book(world, SMOKE_BOOK, 0)
    truth = oracle(world, [(book.texts.x, book.texts.features)])
    latents = WorldLatents(book.texts, world.fingerprint, truth, Store(None))
    ours = {
        (each.metric, each.params["direction"]): each.value
        for each in variants.measure(latents, book.tasks, 0, 2)
    }
    for each in scr_and_tpp.measure_scr(Given(latents, book.tasks, 0, {"fits": 2})):
        if each.metric == "scr.margin" and each.status == "ok":
            for n in (2, 5, 20):
                key = (f"scr.margin, as defined n={n}", each.params["direction"])
                assert ours[key] == pytest.approx(each.details["curve"][str(n)]["value"], rel=1e-6)
