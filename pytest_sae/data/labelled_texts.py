"""Reading labelled texts from JSON lines and CSV, strictly, with file and line in every error."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_sae.errors import DataError, suggest

Record = Mapping[str, object]
LabelCodes = Mapping[str, Mapping[str, str]]  # column -> stored value -> what it means


@dataclass(frozen=True)
class LabelledTexts:
    """The texts of one split and the labels that tasks ask for.

    Args:
        source: the file, for messages.
        texts: as they stand there.
        labels: per column, one text per row.
    """

    source: str
    texts: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]


def read_rows(
    path: Path, text: str, columns: Sequence[str], codes: LabelCodes | None = None
) -> LabelledTexts:
    """Return the texts and labels of a `.jsonl` or `.csv` file.

    Args:
        path: the file; its suffix says what it is.
        text: the column of the texts.
        columns: the label columns that are needed.
        codes: what coded label values mean, by column; others stand for themselves.

    Raises:
        DataError: no such file, another format, an unknown column, an empty text or label.
    """
    return to_rows(str(path), read_records(path), text, columns, codes)


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Give the records of a `.jsonl` or `.csv` file with their line numbers.

    Raises:
        DataError: no such file, another format, or a line that cannot be read.
    """
    readers = {".jsonl": _json_lines, ".csv": _csv_lines}
    if path.suffix not in readers:
        raise DataError(
            f"{path} ends in {path.suffix or 'nothing'}. Expected {' or '.join(readers)}: one "
            "object per line, or a header and one row per text."
        )
    if not path.is_file():
        raise DataError(
            f"{path} does not exist. Expected a file of texts: paths in a task file are relative "
            "to the task file."
        )
    try:
        yield from readers[path.suffix](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}). Expected UTF-8: convert it.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Expected a readable file.") from error


def to_rows(
    source: str,
    records: Iterable[tuple[int, Record]],
    text: str,
    columns: Sequence[str],
    codes: LabelCodes | None = None,
) -> LabelledTexts:
    """Return the rows of numbered records.

    Args:
        source: the file, for messages.
        records: with their line numbers.
        text: the column of the texts.
        columns: the label columns that are needed.
        codes: what coded label values mean, by column; others stand for themselves.

    Raises:
        DataError: no record, an unknown column, or an empty text or label.
    """
    texts: list[str] = []
    labels: dict[str, list[str]] = {column: [] for column in columns}
    readers = [(column, labels[column].append, _reader(codes, column)) for column in columns]
    for line, record in records:
        texts.append(_text(record, text, source, line))
        for column, append, meaning in readers:
            append(meaning(_value(record, column, source, line), source, line))
    if not texts:
        raise DataError(f"{source} is empty. Expected one text per line.")
    return LabelledTexts(
        source, tuple(texts), {name: tuple(values) for name, values in labels.items()}
    )


def label(value: object) -> str:
    """Return a label as text, so that 5, 5.0 and "5" are one class, and true is "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def unknown_column(where: str, column: str, there: Iterable[str]) -> DataError:
    """Return the error of a column that is not there, naming those that are.

    Args:
        where: file and line.
        column: that was asked for.
        there: the columns there are.
    """
    names = sorted(there)
    return DataError(
        f"{where}: no column {column!r}. Expected one of {', '.join(names)}"
        f".{suggest(column, names)}"
    )


def _reader(codes: LabelCodes | None, column: str) -> Callable[[object, str, int], str]:
    meanings = (codes or {}).get(column, {})

    def read(value: object, source: str, line: int) -> str:
        if value is None or value == "" or isinstance(value, (list, dict)):
            raise DataError(
                f"{source}, line {line}: {column} is {value!r}. Expected a text or a number."
            )
        name = label(value)
        return meanings.get(name, name)

    return read


def _text(record: Record, column: str, source: str, line: int) -> str:
    value = _value(record, column, source, line)
    if not isinstance(value, str):
        raise DataError(f"{source}, line {line}: {column} is {value!r}. Expected a text.")
    if not value or value.isspace():
        raise DataError(
            f"{source}, line {line}: the text is empty. Expected words: remove the line."
        )
    return value


def _value(record: Record, column: str, source: str, line: int) -> object:
    try:
        return record[column]
    except KeyError:
        raise unknown_column(f"{source}, line {line}", column, record) from None


def _json_lines(path: Path) -> Iterator[tuple[int, Record]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield number, _json_object(line, path, number)


def _json_object(line: str, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}, line {number}: no JSON ({error}). Expected one object per line."
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"{path}, line {number}: a JSON {type(record).__name__}. Expected an object."
        )
    if "\\ud" in line.lower():
        _refuse_half_characters(record, path, number)
    return record


def _refuse_half_characters(record: Record, path: Path, number: int) -> None:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}, line {number}: the text is no Unicode ({error.reason}). Expected whole "
            "characters: write the file again without lone surrogates."
        ) from error


def _csv_lines(path: Path) -> Iterator[tuple[int, Record]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            for row in reader:
                if row:
                    yield reader.line_num, _csv_record(header, row, path, reader.line_num)
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num}: no CSV ({error}). Expected quoted fields; "
                "very long texts belong into JSON lines."
            ) from error


def _csv_record(header: list[str], row: list[str], path: Path, line: int) -> Record:
    if len(row) != len(header):
        raise DataError(
            f"{path}, line {line}: {len(row)} fields. Expected {len(header)}, as in the header: "
            "quote texts that hold commas."
        )
    return dict(zip(header, row, strict=True))
