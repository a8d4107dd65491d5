"""Senses in the strongest latent: planted words, sklearn's figures, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
)

from pytest_sae.metrics.senses import NOTHING, SensePairs, by_cosine, estimates, strongest
from pytest_sae.numbers.estimate import Estimate

WORDS, SENSES, EACH = 60, 2, 4


def planted(seed: int = 0, right: float = 1.0, known: float = 1.0) -> SensePairs:
    """Every sense of a word has a latent of its own; some latents and cosines say nothing."""
    rng = np.random.default_rng(seed)
    word = np.repeat(np.arange(WORDS), EACH)
    senses = rng.integers(SENSES, size=(len(word), 2))
    blurred = rng.random(senses.shape) > right
    latents = np.where(blurred, rng.integers(SENSES, size=senses.shape), senses)
    same = senses[:, 0] == senses[:, 1]
    cosine = np.where(rng.random(len(word)) < known, same * 0.5, rng.random(len(word)) * 0.5)
    return SensePairs(word, same, SENSES * word[:, None] + latents, cosine)


def read(pairs: SensePairs, seed: int = 0) -> dict[str, Estimate]:
    return {each.metric: each for each in estimates(pairs, seed)}


def test_a_latent_for_every_sense_is_right_about_all_of_them() -> None:
    found = read(planted())
    for name in ("senses", "senses.recall", "senses.specificity", "senses.f1", "senses.accuracy"):
        assert found[name].value == 1.0
        assert found[name].se == 0.0
    assert found["senses.activations"].value == 1.0
    assert found["senses.gain"].value == 0.0


@pytest.mark.parametrize("latents", ["one for all", "one for each text", "one for a word", "none"])
def test_who_does_not_look_at_the_sense_is_at_chance(latents: str) -> None:
    pairs = planted()
    count = len(pairs.same)
    blind = {
        "one for all": np.zeros((count, 2), np.int64),
        "one for each text": np.arange(2 * count).reshape(count, 2),
        "one for a word": np.repeat(pairs.word[:, None], 2, axis=1),
        "none": np.full((count, 2), NOTHING),
    }[latents]
    assert read(replace(pairs, latents=blind))["senses"].value == 0.5


def test_the_share_of_pairs_that_are_blurred_is_lost_as_the_closed_form_says() -> None:
    """A latent at random is right half of the time: q of both senses kept leaves 1/2 + q^2/2."""
    values = [read(planted(seed, right=0.6))["senses"].value for seed in range(20)]
    assert np.mean(values) == pytest.approx(0.5 + 0.6**2 / 2, abs=0.01)


def test_the_figures_are_sklearns() -> None:
    pairs = planted(3, right=0.7)
    found, told, same = read(pairs), pairs.agree, pairs.same
    wanted = {
        "senses": balanced_accuracy_score(same, told),
        "senses.recall": recall_score(same, told),
        "senses.specificity": recall_score(~same, ~told),
        "senses.precision": precision_score(same, told),
        "senses.f1": f1_score(same, told),
        "senses.accuracy": accuracy_score(same, told),
    }
    assert {name: found[name].value for name in wanted} == pytest.approx(wanted)


def test_the_interval_covers_what_other_words_would_give() -> None:
    values, errors = zip(
        *(
            (found.value, found.se)
            for found in (read(planted(s, 0.6))["senses"] for s in range(60))
        ),
        strict=True,
    )
    assert 0.8 < np.std(values, ddof=1) / np.mean(errors) < 1.25


def test_pairs_of_one_word_err_together() -> None:
    """Every pair four times over says nothing new of words."""
    pairs = planted(5, right=0.6)
    again = [np.concatenate([each] * 4) for each in (pairs.word, pairs.same, pairs.latents)]
    more = SensePairs(*again, np.concatenate([pairs.cosine] * 4))
    one, four = read(pairs)["senses"], read(more)["senses"]
    assert four.value == pytest.approx(one.value)
    assert four.se == pytest.approx(one.se)


def test_a_threshold_is_chosen_on_other_words() -> None:
    """Cosines that say nothing are at chance, where one's own threshold would be above it."""
    values = [read(planted(seed, known=0.0))["senses.activations"].value for seed in range(30)]
    assert abs(np.mean(values) - 0.5) < 0.01
    pairs = planted(0, known=0.0)
    tempting = max(
        balanced_accuracy_score(pairs.same, pairs.cosine >= at) for at in np.unique(pairs.cosine)
    )
    assert tempting > 0.52


def test_every_word_of_a_half_has_one_threshold() -> None:
    pairs = planted(1, known=0.5)
    told = by_cosine(pairs, 0)
    for word in range(WORDS):
        mine = pairs.word == word
        yes, no = pairs.cosine[mine & told], pairs.cosine[mine & ~told]
        assert not len(yes) or not len(no) or yes.min() > no.max()


@given(st.integers(0, 2**32 - 1))
def test_neither_numbering_nor_units_of_latents_nor_the_order_of_rows_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(12, 9)) * (rng.random((12, 9)) < 0.4)
    norms, unit = rng.random(9) + 0.1, rng.random(9) + 0.5
    rows, numbered = rng.permutation(12), rng.permutation(9)
    wanted = strongest(sparse.csr_array(z), norms)
    changed = sparse.csr_array((z * unit)[rows][:, numbered])
    found = strongest(changed, (norms / unit)[numbered])
    back = np.append(numbered, NOTHING)
    assert back[found].tolist() == wanted[rows].tolist()
    slow = [max(range(9), key=lambda j: abs(row[j]) * norms[j]) if row.any() else -1 for row in z]
    assert wanted.tolist() == slow
