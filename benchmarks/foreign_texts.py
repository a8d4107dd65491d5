"""What the worlds of foreign_worlds.py read: texts to train on, a corpus, tasks about concepts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

from benchmarks.real_input import CLASSES, PAIRS
from fixtures import corpus, tasks
from fixtures.grammar import biographies, professions, prose, reviews, topics
from fixtures.grammar.expansion import Split
from pytest_sae.data.sae_probes import LastTokenTask, read_tasks

Row = Mapping[str, str]
Rows = Sequence[Row]

CORPUS_TEXTS = 300
LONGEST = 400  # characters; a text is cut there, so that no kind of text is most of the tokens
PER_CELL = {"train": 120, "test": 60}
TRAINING_TEXTS = 8000  # of the grammar


@dataclass(frozen=True)
class Material:
    """The texts of one world.

    Args:
        training: what models and dictionaries are trained on.
        held_out: what reconstruction is measured on.
        datasets: train and test rows by the name of the data set.
        tables: the tasks about them, as TOML.
    """

    training: Sequence[str]
    held_out: Sequence[str]
    datasets: Mapping[str, Mapping[Split, Rows]]
    tables: str

    def write(self, folder: Path) -> None:
        """Write the texts and `tasks.toml` into a folder."""
        (folder / "texts").mkdir(parents=True, exist_ok=True)
        files: dict[str, Rows] = {"corpus": [{"text": text} for text in self.held_out]}
        head = 'version = 1\n\n[corpus]\nfile = "texts/corpus.jsonl"\ntext = "text"\n'
        for name, splits in self.datasets.items():
            files |= {f"{name}.{split}": rows for split, rows in splits.items()}
            head += f"\n[datasets.{name}]\n" + "".join(
                f'{split} = "texts/{name}.{split}.jsonl"\n' for split in splits
            )
        for name, rows in files.items():
            lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
            (folder / "texts" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        (folder / "tasks.toml").write_text(head + self.tables, encoding="utf-8")


def given(stories: Path, labelled: Path) -> Material:
    """Return a JSON list of texts as corpus, and reviews by domain and sentiment.

    Args:
        stories: texts close to what the given model was trained on.
        labelled: directory of `train.csv` and `test.csv` (columns text, domain, sentiment).
    """
    texts = json.loads(stories.read_text(encoding="utf-8"))
    rows = {split: _table(labelled / f"{split}.csv") for split in corpus.SPLITS}
    tables = [
        tasks.scr("reviews", "domain", pair, ("sentiment", "1", "0")) for pair in PAIRS[:3]
    ] + [tasks.tpp("reviews", "domain", " ".join(CLASSES))]
    kept = {name for pair in PAIRS[:3] for name in pair} | set(CLASSES)
    # A given model is larger than those that are trained here: half as many texts.
    chosen = {
        split: _capped([row for row in rows[split] if row["domain"] in kept], PER_CELL[split] // 2)
        for split in corpus.SPLITS
    }
    training = [*texts[CORPUS_TEXTS:], *(row["text"] for row in rows["train"][::12])]
    return Material(training, texts[: CORPUS_TEXTS // 2], {"reviews": chosen}, "".join(tables))


def mixed(seed: str) -> Material:
    """Return news, program code, reviews and tweets out of the data sets of `sae-probes`."""
    found = {task.name: task for task in read_tasks(None, 0)}
    kinds = ("agnews_0", "agnews_1", "agnews_2", "code_C", "code_Python")
    subjects = [
        {"text": text, "subject": name} for name in kinds for text in _with_label(found[name], True)
    ]
    moods = {
        "amazon": ("amazon_5star", "amazon_5star"),
        "film": ("movie_sent", "movie_sent"),
        "tweet": ("twt_emotion_happiness", "twt_emotion_sadness"),
    }
    opinions = [
        {"text": text, "source": source, "mood": mood}
        for source, (good, bad) in moods.items()
        for mood, name in (("good", good), ("bad", bad))
        for text in _with_label(found[name], mood == "good" or good != bad)
    ]
    datasets = {"subjects": _split(subjects, seed), "opinions": _split(opinions, seed)}
    texts = [row["text"] for rows in datasets.values() for row in rows["train"]]
    Random(f"{seed} texts").shuffle(texts)
    capped = {
        name: {split: _capped(rows, PER_CELL[split]) for split, rows in splits.items()}
        for name, splits in datasets.items()
    }
    tables = [
        tasks.scr("opinions", "source", pair, ("mood", "good", "bad"))
        for pair in (("amazon", "film"), ("tweet", "film"))
    ] + [tasks.tpp("subjects", "subject", " ".join(kinds))]
    return Material(texts[CORPUS_TEXTS:], texts[:CORPUS_TEXTS], capped, "".join(tables))


def grammar(seed: str) -> Material:
    """Return texts of the bundled grammar, other ones than the bundled, with other tasks."""
    pairs = (("accountant", "dentist"), ("filmmaker", "architect"))
    lives = {"profession": professions.PROFESSIONS, "gender": biographies.GENDERS}
    opinions = {"category": reviews.CATEGORIES, "rating": reviews.RATINGS}
    datasets = {
        "lives": _written(lives, biographies.write, seed),
        "opinions": _written(opinions, reviews.write, seed),
    }
    tables = [
        *(tasks.scr("lives", "profession", pair, ("gender", "male", "female")) for pair in pairs),
        tasks.scr("opinions", "category", ("Phones", "Instruments"), ("rating", "5", "1")),
        tasks.tpp("lives", "profession", "journalist nurse professor surgeon teacher"),
    ]
    training = _running(seed, "train", TRAINING_TEXTS)
    return Material(training, _running(seed, "test", CORPUS_TEXTS), datasets, "".join(tables))


def _table(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [{**row, "text": row["text"][: 2 * LONGEST]} for row in csv.DictReader(stream)]


def _with_label(task: LastTokenTask, label: bool) -> list[str]:
    chosen = (text for text, is_second in zip(task.texts, task.labels, strict=True)
              if is_second is label)  # fmt: skip
    return [text[:LONGEST] for text in chosen if text[:LONGEST].strip()]


def _split(rows: Iterable[Row], seed: str) -> dict[Split, Rows]:
    """One row in five for testing; a text that stands twice is left out."""
    rows = list(rows)
    count: dict[str, int] = {}
    for row in rows:
        count[row["text"]] = count.get(row["text"], 0) + 1
    kept = [row for row in rows if count[row["text"]] == 1]
    Random(f"{seed} split").shuffle(kept)
    return {"train": kept[len(kept) // 5 :], "test": kept[: len(kept) // 5]}


def _capped(rows: Rows, most: int) -> Rows:
    """The first rows of each combination of labels."""
    seen: dict[tuple[str, ...], int] = {}
    kept = []
    for row in rows:
        cell = tuple(value for name, value in sorted(row.items()) if name != "text")
        seen[cell] = seen.get(cell, 0) + 1
        if seen[cell] <= most:
            kept.append(row)
    return kept


def _written(
    labels: Mapping[str, Sequence[str]], write: Callable[..., str], seed: str
) -> dict[Split, Rows]:
    taken: set[str] = set()
    rows: dict[Split, list[Row]] = {"test": [], "train": []}
    for split, cell in product(rows, product(*labels.values())):
        rng = Random(f"{seed} {split} {cell}")
        texts = corpus.distinct(PER_CELL[split], lambda: write(*cell, split, rng), taken)  # noqa: B023
        rows[split] += [{"text": text, **dict(zip(labels, cell, strict=True))} for text in texts]
    return dict(rows)


def _running(seed: str, split: Split, count: int) -> list[str]:
    rng = Random(f"{seed} running {split}")
    writers: Sequence[Callable[[], str]] = (
        lambda: prose.write(split, rng),
        lambda: topics.write(rng.choice(topics.TOPICS), split, rng),
        lambda: reviews.write(rng.choice(reviews.CATEGORIES), rng.choice(reviews.RATINGS), split,
                              rng),
        lambda: biographies.write(rng.choice(professions.PROFESSIONS),
                                  rng.choice(biographies.GENDERS), split, rng),
    )  # fmt: skip
    return corpus.distinct(count, lambda: rng.choice(writers)(), set())
