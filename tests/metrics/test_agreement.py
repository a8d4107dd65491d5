"""Agreement of two dictionaries: the best pairing, against all pairings and planted copies."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pytest_sae.metrics import agreement
from pytest_sae.metrics.agreement import matched_cosines, seed_agreement


def rows(count: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(seed))


def test_the_pairing_is_the_best_of_all_pairings() -> None:
    first, second = normalize(rows(5, 4)), normalize(rows(6, 4, 1))
    cosines = (first @ second.T).numpy()
    best = max(cosines[range(5), list(chosen)].mean() for chosen in permutations(range(6), 5))
    assert matched_cosines(first, second).mean() == pytest.approx(best, abs=1e-6)
    assert matched_cosines(second, first).mean() == pytest.approx(best, abs=1e-6)


def test_the_sparse_way_finds_the_same_pairs_where_they_are_near() -> None:
    first = rows(300, 16)
    second = first[torch.randperm(300, generator=torch.Generator().manual_seed(2))]
    second = second + 0.2 * rows(300, 16, 3)
    pair = normalize(first), normalize(second)
    exact, sparse = matched_cosines(*pair), matched_cosines(*pair, dense=0)
    assert sparse.mean() == pytest.approx(exact.mean(), abs=1e-6)
    wider = normalize(torch.cat([second, rows(50, 16, 4)]))
    assert matched_cosines(pair[0], wider, dense=0).mean() == pytest.approx(
        matched_cosines(pair[0], wider).mean(), abs=1e-6
    )


def test_a_shuffled_rescaled_copy_agrees_fully_and_unrelated_rows_as_much_as_the_floor() -> None:
    first = rows(200, 24)
    copy = first.flip(0) * torch.linspace(0.5, 3, 200)[:, None]
    found = seed_agreement(first, copy, 0)
    assert found.value == pytest.approx(1.0, abs=1e-6)
    assert found.details["floor"] < 0.6
    assert found.details["share_above_0.7"] == 1.0
    stranger = seed_agreement(first, rows(200, 24, 9), 0)
    assert stranger.value == pytest.approx(stranger.details["floor"], abs=0.03)


def test_half_a_copy_agrees_by_half() -> None:
    first = torch.eye(40)
    second = torch.cat([torch.eye(40)[:20], -torch.eye(40)[20:]])
    assert seed_agreement(first, second, 0).value == pytest.approx(0.5, abs=1e-6)


def test_zero_rows_take_no_part_and_what_cannot_be_compared_says_why() -> None:
    first = torch.cat([rows(20, 8), torch.zeros(5, 8)])
    assert seed_agreement(first, first, 0).n == {"pairs": 20}
    assert seed_agreement(None, first, 0).status == "not_applicable"
    other = seed_agreement(first, rows(20, 9), 0)
    assert other.status == "undefined"
    assert "8 wide" in other.reason
    assert seed_agreement(torch.zeros(4, 8), first, 0).status == "undefined"
    assert np.isfinite(seed_agreement(rows(1, 8), rows(1, 8, 5), 0).value)


def test_of_wide_dictionaries_some_rows_are_paired_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = rows(200, 24)
    copy = first.flip(0)
    monkeypatch.setattr(agreement, "COMPARED", 200 * 50)
    found = seed_agreement(first, copy, 0)
    assert found.n == {"pairs": 50}
    assert found.details["paired_rows"] == 50
    assert found.value == pytest.approx(1.0, abs=1e-6)
    stranger = seed_agreement(first, rows(200, 24, 9), 0)
    assert stranger.value == pytest.approx(stranger.details["floor"], abs=0.05)
