"""Absorption: hand-made main and absorbing latents, and a slow loop over words and latents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pytest_sae.metrics.absorption import (
    FOLDS,
    Absorbed,
    Share,
    SpelledWords,
    absorb,
    absorbed,
    fit_letters,
    folds_of,
)
from pytest_sae.metrics.absorption_estimates import estimates
from pytest_sae.metrics.split_latents import split_latents

ALPHABET = [chr(65 + i) for i in range(24)]


def one_word(
    target: float, z: list[float], cosines: list[float]
) -> tuple[SpelledWords, np.ndarray]:
    """A word at `target` along p = e0, unit decoder rows with the given cosines to p."""
    rows = np.zeros((len(z), len(z) + 1))
    rows[:, 0] = cosines
    rows[np.arange(len(z)), 1 + np.arange(len(z))] = np.sqrt(1 - np.square(cosines))
    x = np.zeros((1, len(z) + 1))
    x[0, 0] = target
    nothing = np.zeros(1, np.int64)
    return SpelledWords(nothing, nothing, x, sparse.csr_array(np.array([z])), rows), np.eye(
        len(z) + 1
    )[0]


# Latent 0 is the main latent, latent 1 the absorber, latents 2 to 5 others.
@pytest.mark.parametrize(
    ("z", "cosines", "fraction", "full"),
    [
        ([1, 0, 0, 0, 0, 0], [1, 0.9, 0, 0, 0, 0], 0.0, False),  # the main latent carries it all
        ([0, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 1.0, True),  # silent, absorbed
        ([0.5, 0.5, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 0.5, False),  # half and half
        ([0.25, 2, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 0.75, False),  # no more than is missing
        ([0, 0.3, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 0.0, False),  # absorbers carry under 0.4
        ([0, 0.2, 0.2, 0.2, 0.2, 0], [1, 1, 1, 1, 1, 0], 1.0, False),  # three absorbers together
        ([0, 5, 0, 0, 0, 0], [1, 0.09, 0, 0, 0, 0], 0.0, True),  # too far from p for a fraction
        ([0, 30, 0, 0, 0, 0], [1, 0.02, 0, 0, 0, 0], 0.0, False),  # and for full absorption
        ([0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 0.0, False),  # nothing fires
    ],
)
def test_hand_made_dictionaries_absorb_what_they_should(
    z: list[float], cosines: list[float], fraction: float, full: bool
) -> None:
    words, p = one_word(1.0, z, cosines)
    found = absorb(words, np.array([0]), p, np.array([0]))
    assert found.fraction[0] == pytest.approx(fraction)
    assert found.full[0] == full


def test_a_direction_with_nothing_in_it_absorbs_nothing() -> None:
    for target in (0.0, -1.0):
        words, p = one_word(target, [0, 1, 0], [1, 1, 0])
        found = absorb(words, np.array([0]), p, np.array([0]))
        assert (found.fraction[0], found.full[0]) == (0.0, False)


def random_words(seed: int, count: int = 30, latents: int = 25, d: int = 8) -> SpelledWords:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(latents, d)) * rng.uniform(0.3, 3, (latents, 1))
    z = np.abs(rng.normal(size=(count, latents))) * (rng.random((count, latents)) < 0.4)
    nothing = np.zeros(count, np.int64)
    return SpelledWords(
        nothing, nothing, rng.normal(size=(count, d)) + 0.5, sparse.csr_array(z), rows
    )


def by_loops(words: SpelledWords, p: np.ndarray, main: list[int], scaled: bool) -> list[tuple]:
    found = []
    for x, z in zip(words.x, words.z.toarray(), strict=True):
        target, mains, others = float(x @ p), 0.0, []
        best = (-np.inf, 0.0)
        for j, row in enumerate(words.rows):
            cosine = row @ p / np.linalg.norm(row)
            projection = z[j] * (row @ p if scaled else cosine)
            if j in main:
                mains += projection
                continue
            if cosine >= 0.1 and projection > 0:
                others.append(projection)
            best = max(best, (projection, cosine))
        taken = sum(sorted(others)[-3:])
        if target <= 0 or mains >= target or taken / target < 0.4:
            fraction = 0.0
        elif mains <= 0:
            fraction = 1.0
        else:
            m = min(taken, target - mains)
            fraction = m / (m + mains)
        silent = all(z[j] < 1e-8 for j in main)
        full = silent and target > 0 and best[1] >= 0.025 and best[0] / target >= 0.4
        found.append((fraction, full))
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_columns_at_once_are_loops_over_words_and_latents(
    seed: int, mains: int, scaled: bool
) -> None:
    words, main = random_words(seed), list(range(mains))
    p = np.eye(8)[0]
    found = absorb(words, np.arange(30), p, np.array(main), scaled)
    expected = by_loops(words, p, main, scaled)
    np.testing.assert_allclose(found.fraction, [each[0] for each in expected], atol=1e-9)
    assert found.full.tolist() == [each[1] for each in expected]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_renumbering_and_rescaling_latents_changes_nothing(seed: int) -> None:
    words, p = random_words(seed), np.eye(8)[0]
    rng = np.random.default_rng(seed)
    order, scale = rng.permutation(25), 2.0 ** rng.integers(-4, 4, 25)
    z = (words.z.toarray() * scale)[:, order]
    moved = SpelledWords(
        words.letters,
        words.folds,
        words.x,
        sparse.csr_array(z),
        (words.rows / scale[:, None])[order],
    )
    main = np.array([0, 1])
    plain = absorb(words, np.arange(30), p, main)
    other = absorb(moved, np.arange(30), p, np.flatnonzero(np.isin(order, main)))
    np.testing.assert_allclose(other.fraction, plain.fraction, atol=1e-9)
    assert (other.full == plain.full).all()


def planted(share: float, per_letter: int = 30, seed: int = 0) -> tuple[SpelledWords, list[str]]:
    """Latent l is letter l's; on the last `share` of its words the word's own latent stands in."""
    rng = np.random.default_rng(seed)
    count = len(ALPHABET)
    letters = np.repeat(np.arange(count), per_letter)
    names = [f"{ALPHABET[letter]}w{i:03d}" for i, letter in enumerate(letters)]
    d, total = count + 4, count * per_letter
    # A word's own latent writes its letter's direction, and something of its own.
    rows = np.zeros((count + total, d))
    rows[:count, :count] = np.eye(count)
    rows[count:, :count] = 0.9 * np.eye(count)[letters]
    rows[count:, count:] = np.sqrt(0.19 / 4) * rng.choice([-1, 1], (total, 4))
    z = np.zeros((total, count + total))
    silent = np.arange(total) % per_letter >= round(per_letter * (1 - share))
    z[np.arange(total), letters] = 2.0 * ~silent
    z[np.arange(total), count + np.arange(total)] = 2.0 * silent
    x = z @ rows + rng.normal(size=(total, d)) * 0.02
    folds = folds_of(names, letters, seed)
    return SpelledWords(letters, folds, x, sparse.csr_array(z), rows), names


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_dictionary_that_absorbs_a_known_share_of_words_is_caught(share: float) -> None:
    words, _ = planted(share)
    probes = fit_letters(words.x, words.letters, words.folds, len(ALPHABET))
    found = absorbed(words, probes)
    assert found.right.mean() > 0.99
    main = {int(each[0]) for fold in found.main for each in fold}
    assert main == set(range(len(ALPHABET)))
    read = {each.metric: each for each in estimates(found, ALPHABET, 0)}
    assert read["absorption"].value == pytest.approx(share, abs=0.02)
    assert read["absorption.full"].value == pytest.approx(share, abs=0.02)
    assert read["absorption.canonical"].value == pytest.approx(share, abs=0.02)
    assert read["absorption.split_latents"].value == pytest.approx(1.0)


def test_two_latents_that_share_a_letter_are_both_its_split_latents() -> None:
    rng = np.random.default_rng(0)
    letters = np.arange(400) % 4
    targets = letters == np.arange(4)[:, None]
    half = rng.random(400) < 0.5
    z = rng.random((400, 12)) * (rng.random((400, 12)) < 0.1)
    z[:, 0], z[:, 1] = targets[0] & half, targets[0] & ~half
    z[:, 2], z[:, 3], z[:, 4] = targets[1], targets[2], targets[3]
    both = sparse.csr_array(z)
    found = split_latents(both[:300], targets[:, :300], both[300:], targets[:, 300:], 10, 0.03)
    assert [sorted(each.tolist()) for each in found] == [[0, 1], [2], [3], [4]]


def test_folds_are_even_and_keep_spellings_that_differ_in_case_together() -> None:
    words = [f"{letter}{i}" for letter in "abAB" for i in range(20)]
    letters = np.array(["ab".index(word[0].lower()) for word in words])
    folds = folds_of(words, letters, 0)
    of = dict(zip(words, folds.tolist(), strict=True))
    assert all(of[word] == of[word.upper()] for word in words)
    for letter in range(2):
        assert np.bincount(folds[letters == letter]).tolist() == [8] * FOLDS


def test_a_model_that_reads_few_letters_cannot_do_it_and_says_which() -> None:
    letters = np.arange(24)
    f1 = np.where(letters < 3, 0.9, 0.6)
    share = Share(np.zeros(24), np.zeros(24, bool))
    nobody = Absorbed(letters, letters < 3, f1, share, share, np.ones((FOLDS, 24), int), [])
    found = estimates(nobody, ALPHABET, 0)
    assert {each.status for each in found} == {"unable"}
    assert "reads 3 letters (F1 > 0.6): A, B, C. Expected 20" in found[0].reason
