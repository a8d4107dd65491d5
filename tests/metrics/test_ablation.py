"""The erasure identity against decoding with and without the set, token by token."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pytest_sae.metrics import ablation
from pytest_sae.metrics.ablation import (
    AffineRemoval,
    MeasuredRemoval,
    lengths,
    mean_difference,
    order,
    rows_of,
    written,
)

D, LATENTS, PROBES = 16, 48, 3
LENGTHS = (1, 17, 4, 30, 9, 2, 23)
NS = (1, 2, 5, 10, 40)


def topk(pre: torch.Tensor) -> torch.Tensor:
    kept = pre.topk(6, dim=1)
    return torch.zeros_like(pre).scatter(1, kept.indices, kept.values.relu())


def jumprelu(pre: torch.Tensor) -> torch.Tensor:
    return pre * (pre > 0.8)


ACTIVATIONS = {"topk": topk, "jumprelu": jumprelu, "relu": torch.relu}


class World:
    """A random dictionary, texts of uneven length padded with zeros, and random probes."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor], seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.decoder = torch.randn(LATENTS, D, generator=g)
        self.bias = torch.randn(D, generator=g)
        self.encoder = torch.randn(D, LATENTS, generator=g) / D**0.5
        self.encoder_bias = torch.rand(LATENTS, generator=g)
        self.activation = activation
        self.x = torch.zeros(len(LENGTHS), max(LENGTHS), D)
        for text, length in enumerate(LENGTHS):
            self.x[text, :length] = torch.randn(length, D, generator=g) + 0.5
        self.valid = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
        self.weight = torch.randn(PROBES, D, generator=g)

    def encode(self) -> torch.Tensor:
        pre = (self.x - self.bias).flatten(0, 1) @ self.encoder + self.encoder_bias
        return self.activation(pre).view(*self.x.shape[:2], LATENTS)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z @ self.decoder + self.bias

    def logits(self) -> np.ndarray:
        """(text, probe) of the texts as they are."""
        mean = (self.x * self.valid[..., None]).sum(1) / self.valid.sum(1, keepdim=True)
        return (mean @ self.weight.T).numpy()

    def explicit(self, latents: np.ndarray, masked: bool = True) -> np.ndarray:
        """(text, probe) logits: decode with and without the set, keep the error term, then pool."""
        z = self.encode()
        without = z.clone()
        without[..., torch.as_tensor(latents)] = 0.0
        changed = self.x + self.decode(without) - self.decode(z)
        used = self.valid if masked else torch.ones_like(self.valid)
        mean = (changed * used[..., None]).sum(1) / self.valid.sum(1, keepdim=True)
        return (mean @ self.weight.T).numpy()

    def pooled(self) -> sparse.csr_array:
        z = self.encode() * self.valid[..., None]
        return sparse.csr_array((z.sum(1) / self.valid.sum(1, keepdim=True)).numpy())


def orders(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(LATENTS)[:40], rng.permutation(LATENTS)[:7]]


