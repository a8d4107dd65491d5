"""Meta-structure on decoder rows whose structure is planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pytest_sae.metrics import meta_structure as module
from pytest_sae.metrics.meta_structure import _in_order, fit, meta_structure

ROWS, D = 256, 96


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(active: int = 4) -> torch.Tensor:
    """Rows that are sums of `active` of 64 directions."""
    g = drawn()
    directions = normalize(torch.randn(ROWS // 4, D, generator=g))
    rows = torch.zeros(ROWS, D)
    for row in rows:
        chosen = torch.randperm(len(directions), generator=g)[:active]
        row += (0.5 + torch.rand(active, generator=g)) @ directions[chosen]
    return rows


def unrelated() -> torch.Tensor:
    return torch.randn(ROWS, D, generator=drawn(1))


def value(rows: torch.Tensor, seed: int = 0) -> float:
    found = meta_structure(rows, seed)
    assert found.value is not None
    return found.value


def test_rows_that_are_sums_of_few_directions_are_explained_and_random_rows_are_not() -> None:
    assert value(planted()) > 0.9
    assert value(planted(1)) > 0.9
    assert value(unrelated()) < 0.6


def test_it_depends_on_directions_alone_not_on_norms_or_on_a_rotation() -> None:
    rows = planted()
    scaled = rows * torch.rand(ROWS, 1, generator=drawn(2)).add(0.1)
    turned = rows @ torch.linalg.qr(torch.randn(D, D, generator=drawn(3)))[0]
    assert value(scaled) == pytest.approx(value(rows), abs=1e-3)
    assert value(turned) == pytest.approx(value(rows), abs=0.02)


def test_how_the_rows_are_numbered_changes_nothing() -> None:
    order = torch.randperm(ROWS, generator=drawn(4))
    assert value(unrelated()[order]) == pytest.approx(value(unrelated()), abs=1e-5)


def test_it_is_the_same_for_a_seed_and_nearly_the_same_for_another() -> None:
    assert value(planted(), 5) == value(planted(), 5)
    assert value(planted(), 6) == pytest.approx(value(planted(), 5), abs=0.03)


def test_the_reported_value_is_that_of_the_fitted_sae_computed_by_hand() -> None:
    rows = _in_order(normalize(unrelated()), 0)
    found = fit(rows, 0)
    z = torch.from_numpy(found.codes.toarray())
    explicit = torch.relu((rows - found.centre) @ found.encoder.T)
    bar = explicit.flatten().topk(4 * ROWS).values[-1]
    assert torch.equal(z > 0, explicit >= bar)
    torch.testing.assert_close(z, explicit * (explicit >= bar), rtol=0, atol=1e-6)
    assert float((z > 0).sum()) == 4 * ROWS
    left = (rows - z @ found.decoder - found.centre).square().sum()
    share = 1 - left / (rows - rows.mean(0)).square().sum()
    assert value(unrelated()) == pytest.approx(float(share), abs=1e-5)


def test_it_explains_as_much_as_gradient_descent_does() -> None:
    """The published recipe, written out at a size where it is quick."""
    rows = normalize(planted(6))
    g = drawn(7)
    decoder = normalize(torch.randn(ROWS // 4, D, generator=g))
    encoder, centre = decoder.T.clone(), rows.mean(0)
    weights = [each.requires_grad_() for each in (decoder, encoder, centre)]
    adam = torch.optim.Adam(weights, lr=5e-3)
    for _ in range(400):
        pre = torch.relu((rows - centre) @ encoder)
        kept = pre * (pre >= pre.flatten().topk(4 * ROWS).values[-1])
        loss = (kept @ decoder + centre - rows).square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    published = 1 - loss.item() / float((rows - rows.mean(0)).square().sum())
    assert value(planted(6)) > published - 0.02


def test_zero_rows_are_left_out_and_counted() -> None:
    rows = torch.cat([planted(), torch.zeros(20, D)])
    found = meta_structure(rows, 0)
    assert found.value == value(planted())
    assert found.details["zero_rows"] == 20
    assert found.n == {"latents": ROWS}


def test_what_cannot_be_measured_says_why() -> None:
    assert meta_structure(None, 0).status == "not_applicable"
    few = meta_structure(torch.randn(10, 4), 0)
    assert few.status == "undefined"
    assert "10 decoder rows" in few.reason
    same = meta_structure(torch.ones(100, 4), 0)
    assert same.status == "undefined"
    assert np.isfinite(value(unrelated()))


def test_of_many_rows_a_sample_is_fitted_whose_error_holds_what_samples_differ_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", ROWS)
    g = drawn(3)
    codes = torch.rand(4 * ROWS, 40, generator=g) * (torch.rand(4 * ROWS, 40, generator=g) < 0.1)
    every = codes @ torch.randn(40, D, generator=g) + 0.3 * torch.randn(4 * ROWS, D, generator=g)
    found = [
        meta_structure(every[torch.randperm(len(every), generator=g)[: ROWS + 9]], seed)
        for seed in range(12)
    ]
    assert {each.n["latents"] for each in found} == {each.details["fitted_rows"] for each in found}
    assert {each.n["latents"] for each in found} == {ROWS}
    spread = np.std([each.value for each in found], ddof=1)
    told = np.sqrt(np.mean([each.se**2 for each in found]))
    assert spread < 1.6 * told
