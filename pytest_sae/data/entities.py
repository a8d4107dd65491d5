"""Entities, what is true of them, and prompts that ask for it: the data of RAVEL.

entity_task(name, entities, prompts, attributes, placeholder, position) -> EntityTask
published_task(name, directory, kind, attributes, position) -> EntityTask
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_sae.data.labelled_texts import LabelledTexts
from pytest_sae.errors import DataError, suggest

Split = Literal["train", "test"]
Position = Literal["entity", "last"]

FEWEST = 5  # entities in a split, below which an interval over them means nothing
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class RavelSizes:
    """How much is spent on RAVEL.

    Args:
        entities: of each split, at most.
        templates: of each attribute in each split, at most.
        train_pairs: of each kind for each attribute.
        test_pairs: the same.
        steps: of training a mask.
        masks: that are trained for each attribute, each on templates and pairs of its own.
    """

    entities: int = 50
    templates: int = 4
    train_pairs: int = 400
    test_pairs: int = 150
    steps: int = 60
    masks: int = 3


@dataclass(frozen=True)
class Entity:
    """One entity: its name, and the value of each attribute in the task's order."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A prompt that the value of one attribute completes; `{}` stands for the entity."""

    text: str
    attribute: int

    def of(self, entity: Entity) -> str:
        """Return the prompt about an entity."""
        return self.text.replace("{}", entity.name)


@dataclass(frozen=True)
class EntityTask:
    """A RAVEL task.

    Args:
        name: unique among the RAVEL tasks.
        attributes: their names.
        entities: by split; the splits share none.
        templates: by split; the splits share none.
        position: where latents are exchanged: at the entity's last token, or the prompt's.
        fingerprint: sha256 of all of it.
    """

    name: str
    attributes: tuple[str, ...]
    entities: Mapping[Split, tuple[Entity, ...]]
    templates: Mapping[Split, tuple[Template, ...]]
    position: Position
    fingerprint: str


def entity_task(
    name: str,
    entities: LabelledTexts,
    prompts: LabelledTexts,
    attributes: Sequence[str],
    columns: tuple[str, str, str],
    position: Position,
) -> EntityTask:
    """Return the task of two tables; rows of other splits than train and test are left out.

    Args:
        name: of the task.
        entities: texts are the names; labels are the attributes and the split.
        prompts: texts are the templates; labels are the attribute that is asked for and the split.
        attributes: columns of the entities.
        columns: the column of the entity's name, which stands as `{column}` in the templates; that
            of the attribute that a template asks for; that of the split in both tables.
        position: where latents are exchanged.

    Raises:
        DataError: a template without the placeholder, or too few entities or templates.
    """
    entity, attribute, split = columns
    index = {value: place for place, value in enumerate(attributes)}
    values = zip(*(entities.labels[each] for each in attributes), strict=True)
    facts = list(zip(entities.texts, values, entities.labels[split], strict=True))
    asked = list(zip(prompts.texts, prompts.labels[attribute], prompts.labels[split], strict=True))
    placeholder = f"{{{entity}}}"
    for template, _, _ in asked:
        if placeholder not in template:
            raise DataError(
                f"Task {name}: {prompts.source} has the template {template!r}. Expected "
                f"{placeholder} in it, where the entity's name goes."
            )
    return _task(
        name,
        tuple(attributes),
        [(Entity(text, tuple(value)), part) for text, value, part in facts],
        [
            (Template(text.replace(placeholder, "{}"), index[each]), part)
            for text, each, part in asked
            if each in index
        ],
        position,
    )


def published_task(
    name: str, directory: Path, kind: str, attributes: Sequence[str], position: Position
) -> EntityTask:
    """Return a task of RAVEL's own files, `ravel_{kind}_entity_attributes.json` and its kin.

    The published split is kept; its validation part is left out.

    Args:
        name: of the task.
        directory: with the files.
        kind: of the entities, as the files' names have it: `city`.
        attributes: those asked for, as the files call them.
        position: where latents are exchanged: `entity`, at its last token, or `last`, at the
            prompt's.

    Raises:
        DataError: a file that is missing or of another form, or too few entities or templates.
    """
    facts = _published(directory, kind, "entity_attributes")
    splits = _published(directory, kind, "entity_to_split")
    asked = _published(directory, kind, "attribute_to_prompts")
    part = _published(directory, kind, "prompt_to_split")
    known = sorted(asked)
    for each in attributes:
        if each not in asked:
            raise DataError(
                f"Task {name}: {directory} has no attribute {each!r}. Expected one of "
                f"{', '.join(known)}.{suggest(each, known)}"
            )
    entities = [
        (Entity(entity, tuple(str(values[each]) for each in attributes)), str(splits.get(entity)))
        for entity, values in facts.items()
        if isinstance(values, dict) and all(values.get(each) for each in attributes)
    ]
    templates = [
        (Template(text.replace("%s", "{}"), place), str(part.get(text)))
        for place, each in enumerate(attributes)
        for text in asked[each]
        if text.count("%s") == 1
    ]
    return _task(name, tuple(attributes), entities, templates, position)


def _published(directory: Path, kind: str, what: str) -> dict[str, dict[str, object]]:
    path = directory / f"ravel_{kind}_{what}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read ({error}). Expected RAVEL's own file of that name: check the "
            "directory and the kind."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}. Expected an object.")
    return content


def _task(
    name: str,
    attributes: tuple[str, ...],
    entities: Sequence[tuple[Entity, str]],
    templates: Sequence[tuple[Template, str]],
    position: Position,
) -> EntityTask:
    counts = Counter(entity.name for entity, _ in entities)
    twin = next((each for each, count in counts.items() if count > 1), None)
    if twin is not None:
        raise DataError(f"Task {name}: the entity {twin!r} stands twice. Expected it once.")
    known = {split: tuple(e for e, part in entities if part == split) for split in SPLITS}
    asked = {split: tuple(t for t, part in templates if part == split) for split in SPLITS}
    for split in SPLITS:
        _require(name, split, attributes, known[split], asked[split])
    content = [
        [name, position, attributes],
        [[split, [[e.name, e.values] for e in known[split]]] for split in SPLITS],
        [[split, [[t.text, t.attribute] for t in asked[split]]] for split in SPLITS],
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return EntityTask(name, attributes, known, asked, position, digest)


def _require(
    name: str,
    split: Split,
    attributes: Sequence[str],
    entities: Sequence[Entity],
    templates: Sequence[Template],
) -> None:
    """Refuse a split with too few entities, or without a template for one of the attributes."""
    if len(entities) < FEWEST:
        raise DataError(
            f"Task {name}: {len(entities)} entities of split {split!r}. Expected at least "
            f"{FEWEST}: add some, or say train and test in the column of the split."
        )
    for place, attribute in enumerate(attributes):
        if all(template.attribute != place for template in templates):
            raise DataError(
                f"Task {name}: no template of split {split!r} asks for {attribute!r}. "
                "Expected one at least in train and another in test."
            )
