"""Supervised dictionaries of worlds in which attributes act additively."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pytest_sae.metrics.supervised import fit, shares

VALUES = np.array(list(product(range(3), range(4), range(2))))


def additive(seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Activations that are a mean and one centred vector per value, in a balanced design."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((count, 7)) for count in (3, 4, 2)]
    parts = [each - each.mean(0) for each in parts]
    x = rng.standard_normal(7) + sum(each[VALUES[:, i]] for i, each in enumerate(parts))
    return x, parts


def test_an_additive_world_is_reconstructed_exactly() -> None:
    x, parts = additive()
    found = fit(x, VALUES)
    np.testing.assert_allclose(found.reconstruct(VALUES), x, atol=1e-12)
    for own, true in zip(found.features, parts, strict=True):
        np.testing.assert_allclose(own, true, atol=1e-12)


def test_features_are_conditional_means_minus_the_mean() -> None:
    rng = np.random.default_rng(1)
    x, values = rng.standard_normal((30, 5)), rng.integers(3, size=(30, 1))
    found = fit(x, values)
    for value in range(3):
        expected = x[values[:, 0] == value].mean(0) - x.mean(0)
        np.testing.assert_allclose(found.features[0][value], expected)


def test_an_edit_turns_a_text_into_its_counterfactual() -> None:
    x, _ = additive()
    found = fit(x, VALUES)
    before, after = 5, 5 + 8  # the first attribute is the next value, the others are the same
    assert (VALUES[before, 1:] == VALUES[after, 1:]).all()
    change = found.edit(0, VALUES[[before], 0], VALUES[[after], 0])
    np.testing.assert_allclose(x[[before]] + change, x[[after]], atol=1e-12)


def test_what_edits_of_all_attributes_remove_is_all_of_the_reconstruction() -> None:
    x, _ = additive()
    found = fit(x, VALUES)
    removed = sum(found.removed(attribute, VALUES) for attribute in range(3))
    np.testing.assert_allclose(removed, 1)


def test_values_are_guessed_where_they_act_apart() -> None:
    x = np.eye(9)[VALUES[:, 0]] + np.eye(9)[3 + VALUES[:, 1]]
    found = fit(x, VALUES)
    for attribute in (0, 1):
        np.testing.assert_array_equal(found.guesses(attribute, x), VALUES[:, attribute])


def test_a_value_without_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="every value"):
        fit(np.zeros((2, 3)), np.array([[0], [2]]))


def test_a_share_of_nothing_is_zero() -> None:
    np.testing.assert_array_equal(
        shares(np.array([1.0, 2.0]), np.array([[0, 0], [0, 2]])), [0, 0.5]
    )
