"""A world gives the same tokens for the same seed, and is made as its specification says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_sae.synthetic.worlds import World, WorldSpec

SPEC = WorldSpec("w", 40, 16, seed=3, exponent=1.0, most=0.3, least=0.02)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SPEC)


def test_the_same_seed_and_purpose_give_the_same_tokens_and_others_give_others(world: World):
    first = world.sample(200, 0, "a")
    assert torch.equal(first.x, World(SPEC).sample(200, 0, "a").x)
    assert not torch.equal(first.x, world.sample(200, 1, "a").x)
    assert not torch.equal(first.x, world.sample(200, 0, "b").x)


def test_drawing_neither_reads_nor_moves_the_global_generator(world: World):
    torch.manual_seed(1)
    before, one = torch.get_rng_state(), world.sample(50, 0, "a").x
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(one, world.sample(50, 0, "a").x)


def test_an_activation_is_the_bias_and_the_sum_of_its_features(world: World):
    sample = world.sample(20, 0, "a")
    for x, features in zip(sample.x, sample.features, strict=True):
        explicit = world.bias.clone()
        for strength, row in zip(features, world.rows, strict=True):
            explicit += strength * row
        torch.testing.assert_close(x, explicit, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(world.rows.norm(dim=1), torch.ones(40))


def test_features_fire_as_often_as_zipfs_law_says(world: World):
    found = (world.sample(20_000, 0, "a").features > 0).double().mean(0).numpy()
    law = 1 / np.arange(1, 41)
    law = 0.02 + 0.28 * (law - law.min()) / (law.max() - law.min())
    # Three quarters of a per cent is more than four standard errors at every frequency but one
    # in ten thousand; a magnitude below zero, one in 2000, does not fire.
    np.testing.assert_allclose(found, law, atol=0.0125)


def test_a_child_fires_only_with_its_parent():
    world = World(WorldSpec("h", 40, 16, seed=3, roots=4, branching=3, exclusive=1.0))
    fires = (world.sample(20_000, 0, "a").features > 0).numpy()
    roots = world._model.hierarchy.roots
    assert len(roots) == 4
    for root in roots:
        children = [child.feature_index for child in root.children]
        assert len(children) == 3
        assert not (fires[:, children].any(1) & ~fires[:, root.feature_index]).any()
        assert fires[:, children].sum(1).max() == 1  # they exclude each other


def test_correlated_features_fire_together_more_often_than_by_chance():
    def excess(correlation: float) -> float:
        world = World(WorldSpec("c", 40, 16, seed=3, correlation=correlation))
        fires = (world.sample(20_000, 0, "a").features > 0).double().numpy()
        together = np.corrcoef(fires.T)
        return float(np.abs(together[np.triu_indices(40, 1)]).mean())

    assert excess(0.3) > 3 * excess(0.0)
