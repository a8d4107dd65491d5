"""Where tasks come from: the user's task file, the bundled world, the published datasets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae import bundled_world
from pytest_sae.data.attributes import AttributeColumns, AttributeTask, attribute_task
from pytest_sae.data.build import class_task, collect, corpus, shared_task, spurious_task
from pytest_sae.data.entities import EntityTask, entity_task, published_task
from pytest_sae.data.labelled_texts import LabelCodes, LabelledTexts, read_records, read_rows
from pytest_sae.data.preferences import PreferenceColumns, Preferences, read_preferences
from pytest_sae.data.tasks import Contrast, Corpus, Sizes, Spelling, SpuriousTask, Tasks
from pytest_sae.data.unlearning import (
    Prompt,
    QuestionColumns,
    UnlearningTask,
    read_questions,
    unlearning_task,
)

if TYPE_CHECKING:
    from pytest_sae.data.taskfile import (
        ContrastTable,
        DatasetTable,
        PreferencesTable,
        PrincipledTable,
        RavelTable,
        ScrTable,
        TaskFile,
        UnlearningTable,
    )


def load_tasks(path: Path | str, sizes: Sizes, seed: int) -> Tasks:
    """Return the tasks that a task file describes (its form is in `taskfile`).

    Every cell of an SCR task and every class of a TPP task gets the same number of texts, chosen
    by a hash of (seed, task, text).

    Args:
        path: the TOML file; the files it names are relative to it.
        sizes: how many texts are taken.
        seed: of the choice.

    Raises:
        DataError: a file, column, class or text that cannot be used, with file and line.
    """
    from pytest_sae.data.taskfile import read_task_file

    path = Path(path)
    tasks = read_task_file(path)
    rows = {name: _splits(tasks, name, path.parent) for name in _used(tasks)}
    return collect(
        _corpus(tasks, path.parent, sizes, seed),
        [_scr(task, rows[task.dataset], sizes, seed) for task in tasks.scr],
        [
            class_task(task.name, rows[task.dataset], task.column, task.classes, sizes, seed)
            for task in tasks.tpp
        ],
        str(path),
        ravel=[_ravel(task, path.parent) for task in tasks.ravel],
        principled=[_principled(task, path.parent, sizes, seed) for task in tasks.principled],
        unlearning=[_unlearning(task, path.parent, sizes, seed) for task in tasks.unlearning],
        preferences=_preferences(tasks.preferences, path.parent),
        spelling=_spelling(tasks, path.parent),
        transfer=[
            shared_task(
                task.name,
                {name: rows[name] for name in task.datasets},
                task.column,
                task.classes,
                sizes,
                seed,
            )
            for task in tasks.transfer
        ],
    )


def bundled_tasks(sizes: Sizes, seed: int) -> Tasks:
    """Return the tasks of the bundled world.

    Args:
        sizes: how many texts are taken.
        seed: of the choice.
    """
    return replace(load_tasks(bundled_world() / "tasks.toml", sizes, seed), source="bundled")


def canonical_tasks(
    sizes: Sizes, seed: int, local: Path | None = None, codes: LabelCodes | None = None
) -> Tasks:
    """Return the published Bias in Bios and Amazon tasks; see `canonical.canonical_tasks`.

    Args:
        sizes: how many texts are taken.
        seed: of the choice.
        local: a directory with copies of the two datasets, None for the hub.
        codes: other meanings of coded labels, by column, in place of the published ones.
    """
    from pytest_sae.data.canonical import canonical_tasks

    return canonical_tasks(sizes, seed, local, codes)


def named_tasks(data: str | None, sizes: Sizes, seed: int) -> Tasks:
    """Return the tasks that a value of --sae-data names; None names the bundled ones.

    Args:
        data: a task file, `canonical`, `canonical:` and the directory of the copies, or None.
        sizes: how many texts are taken.
        seed: of the choice.

    Raises:
        DataError: as `load_tasks`.
    """
    if data is None:
        return bundled_tasks(sizes, seed)
    if data == "canonical":
        return canonical_tasks(sizes, seed, None)
    if data.startswith("canonical:"):
        return canonical_tasks(sizes, seed, Path(data.removeprefix("canonical:")))
    return load_tasks(Path(data), sizes, seed)


def _used(tasks: TaskFile) -> list[str]:
    used = {dataset for _, dataset in tasks.named_datasets}
    return [name for name in tasks.datasets if name in used]


def _columns(tasks: TaskFile, name: str) -> list[str]:
    scr = [task for task in tasks.scr if task.dataset == name]
    columns = [contrast.column for task in scr for contrast in (task.intended, task.spurious)]
    columns += [task.column for task in tasks.tpp if task.dataset == name]
    columns += [task.column for task in tasks.transfer if name in task.datasets]
    return list(dict.fromkeys(columns))


def _splits(tasks: TaskFile, name: str, directory: Path) -> tuple[LabelledTexts, LabelledTexts]:
    dataset, columns = tasks.datasets[name], _columns(tasks, name)
    train = _rows(dataset, dataset.train, columns, directory)
    return train, _rows(dataset, dataset.test, columns, directory)


def _rows(dataset: DatasetTable, split: str, columns: list[str], directory: Path) -> LabelledTexts:
    if dataset.hub is None:
        return read_rows(directory / split, dataset.text, columns, dataset.values)
    from pytest_sae.data.hub import hub_rows

    return hub_rows(dataset.hub, dataset.revision, split, dataset.text, columns, dataset.values)


def _preferences(table: PreferencesTable | None, directory: Path) -> Preferences | None:
    if table is None:
        return None
    columns = PreferenceColumns(table.first, table.second, table.preferred, table.score)
    return read_preferences(directory / table.train, directory / table.test, columns)


def _scr(
    task: ScrTable, splits: tuple[LabelledTexts, LabelledTexts], sizes: Sizes, seed: int
) -> SpuriousTask:
    intended, spurious = _contrast(task.intended), _contrast(task.spurious)
    return spurious_task(task.name, splits, intended, spurious, sizes, seed)


def _contrast(table: ContrastTable) -> Contrast:
    return Contrast(table.column, table.positive, table.negative, tuple(table.words))


def _ravel(task: RavelTable, directory: Path) -> EntityTask:
    if task.published is not None:
        source = directory / task.published
        return published_task(task.name, source, task.kind, task.attributes, task.position)
    entities = [*task.attributes, task.split]
    return entity_task(
        task.name,
        read_rows(directory / str(task.entities), task.entity, entities),
        read_rows(directory / str(task.prompts), task.template, [task.attribute, task.split]),
        task.attributes,
        (task.entity, task.attribute, task.split),
        task.position,
    )


def _principled(task: PrincipledTable, directory: Path, sizes: Sizes, seed: int) -> AttributeTask:
    columns = AttributeColumns(task.answer, task.other, task.group, task.place)
    rows = read_rows(directory / task.file, task.text, columns.needed(task.attributes))
    return attribute_task(task.name, rows, task.attributes, columns, sizes.principled, seed)


def _unlearning(task: UnlearningTable, directory: Path, sizes: Sizes, seed: int) -> UnlearningTask:
    corpus = read_rows(directory / task.corpus, task.text, [task.label])
    texts: dict[str, list[str]] = {}
    for text, kind in zip(corpus.texts, corpus.labels[task.label], strict=True):
        texts.setdefault(kind, []).append(text)
    source = directory / task.questions
    columns = QuestionColumns(task.question, task.options, task.answer, task.label, task.unit)
    return unlearning_task(
        task.name,
        texts,
        read_questions(str(source), read_records(source), columns),
        (task.forget, task.retain),
        Prompt(task.prompt, task.option, task.separator),
        sizes.unlearning,
        seed,
    )


def _corpus(tasks: TaskFile, directory: Path, sizes: Sizes, seed: int) -> Corpus | None:
    if tasks.corpus is None:
        return None
    return corpus(read_rows(directory / tasks.corpus.file, tasks.corpus.text, ()), sizes, seed)


def _spelling(tasks: TaskFile, directory: Path) -> Spelling | None:
    table = tasks.spelling
    if table is None:
        return None
    if table.file is None:
        return Spelling(None, table.examples)
    words = read_rows(directory / table.file, table.word, ()).texts
    return Spelling(tuple(dict.fromkeys(words)), table.examples)
