"""Reconstruction figures against a slow computation, and what may not change them."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from pytest_sae.metrics.core import CoreSums, finish

TOKENS, D, LATENTS, TEXTS = 60, 5, 12, 7


def stream(seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(TOKENS, D, generator=g, dtype=dtype)
    z = torch.randn(TOKENS, LATENTS, generator=g, dtype=dtype)
    z = z * (torch.rand(TOKENS, LATENTS, generator=g) < 0.3)
    z[:, 3] = 0.0
    rows = torch.randint(TEXTS, (TOKENS,), generator=g)
    return {
        "x": x,
        "x_hat": 0.7 * x + 0.3 * torch.randn(TOKENS, D, generator=g, dtype=dtype),
        "z": z,
        "text_rows": rows,
    }


def measure(batch: dict[str, torch.Tensor], splits: int = 1, **kwargs):
    sums = CoreSums(TEXTS, D, LATENTS, **kwargs)
    for part in torch.arange(TOKENS).chunk(splits):
        sums.update(**{name: values[part] for name, values in batch.items()})
    return {estimate.metric: estimate for estimate in finish(sums, seed=0)}


def values(estimates) -> dict[str, float]:
    return {name: estimate.value for name, estimate in estimates.items()}


def test_every_figure_equals_the_slow_computation() -> None:
    batch = stream()
    x, x_hat, z = (batch[name].numpy() for name in ("x", "x_hat", "z"))
    norm, norm_hat = np.linalg.norm(x, axis=1), np.linalg.norm(x_hat, axis=1)
    rate = (z != 0).mean(0)
    expected = {
        "explained_variance": 1 - ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum(),
        "mse": np.mean([((a - b) ** 2).sum() for a, b in zip(x, x_hat, strict=True)]),
        "cosine": np.mean((x * x_hat).sum(1) / norm / norm_hat),
        "l2_ratio": np.mean(norm_hat / norm),
        "relative_bias": (x_hat**2).sum() / (x * x_hat).sum(),
        "l0": (z != 0).sum(1).mean(),
        "l1": np.abs(z).sum(1).mean(),
        "dead_share": (rate == 0).mean(),
        "dense_share_1pct": (rate > 0.01).mean(),
        "dense_share_10pct": (rate > 0.1).mean(),
    }
    assert values(measure(batch)) == pytest.approx(expected, rel=1e-12)


def test_explained_variance_is_sklearns_variance_weighted_r2() -> None:
    batch = stream()
    expected = r2_score(batch["x"], batch["x_hat"], multioutput="variance_weighted")
    assert measure(batch)["explained_variance"].value == pytest.approx(expected, rel=1e-12)


@given(splits=st.integers(1, TOKENS), seed=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_batch_size_changes_nothing(splits: int, seed: int) -> None:
    whole, parts = measure(stream(seed)), measure(stream(seed), splits)
    assert values(parts) == pytest.approx(values(whole), rel=1e-12)
    for name, estimate in whole.items():
        assert parts[name].ci == pytest.approx(estimate.ci, rel=1e-9)


@given(seed=st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_the_order_of_tokens_and_texts_changes_no_value(seed: int) -> None:
    batch, rng = stream(seed), np.random.default_rng(seed)
    order = torch.as_tensor(rng.permutation(TOKENS))
    shuffled = {name: part[order] for name, part in batch.items()}
    shuffled["text_rows"] = torch.as_tensor(rng.permutation(TEXTS))[shuffled["text_rows"]]
    assert values(measure(shuffled)) == pytest.approx(values(measure(batch)), rel=1e-12)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-1e5, 1e5))
@settings(max_examples=25, deadline=None)
def test_explained_variance_ignores_scale_and_shift(scale: float, shift: float) -> None:
    batch = stream()
    moved = {**batch, "x": batch["x"] * scale + shift, "x_hat": batch["x_hat"] * scale + shift}
    found = measure(moved, splits=4)["explained_variance"].value
    assert found == pytest.approx(measure(batch)["explained_variance"].value, rel=1e-6)


def test_float32_activations_far_from_the_origin_keep_their_variance() -> None:
    batch = stream(dtype=torch.float32)
    far = {**batch, "x": batch["x"] + 4096.0, "x_hat": batch["x_hat"] + 4096.0}
    truth = r2_score(far["x"].double(), far["x_hat"].double(), multioutput="variance_weighted")
    assert measure(far, splits=5)["explained_variance"].value == pytest.approx(truth, rel=1e-9)


@given(seed=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_a_reference_changes_no_value(seed: int) -> None:
    batch = stream(seed)
    given_one = measure(batch, reference=torch.full((D,), 3.0))
    assert values(given_one) == pytest.approx(values(measure(batch)), rel=1e-9)


def test_the_mean_scores_zero_and_the_identity_one() -> None:
    batch = stream()
    mean = measure({**batch, "x_hat": batch["x"].mean(0).expand_as(batch["x"])})
    same = measure({**batch, "x_hat": batch["x"]})
    assert mean["explained_variance"].value == pytest.approx(0.0, abs=1e-12)
    assert same["explained_variance"].value == 1.0
    assert same["explained_variance"].ci == (1.0, 1.0)
    assert same["cosine"].value == pytest.approx(1.0)


def test_special_tokens_enter_no_headline_figure_and_have_their_own() -> None:
    batch = stream()
    sums = CoreSums(TEXTS, D, LATENTS)
    sums.update(**batch)
    special = {**stream(1), "x": stream(1)["x"] * 1000}
    sums.update(**special, group="special")
    found = {estimate.metric: estimate for estimate in finish(sums, seed=0)}
    assert values(found) == pytest.approx(values(measure(batch)), rel=1e-12)
    groups = found["explained_variance"].details["groups"]
    alone = measure(special)["explained_variance"].value
    assert groups["special"]["value"] == pytest.approx(alone, rel=1e-9)
    assert groups["special"]["tokens"] == TOKENS


def test_the_first_position_counts_and_is_told_apart() -> None:
    batch, first = stream(), torch.arange(TOKENS) < 9
    sums = CoreSums(TEXTS, D, LATENTS)
    sums.update(**{name: part[first] for name, part in batch.items()}, group="first")
    sums.update(**{name: part[~first] for name, part in batch.items()})
    found = {estimate.metric: estimate for estimate in finish(sums, seed=0)}
    assert values(found) == pytest.approx(values(measure(batch)), rel=1e-12)
    error = (batch["x"] - batch["x_hat"]).square().sum(1)
    assert found["mse"].details["groups"]["first"]["value"] == pytest.approx(
        float(error[first].mean())
    )


def test_dead_and_dense_shares_of_each_group_are_those_of_its_tokens_alone() -> None:
    batch, first = stream(), torch.arange(TOKENS) < 9
    parts = {
        "first": {name: part[first] for name, part in batch.items()},
        "ordinary": {name: part[~first] for name, part in batch.items()},
        "special": stream(1),
    }
    sums = CoreSums(TEXTS, D, LATENTS)
    for group, part in parts.items():
        sums.update(**part, group=group)
    found = {estimate.metric: estimate for estimate in finish(sums, seed=0)}
    for group, part in parts.items():
        rate = (part["z"] != 0).double().mean(0)
        slow = {
            "dead_share": (rate == 0).double().mean(),
            "dense_share_1pct": (rate > 0.01).double().mean(),
            "dense_share_10pct": (rate > 0.1).double().mean(),
        }
        for metric, value in slow.items():
            told = found[metric].details["groups"][group]
            assert (told["tokens"], told["value"]) == (len(part["z"]), pytest.approx(float(value)))
        counts = found["dead_share"].details["groups"][group]["density"]["latents"]
        assert sum(counts) == (rate > 0).sum()
        assert sum(counts[-2:]) == (rate > 0.1).sum()  # the last two half decades


def test_zero_vectors_have_no_direction_and_are_left_out_of_cosine_and_ratio() -> None:
    batch = stream()
    silent = {name: part.clone() for name, part in batch.items()}
    silent["x"][:10] = 0.0
    kept = {name: part[10:] for name, part in batch.items()}
    sums = CoreSums(TEXTS, D, LATENTS)
    sums.update(**kept)
    rest = {estimate.metric: estimate.value for estimate in finish(sums, seed=0)}
    found = values(measure(silent))
    assert found["cosine"] == pytest.approx(rest["cosine"])
    assert found["l2_ratio"] == pytest.approx(rest["l2_ratio"])
    assert found["mse"] != pytest.approx(rest["mse"])


def test_a_reconstruction_of_zero_has_cosine_zero() -> None:
    batch = stream()
    found = measure({**batch, "x_hat": torch.zeros_like(batch["x"])})
    assert found["cosine"].value == 0.0
    assert found["relative_bias"].status == "undefined"


@pytest.mark.parametrize("value", [0.0, 3.3])
def test_a_constant_stream_has_no_variance_to_explain(value: float) -> None:
    batch = {**stream(), "x": torch.full((TOKENS, D), value, dtype=torch.float64)}
    found = measure(batch)["explained_variance"]
    assert (found.status, found.value) == ("undefined", None)
    assert "no variance" in found.reason


def test_an_empty_stream_is_undefined_throughout() -> None:
    found = finish(CoreSums(TEXTS, D, LATENTS), seed=0)
    assert len(found) == 10
    assert all(estimate.status == "undefined" and estimate.reason for estimate in found)


def test_the_interval_of_explained_variance_covers_the_truth_as_often_as_it_says() -> None:
    """Texts with their own means and error sizes; the truth is that of very many texts."""

    def world(texts: int, seed: int):
        g = torch.Generator().manual_seed(seed)
        rows = torch.arange(texts).repeat_interleave(4)
        x = torch.randn(texts, 3, generator=g)[rows] + torch.randn(texts * 4, 3, generator=g)
        size = torch.rand(texts, 1, generator=g)[rows]
        sums = CoreSums(texts, 3, 1)
        sums.update(x, x + size * torch.randn(x.shape, generator=g), torch.ones(len(x), 1), rows)
        return finish(sums, seed)[0]

    truth = 1 - (1 / 3) / 2
    inside = 0
    for seed in range(200):
        low, high = world(50, seed).ci
        inside += low <= truth <= high
    assert 0.88 * 200 <= inside <= 0.99 * 200


def test_details_are_strict_json() -> None:
    for estimate in measure(stream()).values():
        text = json.dumps(dict(estimate.details), allow_nan=False)
        assert isinstance(text, str)
        assert all(math.isfinite(bound) for bound in estimate.ci)


def test_densities_are_counted_by_half_decades() -> None:
    sums = CoreSums(1, 2, 4)
    z = torch.zeros(100, 4)
    z[:, 0] = 1.0  # on every token
    z[:4, 1] = 1.0  # 0.04: between 10^-1.5 and 10^-1
    z[:1, 2] = -1.0  # 0.01, a sign changes nothing
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    sums.update(x, x, z, torch.zeros(100, dtype=torch.long))
    found = {each.metric: each for each in finish(sums, 0)}["dead_share"]
    told = found.details["density"]
    edges = told["log10_edges"]
    assert edges[0] == -6
    assert edges[-1] == 0
    assert dict(zip(edges, told["latents"], strict=False)) == {
        edge: {-0.5: 1, -1.5: 1, -2.0: 1}.get(edge, 0) for edge in edges[:-1]
    }
    assert sum(told["latents"]) == 3
