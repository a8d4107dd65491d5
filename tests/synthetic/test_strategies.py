"""What the strategies give: proven dictionaries, equivalents, worlds and balanced tasks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.prove import prove
from pytest_sae.synthetic.dictionaries import ARCHITECTURES, random_dictionary
from pytest_sae.synthetic.equivalent import renumbered, rescaled
from pytest_sae.synthetic.strategies import (
    KINDS,
    activations,
    book_sizes,
    books,
    dictionaries,
    factors,
    orders,
    world_specs,
    worlds,
)
from pytest_sae.synthetic.tasks import Book, BookSize, make_book
from pytest_sae.synthetic.worlds import World, WorldSpec

D = 8


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_fires_and_is_silent(architecture: str) -> None:
    dictionary = random_dictionary(architecture, 16, 48, seed=1)
    x = 2 * torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    firing = dictionary.encode(x) != 0
    assert firing.any()
    assert not firing.all()
    assert dictionary.info.family.endswith(architecture)


def test_a_transcoder_may_write_another_width() -> None:
    dictionary = random_dictionary("skip_transcoder", 16, 48, seed=1, d_out=12)
    assert (dictionary.d_in, dictionary.d_out) == (16, 12)
    assert dictionary.reconstruct(torch.randn(3, 16)).shape == (3, 12)


def test_the_same_seed_is_the_same_dictionary() -> None:
    first, second, other = (random_dictionary("topk", 8, 20, seed) for seed in (1, 1, 2))
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_an_unknown_architecture_is_told_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'top_k'. Expected standard, topk"):
        random_dictionary("top_k", 8, 20, seed=0)


@given(dictionary=dictionaries(D), x=activations(D), data=st.data())
def test_equivalents_keep_the_contract_and_reconstruct_alike(
    dictionary: Dictionary, x: torch.Tensor, data: st.DataObject
) -> None:
    order = data.draw(orders(dictionary.d_sae))
    units = data.draw(factors(dictionary.d_sae))
    z = dictionary.encode(x)
    for other, expected in (
        (renumbered(dictionary, order), z[:, order]),
        (rescaled(dictionary, units), z * units),
    ):
        prove(other)
        assert torch.equal(other.encode(x), expected)
        assert torch.equal(other.reconstruct(x), dictionary.reconstruct(x))
        assert other.fingerprint != dictionary.fingerprint


@given(dictionary=dictionaries(D), x=activations(D))
def test_activations_of_any_scale_are_finite_and_so_are_their_codes(
    dictionary: Dictionary, x: torch.Tensor
) -> None:
    assert x.shape[1] == D
    assert torch.isfinite(x).all()
    assert torch.isfinite(dictionary.encode(x)).all()


@settings(max_examples=12)
@given(spec=world_specs())
def test_a_world_is_of_its_kind_and_every_feature_fires(spec: WorldSpec) -> None:
    world = World(spec)
    assert (spec.d == spec.features) == (spec.name == "independent")
    assert (spec.roots > 0) == (spec.name == "hierarchical")
    assert (spec.correlation > 0) == (spec.name == "correlated")
    sample = world.sample(4000, 0, "look")
    often = (sample.features > 0).double().mean(0)
    # Half a per cent is the standard error of one in ten; what they promise is 5 to 11 %.
    assert often.min() > 0.03
    assert often.max() < 0.14
    assert sample.x.shape == (4000, spec.d)


def test_every_kind_of_world_comes() -> None:
    seen = Counter[str]()

    @settings(max_examples=60, database=None, derandomize=True)
    @given(spec=world_specs())
    def draw(spec: WorldSpec) -> None:
        seen[spec.name] += 1

    draw()
    assert set(seen) == set(KINDS)


def test_only_the_kinds_that_are_asked_for_come() -> None:
    assert find(world_specs(["correlated"]), lambda _: True).name == "correlated"
    with pytest.raises(ValueError, match=r"unknown kind 'flat'\. Expected independent, superposed"):
        find(world_specs(["flat"]), lambda _: True)


@settings(max_examples=8)
@given(world=worlds(), data=st.data())
def test_a_books_tasks_are_balanced_and_no_text_is_in_both_splits(
    world: World, data: st.DataObject
) -> None:
    size = data.draw(book_sizes())
    book = data.draw(books(world, st.just(size)))
    assert (len(book.tasks.scr), len(book.tasks.tpp)) == (size.pairs, size.multis)
    for pair in book.tasks.scr:
        for part, count in ((pair.train, size.train), (pair.test, size.test)):
            cells = Counter(zip(part.intended, part.spurious, strict=True))
            assert sorted(cells.values()) == [count] * 4
    for multi in book.tasks.tpp:
        for split, count in ((multi.train, size.train), (multi.test, size.test)):
            assert sorted(Counter(split.labels).values()) == [count] * size.classes
    for task in (*book.tasks.scr, *book.tasks.tpp):
        texts = (*task.train.texts, *task.test.texts)
        assert len(set(texts)) == len(texts)


@settings(max_examples=4)
@given(spec=world_specs(KINDS[:2]), size=book_sizes(), seed=st.integers(0, 99))
def test_the_same_specification_size_and_seed_are_the_same_book(
    spec: WorldSpec, size: BookSize, seed: int
) -> None:
    first, again = (make_book(World(spec), size, seed) for _ in range(2))
    assert first.tasks == again.tasks
    assert torch.equal(first.texts.x, again.texts.x)


@settings(max_examples=6)
@given(world=worlds(), data=st.data())
def test_labels_say_which_true_features_fire(world: World, data: st.DataObject) -> None:
    book = data.draw(books(world))
    place = {name: at for at, name in enumerate(book.texts.names)}
    for pair, concepts in zip(book.tasks.scr, book.concepts.pairs, strict=True):
        for part in (pair.train, pair.test):
            for labels, features in zip((part.intended, part.spurious), concepts, strict=True):
                counts = fires(book, [place[text] for text in part.texts], features)
                assert (counts[np.array(labels)] >= 2).all()
                assert (counts[~np.array(labels)] == 0).all()
    for multi, classes in zip(book.tasks.tpp, book.concepts.multis, strict=True):
        for split in (multi.train, multi.test):
            rows = [place[text] for text in split.texts]
            counts = np.stack([fires(book, rows, each) for each in classes])
            assert (counts.argmax(0) == np.array(split.labels)).all()
            assert (np.sort(counts, axis=0)[-1] > np.sort(counts, axis=0)[-2]).all()


def fires(book: Book, rows: list[int], features: np.ndarray) -> np.ndarray:
    """(text,): on how many of its tokens any of the features has a strength above zero."""
    strengths = book.texts.features.numpy()[rows][:, :, features]
    counts: np.ndarray = (strengths.max(2) > 0).sum(1)
    return counts


def test_what_fails_shrinks_to_a_small_world_and_a_small_book() -> None:
    quick = settings(database=None, max_examples=100)
    small = find(world_specs(), lambda spec: spec.roots > 0, settings=quick)
    assert (small.features, small.d, small.roots, small.seed) == (24, 8, 4, 0)
    size = find(book_sizes(), lambda size: size.pairs > 1, settings=quick)
    assert (size.pairs, size.multis, size.classes, size.concept) == (2, 1, 3, 2)
    assert (size.corpus, size.train, size.test) == (20, 16, 12)
