"""Shuffled labels: the same texts, cells and classes, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from pytest_sae.data.shuffled import shuffled
from pytest_sae.data.tasks import (
    ClassTask,
    ClassTexts,
    Contrast,
    Corpus,
    SpuriousTask,
    SpuriousTexts,
    Tasks,
)

TEXTS = tuple(f"text {number}" for number in range(40))


def spurious(name: str = "one") -> SpuriousTask:
    cells = [divmod(place % 4, 2) for place in range(40)]
    split = SpuriousTexts(TEXTS, tuple(bool(a) for a, _ in cells), tuple(bool(b) for _, b in cells))
    job, gender = Contrast("job", "baker", "judge"), Contrast("gender", "f", "m")
    return SpuriousTask(name, job, gender, split, split, 0, f"fingerprint of {name}")


def cells(split: SpuriousTexts) -> list[tuple[bool, bool]]:
    return list(zip(split.intended, split.spurious, strict=True))


def classes() -> ClassTask:
    split = ClassTexts(TEXTS, tuple(place % 4 for place in range(40)))
    return ClassTask("jobs", "job", ("a", "b", "c", "d"), split, split, 0, "fingerprint of jobs")


TASKS = Tasks(Corpus(TEXTS, "corpus"), (spurious(), spurious("two")), (classes(),), "me", "all")


def test_texts_and_sizes_stay_and_labels_move() -> None:
    found = shuffled(TASKS, 0)
    assert found.corpus == TASKS.corpus
    for was, now in zip(TASKS.scr, found.scr, strict=True):
        for split in ("train", "test"):
            before, after = getattr(was, split), getattr(now, split)
            assert after.texts == before.texts
            pairs = [
                list(zip(each.intended, each.spurious, strict=True)) for each in (before, after)
            ]
            assert pairs[0] != pairs[1]
            assert Counter(pairs[0]) == Counter(pairs[1])
    for split in ("train", "test"):
        before, after = getattr(TASKS.tpp[0], split), getattr(found.tpp[0], split)
        assert after.texts == before.texts
        assert after.labels != before.labels
        assert Counter(after.labels) == Counter(before.labels)


def test_what_is_cached_of_the_labels_is_not_found_for_the_shuffled_ones() -> None:
    found = shuffled(TASKS, 0)
    marks = [each.fingerprint for tasks in (TASKS, found) for each in (*tasks.scr, *tasks.tpp)]
    assert len(set(marks)) == len(marks)
    assert found.fingerprint != TASKS.fingerprint


def test_shuffling_depends_on_seed_task_and_split_alone() -> None:
    one, again, other = (shuffled(TASKS, seed) for seed in (0, 0, 1))
    assert one == again
    assert one.scr[0].train != other.scr[0].train
    assert one.scr[0].train.intended != one.scr[0].test.intended
    assert one.scr[0].train.intended != one.scr[1].train.intended
    alone = shuffled(replace(TASKS, scr=TASKS.scr[1:], tpp=()), 0)
    assert alone.scr[0] == one.scr[1]


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_labels_know_nothing_of_the_true_ones(seed: int) -> None:
    many = tuple(f"text {number}" for number in range(4000))
    labels = tuple(place % 4 for place in range(4000))
    task = replace(classes(), train=ClassTexts(many, labels))
    found = shuffled(replace(TASKS, tpp=(task,)), seed).tpp[0].train.labels
    same = sum(a == b for a, b in zip(labels, found, strict=True)) / 4000
    assert abs(same - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
