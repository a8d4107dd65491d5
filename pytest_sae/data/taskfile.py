"""The task file: a small TOML that names texts, label columns and what the labels mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from pytest_sae.data.labelled_texts import label
from pytest_sae.data.senses import PROMPT, SenseColumns
from pytest_sae.data.unlearning import Prompt
from pytest_sae.data.words import WORD
from pytest_sae.errors import DataError, suggest


def _label(value: object) -> object:
    return label(value) if isinstance(value, (bool, int, float)) else value


Name = Annotated[str, Field(min_length=1)]
Label = Annotated[str, BeforeValidator(_label), Field(min_length=1)]


def _word(value: str) -> str:
    if not re.fullmatch(WORD, value):
        raise ValueError("expected a single word, of letters and digits")
    return value.lower()


Word = Annotated[str, AfterValidator(_word)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CorpusTable(_Table):
    """`[corpus]`: unlabelled texts."""

    file: Name
    text: Name = "text"


class DatasetTable(_Table):
    """`[datasets.NAME]`: two files, or two splits of a dataset on the hub where `hub` is given."""

    train: Name
    test: Name
    text: Name = "text"
    hub: Name | None = None
    revision: Name | None = None
    values: dict[str, dict[str, Label]] = Field(default_factory=dict)


class ContrastTable(_Table):
    """One concept of an SCR task; `words` give it away and are deleted to compare with SHIFT."""

    column: Name
    positive: Label
    negative: Label
    words: list[Word] = Field(default_factory=list, max_length=1000)


class ScrTable(_Table):
    """`[[scr]]`."""

    name: Name
    dataset: Name
    intended: ContrastTable
    spurious: ContrastTable


class TppTable(_Table):
    """`[[tpp]]`."""

    name: Name
    dataset: Name
    column: Name
    classes: list[Label] = Field(min_length=2)


class TransferTable(_Table):
    """`[[transfer]]`: classes of several data sets, learned on each and read on the others."""

    name: Name
    datasets: list[Name] = Field(min_length=2)
    column: Name
    classes: list[Label] = Field(min_length=2)


class RavelTable(_Table):
    """`[[ravel]]`: entities and prompts in two tables of rows, or RAVEL's own files."""

    name: Name
    attributes: list[Name] = Field(min_length=2)
    position: Literal["entity", "last"] = "entity"
    entities: Name | None = None
    entity: Name = "entity"
    prompts: Name | None = None
    template: Name = "template"
    attribute: Name = "attribute"
    split: Name = "split"
    published: Name | None = None
    kind: Name = "city"


class PrincipledTable(_Table):
    """`[[principled]]`: texts whose variables are known."""

    name: Name
    file: Name
    text: Name = "text"
    attributes: list[Name] = Field(min_length=1)
    answer: Name
    other: Name
    group: Name | None = None
    place: Name | None = None


class SensesTable(_Table):
    """`[[senses]]`: pairs of sentences that use a word in one sense or in two."""

    name: Name
    file: Name
    word: Name = SenseColumns.word
    first: Name = SenseColumns.first
    second: Name = SenseColumns.second
    same: Name = SenseColumns.same
    prompt: Name = PROMPT


class UnlearningTable(_Table):
    """`[[unlearning]]`: two corpora in one file, and multiple-choice questions on both."""

    name: Name
    corpus: Name
    text: Name = "text"
    label: Name
    forget: Label
    retain: Label
    questions: Name
    question: Name = "question"
    options: Name | list[Name] = "options"
    answer: Name = "answer"
    unit: Name | None = None
    prompt: Name = Prompt.whole
    option: Name = Prompt.option
    separator: str = Prompt.separator


AnyTable = (
    ScrTable
    | TppTable
    | TransferTable
    | RavelTable
    | PrincipledTable
    | UnlearningTable
    | SensesTable
)


class PreferencesTable(_Table):
    """`[preferences]`: pairs of replies in two files, `preferred` naming the column of one."""

    train: Name
    test: Name
    first: Name = "first"
    second: Name = "second"
    preferred: Name = "preferred"
    score: Name = "score"


class SpellingTable(_Table):
    """`[spelling]`: the words of the first-letter task; those of the vocabulary without a file."""

    file: Name | None = None
    word: Name = "word"
    examples: int = Field(default=10, ge=0, le=100)


class TaskFile(_Table):
    """A whole task file."""

    version: int
    corpus: CorpusTable | None = None
    spelling: SpellingTable | None = None
    datasets: dict[str, DatasetTable] = Field(default_factory=dict)
    scr: list[ScrTable] = Field(default_factory=list)
    tpp: list[TppTable] = Field(default_factory=list)
    transfer: list[TransferTable] = Field(default_factory=list)
    ravel: list[RavelTable] = Field(default_factory=list)
    principled: list[PrincipledTable] = Field(default_factory=list)
    unlearning: list[UnlearningTable] = Field(default_factory=list)
    senses: list[SensesTable] = Field(default_factory=list)
    preferences: PreferencesTable | None = None

    @property
    def named_datasets(self) -> list[tuple[str, str]]:
        """Every task that reads a data set, and that data set, as often as it is named."""
        one: list[ScrTable | TppTable] = [*self.scr, *self.tpp]
        several = [(task.name, dataset) for task in self.transfer for dataset in task.datasets]
        return [*((task.name, task.dataset) for task in one), *several]


