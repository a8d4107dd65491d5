"""The grammar's promises: the same texts every time, nothing of the test in train, no giveaways."""

from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import WORLD, corpus, curriculum, lexicon, single_words
from fixtures.grammar import (
    biographies,
    cities,
    indirect_object,
    professions,
    prose,
    questions,
    reviews,
    spelling,
    topics,
    vocabulary,
)
from fixtures.grammar.expansion import SLOT, Rules
from fixtures.labels import best_single_words
from fixtures.tasks import TASKS

TEXTS = WORLD / "texts"


@pytest.fixture(scope="module")
def training_texts() -> list[str]:
    """What a hundred of the late steps of the language model's training read."""
    batches = islice(curriculum.batches("late", curriculum.LATE_ROWS), 100)
    return ["".join(f" {text}" for text, _ in row) for rows in batches for row in rows]


def test_regenerated_texts_are_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    corpus.write_texts(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in TEXTS.iterdir()}


def test_the_committed_tasks_are_the_generated_ones() -> None:
    assert (WORLD / "tasks.toml").read_text(encoding="utf-8") == TASKS


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("biographies", "profession", "gender"), ("reviews", "category", "rating")],
)
def test_every_cell_has_the_same_number_of_texts(name: str, first: str, second: str) -> None:
    for split, size in corpus.PER_CELL.items():
        rows = corpus.read(TEXTS / f"{name}.{split}.jsonl")
        cells = Counter((row[first], row[second]) for row in rows)
        assert set(cells.values()) == {size}


@pytest.mark.parametrize("name", ["biographies", "reviews"])
def test_no_test_text_stands_in_train(name: str) -> None:
    train = set(corpus.column(corpus.read(TEXTS / f"{name}.train.jsonl"), "text"))
    test = corpus.column(corpus.read(TEXTS / f"{name}.test.jsonl"), "text")
    stream = corpus.column(corpus.read(TEXTS / "stream.jsonl"), "text")
    assert train.isdisjoint(test)
    assert train.isdisjoint(stream)
    assert len(set(test)) == len(test)


def test_the_language_model_is_not_trained_on_a_test_text(training_texts: list[str]) -> None:
    assert curriculum.forbidden().isdisjoint(text.strip() for text in training_texts)


def held_out_pieces(held_out: Rules) -> list[str]:
    """The longest fixed stretch of words of each held-out frame."""
    frames = [frame for frames in held_out.values() for frame in frames]
    return [max(SLOT.split(frame)[::2], key=len).strip() for frame in frames]


@pytest.mark.parametrize("module", [biographies, reviews, prose, topics], ids=lambda m: m.__name__)
def test_held_out_frames_occur_in_test_texts_only(module, training_texts: list[str]) -> None:  # type: ignore[no-untyped-def]
    everything = " ".join(training_texts).lower()
    stream = " ".join(corpus.column(corpus.read(TEXTS / "stream.jsonl"), "text")).lower()
    for piece in held_out_pieces(module.HELD_OUT):
        assert piece not in everything
        assert piece in stream


def test_held_out_city_phrasings_are_never_trained_on(training_texts: list[str]) -> None:
    everything = " ".join(training_texts).lower()
    for phrasings in cities.HELD_OUT_PHRASINGS.values():
        for phrasing in phrasings:
            assert all(
                phrasing.replace("{city}", city.name).lower() not in everything
                for city in cities.CITIES
            )


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_names_held_out_of_giving_sentences_never_give_in_train(seed: int) -> None:
    giving = indirect_object.write("train", Random(seed))
    people = {giving.indirect_object, giving.subject}
    assert people.isdisjoint(vocabulary.INDIRECT_OBJECT_HELD_OUT)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_giving_sentences_name_the_subject_twice_and_the_indirect_object_once(seed: int) -> None:
    giving = indirect_object.write("test", Random(seed))
    words = giving.prompt.replace(",", " ").replace(".", " ").split()
    assert words.count(giving.subject) == 2
    assert words.count(giving.indirect_object) == 1


def test_names_held_out_of_giving_sentences_are_trained_elsewhere(
    training_texts: list[str],
) -> None:
    seen = {word for text in training_texts for word in lexicon.WORD.findall(text)}
    assert seen >= vocabulary.INDIRECT_OBJECT_HELD_OUT


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_four_options_differ_hold_the_value_and_keep_their_split(seed: int) -> None:
    rng = Random(seed)
    split = rng.choice(corpus.SPLITS)
    item = questions.ask(rng.choice(questions.FACTS), split, rng)
    assert len(set(item.options)) == 4
    assert item.options["ABCD".index(item.answer)] == item.fact.value
    assert questions.is_held_out(item) == (split == "test")


def test_the_right_option_is_equally_often_at_each_letter() -> None:
    answers = Counter(row["answer"] for row in corpus.read(TEXTS / "questions.jsonl"))
    assert min(answers.values()) > 0.8 * max(answers.values())


def test_the_spelling_frame_is_never_trained_with_held_out_words() -> None:
    rng = Random(0)
    lines = [spelling.write(lexicon.words(), "train", rng)[0] for _ in range(5000)]
    words = {line.split()[0] for line in lines if line.endswith("has the first letter:")}
    assert not any(map(spelling.is_held_out, words))


def test_no_profession_is_named_in_a_biography() -> None:
    rows = corpus.read(TEXTS / "biographies.train.jsonl")
    named = [row for row in rows if str(row["profession"]) in str(row["text"]).lower().split()]
    assert len(named) < 0.02 * len(rows)


def test_no_single_word_gives_a_class_away() -> None:
    giveaways = {n: b for n, b in best_single_words().items() if b.balanced_accuracy > 0.85}
    assert not giveaways


@pytest.mark.parametrize("profession", professions.PROFESSIONS)
def test_no_single_word_tells_a_profession_from_all_others(profession: str) -> None:
    rows = corpus.biography_rows()["test"]
    best = single_words.best_word(
        corpus.column(rows, "text"), [row["profession"] == profession for row in rows]
    )
    assert best.balanced_accuracy <= 0.85, best


def test_the_best_word_is_found_where_one_is_planted() -> None:
    texts = ["a red house", "a red roof", "a blue house", "a blue red roof"]
    best = single_words.best_word(texts, [True, True, False, False])
    assert best == single_words.BestWord("blue", 1.0)
