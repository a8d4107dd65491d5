"""Texts whose variables are known, some of them each other's counterfactuals: `[[principled]]`.

attribute_task(name, rows, attributes, columns) -> AttributeTask
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_sae.data.labelled_texts import LabelledTexts
from pytest_sae.errors import DataError

FEWEST = 20  # texts in either half, below which means and intervals mean nothing

#: In place of a column's name: the place is chosen by attribution on the fitting half.
AUTOMATIC = "auto"


@dataclass(frozen=True)
class PrincipledSizes:
    """How much is spent on comparing with a supervised dictionary.

    Args:
        groups: of each half, at most.
        edits: of each attribute, at most.
        exchanged: latents exchanged per edit, at most.
    """

    groups: int = 40
    edits: int = 100
    exchanged: int = 8


@dataclass(frozen=True)
class Labelled:
    """Texts and the values of their attributes.

    Args:
        texts: each once.
        values: per text, the value of each attribute in the task's order.
        answers: per text, what should follow.
        others: per text, the wrong answer that it is compared with.
        groups: per text, the index of its group: the same text but for the attributes.
        words: per text, the word at whose last token the attributes are read; None: at the end.
    """

    texts: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    answers: tuple[str, ...]
    others: tuple[str, ...]
    groups: tuple[int, ...]
    words: tuple[str, ...] | None


@dataclass(frozen=True)
class AttributeTask:
    """A task for which a supervised dictionary can be made.

    Args:
        name: unique among the `[[principled]]` tasks.
        attributes: their names.
        fit: the texts that supervised features, and whatever is chosen, are fitted on.
        test: the texts that figures are measured on; no group gives texts to both.
        fingerprint: sha256 of all of it.
        dropped: test texts left out because no text to fit on has one of their values.
        automatic: whether the place at which attributes are read is still to be chosen.
    """

    name: str
    attributes: tuple[str, ...]
    fit: Labelled
    test: Labelled
    fingerprint: str
    dropped: int = 0
    automatic: bool = False


@dataclass(frozen=True)
class AttributeColumns:
    """Which columns of the rows say what.

    Args:
        answer: what should follow the text.
        other: the wrong answer it is compared with.
        group: texts with the same value are one text but for the attributes; None: all are.
        place: the word at whose last token the attributes are read; None: the text's end;
            AUTOMATIC: wherever the model uses them most.
    """

    answer: str
    other: str
    group: str | None
    place: str | None

    @property
    def words(self) -> str | None:
        """The column of words at which the attributes are read, None for none."""
        return None if self.place == AUTOMATIC else self.place

    def needed(self, attributes: Sequence[str]) -> list[str]:
        """Return the distinct columns to read."""
        named = [*attributes, self.answer, self.other, self.group, self.words]
        return list(dict.fromkeys(each for each in named if each is not None))


def attribute_task(
    name: str,
    rows: LabelledTexts,
    attributes: Sequence[str],
    columns: AttributeColumns,
    sizes: PrincipledSizes,
    seed: int,
) -> AttributeTask:
    """Return the task of labelled rows: half of the groups to fit on, the other half to test on.

    Groups are ordered by a hash of (seed, task, group), so that their order in the file is of no
    importance; without a group column every text is a group for the halves, and counterfactuals
    are looked for among all texts of a half.

    Args:
        name: of the task.
        rows: labelled texts.
        attributes: label columns, the variables that are known.
        columns: which of the others say what.
        sizes: how many groups are taken.
        seed: of the halves.

    Raises:
        DataError: too few texts, or an attribute with one value.
    """
    keys = rows.labels[columns.group] if columns.group else rows.texts
    distinct = dict.fromkeys(keys)
    salt = f"{seed} principled {name} "
    order = sorted(distinct, key=lambda key: hashlib.sha256(f"{salt}{key}".encode()).digest())
    half = min(len(order) // 2, sizes.groups if columns.group else 12 * sizes.groups)
    fitted, tested = (
        list({rows.texts[i]: i for i, key in enumerate(keys) if key in chosen}.values())
        for chosen in (set(order[:half]), set(order[half : 2 * half]))
    )
    known = {each: {rows.labels[each][i] for i in fitted} for each in attributes}
    usable = [i for i in tested if all(rows.labels[each][i] in known[each] for each in attributes)]
    parts = [_part(rows, keys, places, attributes, columns) for places in (fitted, usable)]
    for part in parts:
        _require(name, rows, part, attributes)
    automatic = columns.place == AUTOMATIC
    content: list[object] = [name, list(attributes), [_content(part) for part in parts]]
    content += [AUTOMATIC] if automatic else []
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    dropped = len(tested) - len(usable)
    return AttributeTask(name, tuple(attributes), parts[0], parts[1], digest, dropped, automatic)


def counterfactuals(texts: Labelled, attribute: int) -> Mapping[int, tuple[int, ...]]:
    """Give each text the texts that differ from it in one attribute alone.

    Args:
        texts: one half of a task.
        attribute: its place in the task's order.

    Returns:
        By place of a text, the places of its counterfactuals in its own group; only texts with
        some.
    """
    rest: dict[tuple[object, ...], list[int]] = {}
    for place, (group, values) in enumerate(zip(texts.groups, texts.values, strict=True)):
        others = (*values[:attribute], *values[attribute + 1 :])
        rest.setdefault((group, others), []).append(place)
    found = {}
    for members in rest.values():
        for place in members:
            value = texts.values[place][attribute]
            differing = tuple(m for m in members if texts.values[m][attribute] != value)
            if differing:
                found[place] = differing
    return found


def _part(
    rows: LabelledTexts,
    keys: Sequence[str],
    places: Sequence[int],
    attributes: Sequence[str],
    columns: AttributeColumns,
) -> Labelled:
    numbers: dict[str, int] = {}

    def taken(column: str) -> tuple[str, ...]:
        return tuple(rows.labels[column][i] for i in places)

    return Labelled(
        tuple(rows.texts[i] for i in places),
        tuple(tuple(rows.labels[each][i] for each in attributes) for i in places),
        taken(columns.answer),
        taken(columns.other),
        tuple(numbers.setdefault(keys[i], len(numbers)) if columns.group else 0 for i in places),
        taken(columns.words) if columns.words else None,
    )


def _require(name: str, rows: LabelledTexts, part: Labelled, attributes: Sequence[str]) -> None:
    if len(part.texts) < FEWEST:
        raise DataError(
            f"Task {name}: {rows.source} gives {len(part.texts)} texts to one half. Expected at "
            f"least {FEWEST}: add texts, or groups."
        )
    for place, attribute in enumerate(attributes):
        found = {values[place] for values in part.values}
        if len(found) < 2:
            raise DataError(
                f"Task {name}: all texts of one half of {rows.source} have {attribute} "
                f"{min(found)!r}. Expected two values at least: add texts, or leave it out."
            )


def _content(part: Labelled) -> list[object]:
    return [part.texts, part.values, part.answers, part.others, part.groups, part.words]
