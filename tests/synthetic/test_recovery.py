"""Recovery is 1 for the truth, near chance for random weights, and blind to numbering and scale."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.controls import permuted_decoder, random_matched
from pytest_sae.errors import DictionaryError
from pytest_sae.synthetic.recovery import Agreement, agreement, recovery
from pytest_sae.synthetic.references import cut, oracle
from pytest_sae.synthetic.worlds import Sample, World, WorldSpec

SPEC = WorldSpec("r", 40, 16, seed=3, most=0.3, least=0.05)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SPEC)


@pytest.fixture(scope="module")
def sample(world: World) -> Sample:
    return world.sample(4000, 0, "truth")


@pytest.fixture(scope="module")
def truth(world: World, sample: Sample) -> AffineDictionary:
    return oracle(world, [(sample.x, sample.features)])


def test_the_oracle_recovers_everything(world: World, sample: Sample, truth: AffineDictionary):
    found = recovery(truth, sample, world.rows)
    assert (found.f1, found.cosine, found.both) == pytest.approx((1, 1, 1))
    torch.testing.assert_close(truth.reconstruct(sample.x), sample.x, atol=1e-5, rtol=1e-5)


def test_half_of_the_truth_recovers_half(world: World, sample: Sample, truth: AffineDictionary):
    known = cut(truth, sample.x, 20)
    kept = known.encode(sample.x).abs().sum(0) > 0
    silenced = AffineDictionary(
        known.encode, known.decoder_rows * kept[:, None], world.bias, None, known.info, "half"
    )
    assert recovery(silenced, sample, world.rows).both == pytest.approx(0.5)
    of = np.flatnonzero(kept.numpy())
    assert recovery(silenced, sample, world.rows, of).both == pytest.approx(1)


def test_a_permuted_decoder_reads_all_and_writes_nothing(
    world: World, sample: Sample, truth: AffineDictionary
):
    found = recovery(permuted_decoder(truth, 0), sample, world.rows)
    assert found.f1 == pytest.approx(1)
    assert found.cosine == pytest.approx(1)
    assert found.both < 0.35  # a row that stayed in its place, and neighbours by chance


def test_numbering_and_scale_of_latents_do_not_matter(
    world: World, sample: Sample, truth: AffineDictionary
):
    order, scale = torch.randperm(40), torch.rand(40) + 0.5
    other = AffineDictionary(
        lambda x: (truth.encode(x) * scale)[:, order],
        (world.rows / scale[:, None])[order],
        world.bias,
        None,
        truth.info,
        "other",
    )
    assert recovery(other, sample, world.rows).both == pytest.approx(1)


def test_a_random_latents_f1_is_that_of_independent_firing(world: World):
    """E F1 = 2 p q / (p + q) for a latent that fires on a share q whatever fires in truth."""
    tokens = world.sample(20_000, 1, "truth")
    fires = torch.rand(20_000, 8, generator=torch.Generator().manual_seed(0)) < 0.2
    rows = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    places = {tuple(x.tolist()): i for i, x in enumerate(tokens.x)}
    info = DictionaryInfo("coin", "coin", None, None, None)
    coin = AffineDictionary(
        lambda x: fires[[places[tuple(each.tolist())] for each in x]].float(),
        rows, world.bias, None, info, "coin",
    )  # fmt: skip
    p = (tokens.features > 0).double().mean(0).numpy()
    expected = 2 * p * 0.2 / (p + 0.2)
    f1 = agreement(coin, tokens, world.rows).f1
    np.testing.assert_allclose(f1, np.tile(expected[:, None], 8), atol=0.02)


def test_random_weights_are_far_below_the_truth(world: World, sample: Sample):
    found = recovery(random_matched((16, 40), sample.x, 4, 0), sample, world.rows)
    assert found.both < 0.3


def test_the_assignment_is_the_best_of_all(world: World):
    rng = np.random.default_rng(0)
    f1, cosine = rng.random((4, 6)), rng.random((4, 6))
    table = f1 * cosine
    best = max(
        sum(table[row, column] for row, column in enumerate(columns))
        for columns in permutations(range(6), 4)
    )
    assert Agreement(f1, cosine).of().both == pytest.approx(best / 4)
    few = Agreement(f1[:, :2], cosine[:, :2]).of()  # two features stay without a latent
    best = max(
        sum(table[row, column] for column, row in enumerate(rows))
        for rows in permutations(range(4), 2)
    )
    assert few.both == pytest.approx(best / 4)


def test_the_oracle_refuses_tokens_that_it_was_not_given(world: World, truth: AffineDictionary):
    with pytest.raises(DictionaryError, match="asked about others"):
        truth.encode(world.sample(5, 7, "others").x)


def test_the_oracle_tells_tokens_that_agree_in_all_but_one_coordinate(world: World):
    x = torch.randn(16).repeat(32, 1)
    x[torch.arange(32), torch.arange(32) % 16] = torch.linspace(3, 9, 32)
    truth = torch.rand(32, 40)
    assert torch.equal(oracle(world, [(x, truth)]).encode(x.flip(0)), truth.flip(0))


def test_the_oracle_takes_both_zeros_for_one(world: World):
    x, truth = torch.zeros(1, 16), torch.rand(1, 40)
    assert torch.equal(oracle(world, [(x, truth)]).encode(-x), truth)


def test_a_cut_dictionary_keeps_its_most_used_latents(sample: Sample, truth: AffineDictionary):
    z = cut(truth, sample.x, 5).encode(sample.x)
    used = sample.features.mean(0)
    assert set(np.flatnonzero(z.sum(0).numpy())) == set(used.topk(5).indices.tolist())
    with pytest.raises(DictionaryError, match="cannot be cut to 41"):
        cut(truth, sample.x, 41)
