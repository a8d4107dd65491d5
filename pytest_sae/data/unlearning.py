"""Multiple-choice questions on something to forget and something to retain: `[[unlearning]]`.

unlearning_task(name, corpora, questions, prompt, sizes, seed) -> UnlearningTask
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from pytest_sae.data.labelled_texts import Record, label, unknown_column
from pytest_sae.errors import DataError

FEWEST = 10  # questions of either kind, below which halves and intervals mean nothing
LETTERS = "ABCDEFGHIJ"
MOST_OPTIONS = 5  # 120 orders


@dataclass(frozen=True)
class UnlearningSizes:
    """How much is spent on unlearning.

    Args:
        texts: of either corpus, at most.
        questions: of either kind, at most.
        orders: orders of the options in which questions are asked again, at most.
    """

    texts: int = 150
    questions: int = 48
    orders: int = 2


@dataclass(frozen=True)
class Question:
    """A question with its options.

    Args:
        text: what is asked.
        options: in the order of the file.
        right: index of the right option.
        unit: questions of one unit are not independent of each other.
    """

    text: str
    options: tuple[str, ...]
    right: int
    unit: str


@dataclass(frozen=True)
class Prompt:
    """How a question is put.

    Args:
        whole: with `{question}` and `{options}`, up to the letter that answers.
        option: with `{letter}` and `{text}`.
        separator: between options.
    """

    whole: str = "Question: {question} {options} Answer:"
    option: str = "{letter} {text}"
    separator: str = " "

    def of(self, question: Question, order: Sequence[int]) -> str:
        """Return the prompt with the options in an order."""
        listed = self.separator.join(
            self.option.replace("{letter}", letter).replace("{text}", question.options[place])
            for letter, place in zip(LETTERS, order, strict=False)
        )
        return self.whole.replace("{question}", question.text).replace("{options}", listed)


@dataclass(frozen=True)
class UnlearningTask:
    """What to forget and what to retain.

    Args:
        name: unique among the `[[unlearning]]` tasks.
        forget: texts on what is to be forgotten.
        retain: texts on what is to stay.
        forget_questions: on the one.
        retain_questions: on the other.
        prompt: how they are put.
        fingerprint: sha256 of all of it.
    """

    name: str
    forget: tuple[str, ...]
    retain: tuple[str, ...]
    forget_questions: tuple[Question, ...]
    retain_questions: tuple[Question, ...]
    prompt: Prompt
    fingerprint: str


@dataclass(frozen=True)
class QuestionColumns:
    """Which columns of a file of questions say what.

    Args:
        question: the question.
        options: one column with a list, or a column for each option.
        answer: the letter, the index from 0, or the text of the right option.
        label: tells the questions to forget from those to retain.
        unit: what questions share that are not independent; None: every question is for itself.
    """

    question: str
    options: str | Sequence[str]
    answer: str
    label: str
    unit: str | None


def read_questions(
    source: str, records: Iterable[tuple[int, Record]], columns: QuestionColumns
) -> list[tuple[str, Question]]:
    """Return the label and the question of every record.

    Args:
        source: the file, for messages.
        records: with their line numbers.
        columns: which of them say what.

    Raises:
        DataError: a column that is not there, a question without 2 to 5 different options, or an
            answer that is none of them.
    """
    found = []
    for line, record in records:
        where = f"{source}, line {line}"
        options = _options(record, columns.options, where)
        right = _right(_column(record, columns.answer, where), options, where)
        text = label(_column(record, columns.question, where))
        unit = label(_column(record, columns.unit, where)) if columns.unit else f"{line}"
        kind = label(_column(record, columns.label, where))
        found.append((kind, Question(text, options, right, unit)))
    return found


def unlearning_task(
    name: str,
    texts: Mapping[str, Sequence[str]],
    questions: Sequence[tuple[str, Question]],
    labels: tuple[str, str],
    prompt: Prompt,
    sizes: UnlearningSizes,
    seed: int,
) -> UnlearningTask:
    """Return the task of two corpora and the questions on them.

    Args:
        name: of the task.
        texts: by label.
        questions: with their labels.
        labels: what is to be forgotten, and what is to be retained.
        prompt: how questions are put.
        sizes: texts and questions that are taken, chosen by a hash of (seed, task, content).
        seed: of the choice.

    Raises:
        DataError: no texts with a label, or fewer than 10 questions.
    """
    corpora, asked = [], []
    for wanted in labels:
        own = sorted({q for kind, q in questions if kind == wanted}, key=lambda q: _rank(q, seed))
        written = sorted(set(texts.get(wanted, ())), key=lambda text: _rank(text, seed))
        if not written or len(own) < FEWEST:
            raise DataError(
                f"Task {name}: {len(written)} texts and {len(own)} questions with the label "
                f"{wanted!r}. Expected texts, and at least {FEWEST} questions: check the label, "
                "or add some."
            )
        corpora.append(tuple(written[: sizes.texts]))
        asked.append(tuple(own[: sizes.questions]))
    content = [
        [name, labels, [prompt.whole, prompt.option, prompt.separator], corpora],
        [[[q.text, q.options, q.right, q.unit] for q in each] for each in asked],
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    (forget, retain), (first, second) = corpora, asked
    return UnlearningTask(name, forget, retain, first, second, prompt, digest)


def orders(options: int) -> list[tuple[int, ...]]:
    """Return all orders of so many options, rotations first.

    Rotations put the right option behind every letter once.
    """
    turned = [tuple((start + i) % options for i in range(options)) for start in range(options)]
    return list(dict.fromkeys([*turned, *permutations(range(options))]))


def _rank(item: Question | str, seed: int) -> bytes:
    text = item if isinstance(item, str) else json.dumps([item.text, item.options])
    return hashlib.sha256(f"{seed} unlearning {text}".encode()).digest()


def _column(record: Record, column: str, where: str) -> object:
    if record.get(column) is None:
        raise unknown_column(where, column, record)
    return record[column]


def _options(record: Record, columns: str | Sequence[str], where: str) -> tuple[str, ...]:
    if isinstance(columns, str):
        listed = _column(record, columns, where)
    else:
        listed = [_column(record, each, where) for each in columns]
    options = tuple(map(label, listed)) if isinstance(listed, list) else ()
    if not 2 <= len(options) <= MOST_OPTIONS or len(set(options)) < len(options):
        raise DataError(
            f"{where}: the options are {listed!r}. Expected a list of 2 to {MOST_OPTIONS} "
            "different ones."
        )
    return options


def _right(answer: object, options: tuple[str, ...], where: str) -> int:
    letters = LETTERS[: len(options)]
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    said = label(answer)
    if len(said) == 1 and said in letters:
        return letters.index(said)
    if said in options:
        return options.index(said)
    raise DataError(
        f"{where}: the answer is {answer!r}. Expected one of {', '.join(letters)}, an index from "
        "0, or the text of an option."
    )
