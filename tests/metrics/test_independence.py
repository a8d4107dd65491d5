"""Coherence and co-activation against all pairs, written out, and against planted twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pytest_sae.metrics import independence
from pytest_sae.metrics.independence import CoactivationSums, coactivation, coherence
from pytest_sae.metrics.row_sample import spread

EVERYONE = torch.ones(50, dtype=torch.bool)


def rows(count: int = 50, d: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(seed))


def test_coherence_is_the_largest_cosine_of_all_pairs() -> None:
    vectors = rows()
    cosines = [
        abs(float(torch.cosine_similarity(a, b, dim=0)))
        for i, a in enumerate(vectors)
        for b in vectors[:i]
    ]
    found, twins = coherence(vectors, EVERYONE)
    assert found.value == pytest.approx(max(cosines), abs=1e-6)
    assert twins.value == 0.0 if max(cosines) < 0.9 else twins.value > 0


def test_the_babel_function_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(independence, "_SCORES", 120)  # blocks of two rows
    unit = torch.nn.functional.normalize(rows())
    cosines = (unit @ unit.T).abs().fill_diagonal_(0).sort(dim=1, descending=True).values
    curve = coherence(rows(), EVERYONE)[0].details["curve"]
    assert [point["n"] for point in curve] == [1, 2, 5, 10, 20]
    for point in curve:
        expected = float(cosines[:, : point["n"]].sum(1).max()) / point["n"]
        assert point["value"] == pytest.approx(expected, rel=1e-5)


def test_orthogonal_rows_are_incoherent_and_doubled_ones_are_duplicates() -> None:
    plain, none = coherence(torch.eye(6), torch.ones(6, dtype=torch.bool))
    assert (plain.value, none.value) == (0.0, 0.0)
    doubled = torch.cat([torch.eye(6), -2 * torch.eye(6)[:2]])
    most, share = coherence(doubled, torch.ones(8, dtype=torch.bool))
    assert (most.value, share.value) == (1.0, 0.5)


def test_dead_latents_take_no_part_and_their_share_stands_beside() -> None:
    live = EVERYONE.clone()
    live[10:] = False
    found = coherence(rows(), live)[0]
    assert found.value == pytest.approx(coherence(rows()[:10], EVERYONE[:10])[0].value)
    assert found.details["live_share"] == 0.2
    alone = coherence(rows(), torch.arange(50) == 0)[0]
    assert (alone.status, alone.details["live_share"]) == ("undefined", 0.02)
    assert coherence(None, EVERYONE)[0].status == "not_applicable"


def gathered(fires: np.ndarray, asked: list[int], batch: int = 64) -> CoactivationSums:
    sums = CoactivationSums(np.array(asked, np.int64), fires.shape[1])
    for start in range(0, len(fires), batch):
        sums.update(sparse.csr_array(fires[start : start + batch].astype(np.float32)))
    return sums


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_phi_is_the_correlation_of_the_firings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fires = rng.random((200, 6)) < rng.uniform(0.2, 0.8, 6)
    sums = gathered(fires, [0, 3])
    found = [independence.phi(sums, place) for place in range(2)]
    np.testing.assert_allclose(found, np.corrcoef(fires.T)[[0, 3]], atol=1e-5)


def test_independent_latents_score_near_zero_and_twins_one() -> None:
    rng = np.random.default_rng(0)
    fires = rng.random((4000, 8)) < 0.2
    alone = coactivation(gathered(fires, list(range(8))), 1.0)
    assert 0 < alone.value < 0.06
    twins = coactivation(gathered(np.hstack([fires, fires]), list(range(16))), 1.0)
    assert twins.value == pytest.approx(1.0, abs=1e-6)
    never = coactivation(gathered(np.hstack([fires[:, :2], ~fires[:, :2]]), [0, 1, 2, 3]), 1.0)
    assert never.value < 0.06


def test_rare_latents_neither_speak_nor_are_spoken_of() -> None:
    rng = np.random.default_rng(0)
    fires = rng.random((2000, 3)) < 0.2
    once = np.zeros((2000, 2), bool)
    once[7] = True  # two latents that fire on one token, together
    sums = gathered(np.hstack([fires, once]), [0, 1, 2])
    assert coactivation(sums, 1.0).value < 0.08
    densities = np.hstack([fires, once]).mean(0)
    assert independence.sampled(densities, 2000).tolist() == [0, 1, 2]
    assert len(set(independence.sampled(np.full(5000, 0.2), 2000))) == 1024
    assert coactivation(gathered(once, []), 0.4).status == "undefined"


def test_of_a_wide_dictionary_some_rows_are_compared_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = rows()
    exact = {n: coherence(vectors, EVERYONE)[n] for n in range(2)}
    monkeypatch.setattr(independence, "COMPARED", 50 * 10)
    most, twins = coherence(vectors, EVERYONE)
    cosines = (
        torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(vectors).T
    ).abs()
    some = spread(vectors, 10)
    expected = float(cosines.fill_diagonal_(0)[some].max())
    assert most.value == pytest.approx(expected, abs=1e-6)
    assert most.value <= exact[0].value
    assert (most.se, most.ci) == (None, (most.value, 1.0))
    assert most.n == twins.n == {"latents": 10}
    assert most.details["compared_rows"] == twins.details["compared_rows"] == 10


def test_of_a_wide_dictionary_fewer_latents_firings_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(independence, "_PAIRS", 500 * 20)
    assert len(independence.sampled(np.full(500, 0.2), 2000)) == 20