@pytest.mark.parametrize("family", ACTIVATIONS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_cumulative_sums_equal_decoding_with_and_without_the_set(family: str, seed: int) -> None:
    world = World(ACTIVATIONS[family], seed)
    found = AffineRemoval(world.pooled(), world.decoder.numpy()).logits(
        orders(seed), NS, world.weight.numpy()
    )
    for place, latents in enumerate(orders(seed)):
        for n, removed in zip(NS, found[place], strict=True):
            expected = world.explicit(latents[:n])
            error = np.abs(world.logits() - removed - expected).max()
            assert error <= 1e-5 * np.abs(expected).max()


def test_ablating_at_padding_positions_as_the_published_code_does_is_another_number() -> None:
    world = World(torch.relu, 0)
    latents = orders(0)[0][:10]
    unmasked, masked = world.explicit(latents, masked=False), world.explicit(latents)
    assert np.abs(unmasked - masked).max() > 0.1 * np.abs(masked).max()


def test_the_measured_removal_agrees_with_the_affine_one() -> None:
    world = World(topk, 3)

    def means(sets: list[np.ndarray]) -> np.ndarray:
        pooled = world.pooled()
        return np.stack([pooled[:, latents] @ world.decoder.numpy()[latents] for latents in sets])

    args = orders(3), NS, world.weight.numpy()
    np.testing.assert_allclose(
        MeasuredRemoval(means).logits(*args),
        AffineRemoval(world.pooled(), world.decoder.numpy()).logits(*args),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(("room", "calls"), [(0, 4), (2**28, 2)])
def test_orders_are_measured_together_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, room: int, calls: int
) -> None:
    asked: list[int] = []

    def means(sets: list[np.ndarray]) -> np.ndarray:
        asked.append(len(sets))
        return np.array([np.full((5, 3), latents.sum()) for latents in sets])

    monkeypatch.setattr(ablation, "_MEASURED_BYTES", room)
    ranked = [np.arange(start, start + 4) for start in range(4)]
    found = MeasuredRemoval(means).logits(ranked, (1, 3), np.ones((2, 3)))
    assert len(asked) == calls
    for each, latents in zip(found, ranked, strict=True):
        for row, n in zip(each, (1, 3), strict=True):
            np.testing.assert_array_equal(row, np.full((5, 2), 3 * latents[:n].sum()))


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_rows_may_be_arrays_or_tensors(make: Callable[[np.ndarray], object]) -> None:
    rng = np.random.default_rng(0)
    rows, weight, z = rng.normal(size=(9, 4)), rng.normal(size=(2, 4)), rng.poisson(1.0, (6, 9))
    removal = AffineRemoval(sparse.csr_array(z.astype(np.float32)), make(rows))
    chosen = np.array([7, 2])
    taken = [z[:, chosen[:n]] @ rows[chosen[:n]] for n in (1, 2)]
    np.testing.assert_allclose(removal.means([chosen])[0], taken[1], rtol=1e-12)
    for found, expected in zip(removal.prefixes(chosen, (1, 2)), taken, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(written(make(rows), weight), rows @ weight.T, rtol=1e-12)
    np.testing.assert_allclose(lengths(make(rows)), np.linalg.norm(rows, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(rows_of(make(rows), chosen), rows[chosen])


def test_an_empty_order_removes_exactly_nothing() -> None:
    world = World(topk, 0)
    found = AffineRemoval(world.pooled(), world.decoder.numpy()).logits(
        [np.zeros(0, np.int64)], NS, world.weight.numpy()
    )
    assert (found == 0).all()


def test_a_short_order_is_ablated_as_far_as_it_goes() -> None:
    world = World(torch.relu, 0)
    found = AffineRemoval(world.pooled(), world.decoder.numpy()).logits(
        [orders(0)[1]], (7, 10, 40), world.weight.numpy()
    )[0]
    assert (found[1] == found[0]).all()
    assert (found[2] == found[0]).all()


@given(
    effects=st.lists(st.floats(-5, 5), min_size=1, max_size=40, unique=True),
    most=st.integers(1, 45),
    seed=st.integers(0, 99),
)
def test_the_order_is_a_sort_and_does_not_depend_on_the_numbering(
    effects: list[float],
    most: int,
    seed: int,
) -> None:
    values = np.array(effects)
    expected = sorted((j for j in range(len(values)) if values[j] > 0), key=lambda j: -values[j])
    assert order(values, most).tolist() == expected[:most]
    permutation = np.random.default_rng(seed).permutation(len(values))
    assert permutation[order(values[permutation], most)].tolist() == expected[:most]


@given(
    effects=st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.0]), min_size=1, max_size=30),
    most=st.integers(1, 30),
)
def test_ties_go_to_the_lower_index_and_only_positive_effects_are_ablated(
    effects: list[float],
    most: int,
) -> None:
    positive = [j for j, effect in enumerate(effects) if effect > 0]
    expected = sorted(positive, key=lambda j: (-effects[j], j))[:most]
    assert order(np.array(effects), most).tolist() == expected


def test_the_mean_difference_is_that_of_the_dense_matrix() -> None:
    z = np.random.default_rng(0).normal(size=(20, 6)).astype("f4")
    positive = np.arange(20) < 8
    expected = z[:8].mean(0, dtype="f8") - z[12:].mean(0, dtype="f8")
    found = mean_difference(sparse.csr_array(z), positive, np.arange(20) >= 12)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_what_latents_write_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_sae.metrics import ablation

    rows, weight = np.random.default_rng(0).normal(size=(25, 4)), np.ones((2, 4))
    monkeypatch.setattr(ablation, "_ROWS", 7)
    np.testing.assert_allclose(written(rows, weight), rows @ weight.T, rtol=1e-13)
