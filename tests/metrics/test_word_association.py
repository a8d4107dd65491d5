"""Words that give a concept away, against a test of another library and planted truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import fisher_exact

from pytest_sae.metrics.word_association import association, choose


def texts(seed: int, each: int = 60) -> tuple[list[frozenset[str]], np.ndarray, np.ndarray]:
    """Four cells: `she` and `he` tell the gender, `nurse` the job, `ward` job more than gender."""
    rng = np.random.default_rng(seed)
    intended, spurious = (part.astype(bool) for part in np.divmod(np.arange(4 * each) % 4, 2))
    said = []
    for job, gender in zip(intended, spurious, strict=True):
        words = {f"w{rng.integers(30)}" for _ in range(5)}
        words |= {"she" if gender else "he"} if rng.random() < 0.9 else set()
        words |= {"nurse"} if job and rng.random() < 0.8 else set()
        words |= {"ward"} if rng.random() < 0.1 + 0.6 * job + 0.2 * gender else set()
        said.append(frozenset(words))
    return said, intended, spurious


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_planted_words_are_found_and_words_of_the_other_concept_are_not(seed: int) -> None:
    said, intended, spurious = texts(seed)
    chosen = choose(said, intended, spurious)
    assert {"she", "he"} <= set(chosen)
    assert not {"nurse", "ward"} & set(chosen)
    assert set(choose(said, spurious, intended)) >= {"nurse", "ward"}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_texts_changes_no_word(seed: int) -> None:
    said, intended, spurious = texts(0)
    order = np.random.default_rng(seed).permutation(len(said))
    moved = choose([said[each] for each in order], intended[order], spurious[order])
    assert moved == choose(said, intended, spurious)


def test_words_by_chance_are_as_rare_as_the_bound_says() -> None:
    """Labels that know nothing of the words: at most one run in twenty may choose any."""
    said, _, _ = texts(0)
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(len(said)) % 2 == 0
        false += bool(choose(said, rng.permutation(labels), labels))
    assert false <= 20


def test_the_statistic_of_one_stratum_is_the_chi_square_of_its_table() -> None:
    rng = np.random.default_rng(1)
    word, label = rng.random(80) < 0.4, rng.random(80) < 0.5
    found = association(sparse.csr_array(word[:, None].astype(float)), label, np.ones(80, bool))
    a, held, positive, n = (word & label).sum(), word.sum(), label.sum(), 80
    expected = (
        (a * n - held * positive) ** 2 * (n - 1) / (held * (n - held) * positive * (n - positive))
    )
    assert found[0] == pytest.approx(expected)
    table = [[a, held - a], [positive - a, n - held - positive + a]]
    assert (found[0] > 3.84) == (fisher_exact(table).pvalue < 0.05)


def test_a_word_that_only_follows_the_other_label_is_not_associated() -> None:
    """Simpson: over all texts together word and label go together, within the strata they don't."""
    within = np.arange(400) < 200
    rng = np.random.default_rng(2)
    word = rng.random(400) < np.where(within, 0.9, 0.1)
    label = rng.random(400) < np.where(within, 0.9, 0.1)
    column = sparse.csr_array(word[:, None].astype(float))
    assert association(column, label, within)[0] < 6
    assert association(column, label, np.ones(400, bool))[0] > 50


def test_no_more_words_than_asked_the_strongest_first() -> None:
    said, intended, spurious = texts(3)
    chosen = choose(said, intended, spurious)
    assert choose(said, intended, spurious, most=1) == chosen[:1]


def test_rare_words_and_no_words_give_nothing() -> None:
    labels = np.arange(40) % 2 == 0
    rare = [frozenset({"once"}) if place < 4 else frozenset() for place in range(40)]
    assert choose(rare, np.arange(40) < 20, labels) == ()
    assert choose([frozenset()] * 40, np.arange(40) < 20, labels) == ()
