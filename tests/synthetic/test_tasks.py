"""Tasks are about true features, balanced, and nothing in their texts was edited."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pytest_sae.errors import DataError
from pytest_sae.synthetic.tasks import SMOKE_BOOK, Book, concepts_of, make_book
from pytest_sae.synthetic.worlds import SMOKE, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(SMOKE[0])


@pytest.fixture(scope="module")
def book(world: World) -> Book:
    return make_book(world, SMOKE_BOOK, 0)


def fires(book: Book, text: str, features: np.ndarray) -> int:
    """On how many tokens of a text any of the features fires, counted one by one."""
    tokens = book.texts.features[book.texts.names.index(text)]
    return sum(any(float(token[f]) > 0 for f in features) for token in tokens)


def test_a_pairs_texts_have_their_concepts_on_two_tokens_or_on_none(book: Book):
    for task, concepts in zip(book.tasks.scr, book.concepts.pairs, strict=True):
        for split in (task.train, task.test):
            for place in range(0, len(split.texts), 7):
                for concept, label in zip(concepts, (split.intended, split.spurious), strict=True):
                    count = fires(book, split.texts[place], concept)
                    assert count >= 2 if label[place] else count == 0


def test_a_pair_is_balanced_over_the_spurious_concept(book: Book):
    for task in book.tasks.scr:
        for split, size in ((task.train, SMOKE_BOOK.train), (task.test, SMOKE_BOOK.test)):
            cells = Counter(zip(split.intended, split.spurious, strict=True))
            assert set(cells.values()) == {size}
            assert len(cells) == 4


def test_a_texts_class_is_the_one_whose_features_fire_most(book: Book):
    for task, classes in zip(book.tasks.tpp, book.concepts.multis, strict=True):
        assert set(Counter(task.train.labels).values()) == {SMOKE_BOOK.train}
        for text, label in list(zip(task.train.texts, task.train.labels, strict=True))[::9]:
            counts = [fires(book, text, each) for each in classes]
            assert counts[label] >= 2
            assert all(counts[label] > count for i, count in enumerate(counts) if i != label)


def test_no_text_is_in_both_splits_of_a_task(book: Book):
    for task in (*book.tasks.scr, *book.tasks.tpp):
        assert not set(task.train.texts) & set(task.test.texts)
        assert len(set(task.train.texts)) == len(task.train.texts)


def test_another_seed_gives_other_texts_about_the_same_features(world: World, book: Book):
    again, other = make_book(world, SMOKE_BOOK, 0), make_book(world, SMOKE_BOOK, 1)
    assert again.tasks == book.tasks
    assert (again.texts.x == book.texts.x).all()
    assert not set(other.texts.names) & set(book.texts.names)
    for mine, theirs in zip(book.concepts.pairs, other.concepts.pairs, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_pairs_share_no_feature_and_rare_features_are_in_no_task(world: World, book: Book):
    used = np.concatenate([each for pair in book.concepts.pairs for each in pair])
    assert len(set(used.tolist())) == len(used)
    often = (world.sample(40_000, 9, "count").features > 0).double().mean(0).numpy()
    chosen = often[book.concepts.features]
    assert chosen.min() > SMOKE_BOOK.least * 0.8
    assert chosen.max() < SMOKE_BOOK.most * 1.1


def test_texts_are_drawn_until_every_cell_has_enough(world: World):
    book = make_book(world, replace(SMOKE_BOOK, pool=700), 0)
    assert any("pool 1" in name for name in book.texts.names)
    for task in book.tasks.scr:
        cells = Counter(zip(task.test.intended, task.test.spurious, strict=True))
        assert set(cells.values()) == {SMOKE_BOOK.test}


def test_a_pool_that_is_too_small_and_a_world_that_is_too_small_are_refused(world: World):
    with pytest.raises(DataError, match=r"of 80 texts of world smoke, \d+ are in the rarest cell"):
        make_book(world, replace(SMOKE_BOOK, pool=20), 0)
    with pytest.raises(DataError, match="neither too rare nor too frequent"):
        concepts_of(world, replace(SMOKE_BOOK, pairs=50))