_TABLES: Mapping[int | str, type[_Table]] = {
    "corpus": CorpusTable,
    "spelling": SpellingTable,
    "datasets": DatasetTable,
    "scr": ScrTable,
    "tpp": TppTable,
    "transfer": TransferTable,
    "ravel": RavelTable,
    "principled": PrincipledTable,
    "unlearning": UnlearningTable,
    "senses": SensesTable,
    "preferences": PreferencesTable,
}


def read_task_file(path: Path) -> TaskFile:
    """Return the checked content of a task file; the files it names are not opened.

    Raises:
        DataError: no such file, no TOML, another version, an unknown key or dataset, a name
            used twice, a concept without contrast, or nothing to measure on.
    """
    content = _toml(path)
    if content.get("version") != 1:
        raise DataError(
            f"{path} has version = {content.get('version')!r}. Expected version = 1, as this "
            "release reads: add or correct the line."
        )
    try:
        tasks = TaskFile.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {_explain(error.errors())}") from None
    _check(tasks, path)
    return tasks


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist. Expected a task file (TOML): check the path."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no TOML ({error}). Expected a task file.") from error


def _explain(errors: Sequence[ErrorDetails]) -> str:
    # A misspelt key is also a missing one; what was written is the better thing to show.
    error = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        found = "" if error["type"] == "missing" else f" (found {error['input']!r})"
        return f"{where}: {error['msg']}{found}. Correct the task file."
    valid = sorted(_table(error["loc"][:-1]).model_fields)
    key = str(error["loc"][-1])
    return f"unknown key {where}. Expected {', '.join(valid)}.{suggest(key, valid)}"


def _table(location: Sequence[int | str]) -> type[_Table]:
    if not location:
        return TaskFile
    in_contrast = location[0] == "scr" and len(location) == 3
    return ContrastTable if in_contrast else _TABLES[location[0]]


def _check(tasks: TaskFile, path: Path) -> None:
    kinds: dict[str, Sequence[AnyTable]] = {
        "scr": tasks.scr,
        "tpp": tasks.tpp,
        "transfer": tasks.transfer,
        "ravel": tasks.ravel,
        "principled": tasks.principled,
        "unlearning": tasks.unlearning,
        "senses": tasks.senses,
    }
    if not (tasks.corpus or any(kinds.values())):
        tables = ", ".join(f"[[{kind}]]" for kind in list(kinds)[:-1])
        tables = f"{tables} or [[{list(kinds)[-1]}]]"
        raise DataError(f"{path} has nothing to measure on. Expected a [corpus], a {tables} table.")
    for kind, tables_of in kinds.items():
        _refuse_twins([table.name for table in tables_of], f"{path}: [[{kind}]] name")
    for ravel in tasks.ravel:
        _check_ravel(ravel, path)
    for each in tasks.principled:
        _refuse_twins(each.attributes, f"{path}: {each.name}: attribute")
    for one in tasks.unlearning:
        _check_unlearning(one, path)
    _check_datasets(tasks, path)
    for scr in tasks.scr:
        _check_scr(scr, path)
    for tpp in tasks.tpp:
        _refuse_twins(tpp.classes, f"{path}: {tpp.name}: class")
    for shared in tasks.transfer:
        _refuse_twins(shared.datasets, f"{path}: {shared.name}: data set")
        _refuse_twins(shared.classes, f"{path}: {shared.name}: class")


def _check_datasets(tasks: TaskFile, path: Path) -> None:
    known = ", ".join(sorted(tasks.datasets)) or "none, there is no [datasets] table"
    for name, dataset in tasks.named_datasets:
        if dataset not in tasks.datasets:
            raise DataError(
                f"{path}: task {name} has dataset = {dataset!r}. Expected one of "
                f"{known}.{suggest(dataset, tasks.datasets)}"
            )


def _check_scr(task: ScrTable, path: Path) -> None:
    _refuse_twins([task.intended.column, task.spurious.column], f"{path}: {task.name}: column")
    for contrast in (task.intended, task.spurious):
        values = [contrast.positive, contrast.negative]
        _refuse_twins(values, f"{path}: {task.name}: value of {contrast.column}")
        _refuse_twins(contrast.words, f"{path}: {task.name}: word of {contrast.column}")


def _check_ravel(task: RavelTable, path: Path) -> None:
    _refuse_twins(task.attributes, f"{path}: {task.name}: attribute")
    own = task.entities is not None and task.prompts is not None
    if own == (task.published is not None) or (task.entities is None) != (task.prompts is None):
        raise DataError(
            f"{path}: [[ravel]] {task.name} does not say where its data is. Expected entities and "
            "prompts, two files of rows; or published, the directory of RAVEL's own files."
        )


def _check_unlearning(task: UnlearningTable, path: Path) -> None:
    _refuse_twins([task.forget, task.retain], f"{path}: {task.name}: label")
    for value, slots in ((task.prompt, ("question", "options")), (task.option, ("letter", "text"))):
        missing = [slot for slot in slots if f"{{{slot}}}" not in value]
        if missing:
            raise DataError(
                f"{path}: [[unlearning]] {task.name} has {value!r} without {{{missing[0]}}}. "
                f"Expected {' and '.join(f'{{{slot}}}' for slot in slots)} in it."
            )


def _refuse_twins(names: list[str], what: str) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise DataError(f"{what} {twins[0]!r} stands twice. Expected different ones.")
