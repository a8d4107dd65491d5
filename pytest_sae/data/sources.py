"""Where tasks come from: the user's task file, the bundled world, the published datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pytest_sae import bundled_world
from pytest_sae.data.attributes import AttributeColumns, AttributeTask, attribute_task
from pytest_sae.data.build import class_task, collect, corpus, shared_task, spurious_task
from pytest_sae.data.entities import EntityTask, entity_task, published_task
from pytest_sae.data.labelled_texts import LabelCodes, LabelledTexts, read_records, read_rows
from pytest_sae.data.preferences import PreferenceColumns, Preferences, read_preferences
from pytest_sae.data.senses import SenseColumns, SensesTask, senses_task
from pytest_sae.data.tasks import (
    ClassTask,
    Contrast,
    Corpus,
    LeftOut,
    SharedTask,
    Sizes,
    Spelling,
    SpuriousTask,
    Tasks,
)
from pytest_sae.data.unlearning import (
    Prompt,
    QuestionColumns,
    UnlearningTask,
    read_questions,
    unlearning_task,
)
from pytest_sae.errors import DataError

if TYPE_CHECKING:
    from pytest_sae.data.taskfile import (
        ContrastTable,
        CorpusTable,
        DatasetTable,
        PreferencesTable,
        PrincipledTable,
        RavelTable,
        ScrTable,
        SensesTable,
        SpellingTable,
        TaskFile,
        TppTable,
        TransferTable,
        UnlearningTable,
    )


class _Named(Protocol):
    @property
    def name(self) -> str: ...


NamedTable = TypeVar("NamedTable", bound=_Named)
Table = TypeVar("Table")
Made = TypeVar("Made")
#: Train and test.
_Splits = tuple[LabelledTexts, LabelledTexts]


def load_tasks(path: Path | str, sizes: Sizes, seed: int) -> Tasks:
    """Return the tasks that a task file describes (its form is in `taskfile`).

    Every cell of an SCR task and every class of a TPP task gets the same number of texts, chosen
    by a hash of (seed, task, text). A table whose texts cannot be used is left out and named, for
    the others do not need it.

    Args:
        path: the TOML file; the files it names are relative to it.
        sizes: how many texts are taken.
        seed: of the choice.

    Raises:
        DataError: the task file itself cannot be used, or nothing that it names; with file and
            line.
    """
    from pytest_sae.data.taskfile import read_task_file

    path = Path(path)
    tasks = read_task_file(path)
    here, data, usable = path.parent, _Datasets(tasks, path.parent), _Usable()
    found = collect(
        usable.one("corpus", tasks.corpus, lambda each: _corpus(each, here, sizes, seed)),
        usable.of("scr", tasks.scr, lambda each: _scr(each, data, sizes, seed)),
        usable.of("tpp", tasks.tpp, lambda each: _tpp(each, data, sizes, seed)),
        str(path),
        ravel=usable.of("ravel", tasks.ravel, lambda each: _ravel(each, here)),
        principled=usable.of(
            "principled", tasks.principled, lambda each: _principled(each, here, sizes, seed)
        ),
        unlearning=usable.of(
            "unlearning", tasks.unlearning, lambda each: _unlearning(each, here, sizes, seed)
        ),
        senses=usable.of("senses", tasks.senses, lambda each: _senses(each, here, sizes, seed)),
        preferences=usable.one(
            "preferences", tasks.preferences, lambda each: _preferences(each, here)
        ),
        spelling=usable.one("spelling", tasks.spelling, lambda each: _spelling(each, here)),
        transfer=usable.of(
            "transfer", tasks.transfer, lambda each: _transfer(each, data, sizes, seed)
        ),
    )
    if usable.errors and not usable.found:
        raise usable.errors[0]
    return replace(found, left_out=tuple(usable.left_out))


class _Usable:
    """Makes what tables describe, and keeps why where that fails: one takes no other with it."""

    def __init__(self) -> None:
        self.left_out: list[LeftOut] = []
        self.errors: list[DataError] = []
        self.found = 0

    def of(
        self, kind: str, tables: Sequence[NamedTable], make: Callable[[NamedTable], Made]
    ) -> list[Made]:
        made = [self._made(kind, each.name, lambda each=each: make(each)) for each in tables]  # type: ignore[misc]
        return [each for each in made if each is not None]

    def one(self, kind: str, table: Table | None, make: Callable[[Table], Made]) -> Made | None:
        return None if table is None else self._made(kind, "", lambda: make(table))

    def _made(self, kind: str, name: str, make: Callable[[], Made]) -> Made | None:
        try:
            made = make()
        except DataError as error:
            self.errors.append(error)
            self.left_out.append(LeftOut(kind, name, str(error)))
            return None
        self.found += 1
        return made


class _Datasets:
    """The rows of data sets: read once, with the columns that all their tasks ask for.

    Where that fails, each task is tried with its own columns: another's may be what is missing.
    """

    def __init__(self, tasks: TaskFile, directory: Path) -> None:
        self._tasks = tasks
        self._directory = directory
        self._read: dict[tuple[str, ...], _Splits | DataError] = {}

    def rows(self, name: str, *columns: str) -> _Splits:
        """Return train and test rows of a data set, with these columns at least."""
        found = self._tried(name, _columns(self._tasks, name))
        if isinstance(found, DataError):
            found = self._tried(name, list(dict.fromkeys(columns)))
        if isinstance(found, DataError):
            raise found
        return found

    def _tried(self, name: str, columns: list[str]) -> _Splits | DataError:
        key = (name, *columns)
        if key not in self._read:
            try:
                self._read[key] = _splits(self._tasks, name, columns, self._directory)
            except DataError as error:
                self._read[key] = error
        return self._read[key]


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


def _columns(tasks: TaskFile, name: str) -> list[str]:
    scr = [task for task in tasks.scr if task.dataset == name]
    columns = [contrast.column for task in scr for contrast in (task.intended, task.spurious)]
    columns += [task.column for task in tasks.tpp if task.dataset == name]
    columns += [task.column for task in tasks.transfer if name in task.datasets]
    return list(dict.fromkeys(columns))


def _splits(tasks: TaskFile, name: str, columns: list[str], directory: Path) -> _Splits:
    dataset = tasks.datasets[name]
    train = _rows(dataset, dataset.train, columns, directory)
    return train, _rows(dataset, dataset.test, columns, directory)


def _rows(dataset: DatasetTable, split: str, columns: list[str], directory: Path) -> LabelledTexts:
    if dataset.hub is None:
        return read_rows(directory / split, dataset.text, columns, dataset.values)
    from pytest_sae.data.hub import hub_rows

    return hub_rows(dataset.hub, dataset.revision, split, dataset.text, columns, dataset.values)


def _preferences(table: PreferencesTable, directory: Path) -> Preferences:
    columns = PreferenceColumns(table.first, table.second, table.preferred, table.score)
    return read_preferences(directory / table.train, directory / table.test, columns)


def _scr(task: ScrTable, data: _Datasets, sizes: Sizes, seed: int) -> SpuriousTask:
    intended, spurious = _contrast(task.intended), _contrast(task.spurious)
    splits = data.rows(task.dataset, intended.column, spurious.column)
    return spurious_task(task.name, splits, intended, spurious, sizes, seed)


def _tpp(task: TppTable, data: _Datasets, sizes: Sizes, seed: int) -> ClassTask:
    rows = data.rows(task.dataset, task.column)
    return class_task(task.name, rows, task.column, task.classes, sizes, seed)


def _transfer(task: TransferTable, data: _Datasets, sizes: Sizes, seed: int) -> SharedTask:
    rows = {name: data.rows(name, task.column) for name in task.datasets}
    return shared_task(task.name, rows, task.column, task.classes, sizes, seed)


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


def _senses(task: SensesTable, directory: Path, sizes: Sizes, seed: int) -> SensesTask:
    columns = SenseColumns(task.word, task.first, task.second, task.same)
    rows = read_rows(directory / task.file, task.first, [task.word, task.second, task.same])
    return senses_task(task.name, rows, columns, task.prompt, sizes.senses, seed)


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


def _corpus(table: CorpusTable, directory: Path, sizes: Sizes, seed: int) -> Corpus:
    return corpus(read_rows(directory / table.file, table.text, ()), sizes, seed)


def _spelling(table: SpellingTable, directory: Path) -> Spelling:
    if table.file is None:
        return Spelling(None, table.examples)
    words = read_rows(directory / table.file, table.word, ()).texts
    return Spelling(tuple(dict.fromkeys(words)), table.examples)
