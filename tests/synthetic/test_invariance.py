"""No value knows how many texts were encoded at once, in which order, or after what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from random import Random
from typing import TypeVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.data.tasks import ClassTexts, Corpus, SpuriousTexts
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.synthetic import latents
from tests.synthetic.planted_dictionaries import (
    QUICK,
    REFITTED,
    Planted,
    few,
    figures,
    planted,
    unshrunk,
)

T = TypeVar("T")
Texts = TypeVar("Texts", SpuriousTexts, ClassTexts)

#: The published protocols draw their negatives, and fit in minibatches, by place.
DRAWN_BY_PLACE = {"tpp.canonical", "sparse_probing.canonical"}
HALF = 0.5  # of the features known: neither end, so that every figure has something to say


@pytest.mark.parametrize("families", [QUICK, REFITTED], ids=["quick", "refitted"])
@given(planted=planted(), size=st.sampled_from([50, 200]))
@settings(unshrunk, max_examples=2)
def test_how_many_texts_are_encoded_at_once_changes_no_value(
    families: Sequence[str], planted: Planted, size: int
) -> None:
    dictionary = planted.knowing(HALF, 0)
    whole = figures(planted, dictionary, families)
    with patch.object(latents, "_TEXTS", size):
        assert_same(whole, figures(planted, dictionary, families))


@given(planted=planted(), rng=st.randoms(use_true_random=False))
@few
def test_the_order_of_the_corpus_and_of_the_tasks_changes_no_value(
    planted: Planted, rng: Random
) -> None:
    """Tasks are told apart by name, and texts of the corpus are only summed over."""
    tasks, dictionary = planted.book.tasks, planted.knowing(HALF, 0)
    assert tasks.corpus is not None
    corpus = Corpus(mixed(tasks.corpus.texts, rng), tasks.corpus.fingerprint)
    other = replace(tasks, corpus=corpus, scr=mixed(tasks.scr, rng), tpp=mixed(tasks.tpp, rng))
    assert_same(figures(planted, dictionary), figures(planted, dictionary, tasks=other))


@pytest.mark.parametrize("families", [QUICK, REFITTED], ids=["quick", "refitted"])
@given(planted=planted(), rng=st.randoms(use_true_random=False))
@settings(unshrunk, max_examples=2)
def test_the_order_of_the_test_texts_changes_no_value(
    families: Sequence[str], planted: Planted, rng: Random
) -> None:
    tasks, dictionary = planted.book.tasks, planted.knowing(HALF, 0)
    other = replace(
        tasks,
        scr=tuple(replace(task, test=mixed_texts(task.test, rng)) for task in tasks.scr),
        tpp=tuple(replace(task, test=mixed_texts(task.test, rng)) for task in tasks.tpp),
    )
    before = figures(planted, dictionary, families)
    after = figures(planted, dictionary, families, other)
    by_place = {key for key, each in before.items() if each.metric in DRAWN_BY_PLACE}
    assert_same(before, after, by_place)


@given(planted=planted(), rng=st.randoms(use_true_random=False))
@few
def test_the_order_of_the_training_texts_changes_nothing_that_is_fitted_once(
    planted: Planted, rng: Random
) -> None:
    """SCR, TPP, erasure and concepts average over resamples of the training texts, drawn by place.

    Their place is decided by a hash of each text and not by the file that it stands in, so that
    it is the same however the data come: `tests/data/test_tasks.py`.
    """
    tasks, dictionary = planted.book.tasks, planted.knowing(HALF, 0)
    other = replace(
        tasks,
        scr=tuple(replace(task, train=mixed_texts(task.train, rng)) for task in tasks.scr),
        tpp=tuple(replace(task, train=mixed_texts(task.train, rng)) for task in tasks.tpp),
    )
    before = figures(planted, dictionary, ["sparse_probing"])
    after = figures(planted, dictionary, ["sparse_probing"], other)
    by_place = {key for key, each in before.items() if each.metric in DRAWN_BY_PLACE}
    assert_same(before, after, by_place)


@given(planted=planted(), order=st.permutations(QUICK))
@settings(unshrunk, max_examples=2)
def test_what_was_measured_before_changes_no_bit(planted: Planted, order: list[str]) -> None:
    dictionary = planted.knowing(HALF, 0)
    alone = {}
    for family in QUICK:
        alone |= figures(planted, dictionary, [family])
    together = figures(planted, dictionary, order)
    assert {key: each.value for key, each in together.items()} == {
        key: each.value for key, each in alone.items()
    }


def mixed(parts: Sequence[T], rng: Random) -> tuple[T, ...]:
    return tuple(rng.sample(parts, len(parts)))


def mixed_texts(part: Texts, rng: Random) -> Texts:
    """The same texts with the same labels in another order."""
    order = rng.sample(range(len(part.texts)), len(part.texts))
    columns = {
        field.name: tuple(getattr(part, field.name)[place] for place in order)
        for field in fields(part)
    }
    return replace(part, **columns)


def assert_same(
    before: dict[str, Estimate], after: dict[str, Estimate], but: Collection[str] = ()
) -> None:
    """The same but for rounding of float32 activations, which are added up in another order."""
    assert before.keys() == after.keys()
    for key in before.keys() - set(but):
        one, other = before[key], after[key]
        assert one.status == other.status, key
        assert one.value is None or other.value == pytest.approx(one.value, rel=1e-5, abs=1e-6), key
