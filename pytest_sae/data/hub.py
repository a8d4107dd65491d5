"""Datasets of the Hugging Face hub, or of a local copy; `datasets` is imported only here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_sae.data.labelled_texts import (
    LabelCodes,
    LabelledTexts,
    read_rows,
    to_rows,
    unknown_column,
)
from pytest_sae.errors import DataError

_FILES = (".jsonl", ".csv", ".parquet")


def hub_rows(
    name: str,
    revision: str | None,
    split: str,
    text: str,
    columns: Sequence[str],
    codes: LabelCodes | None = None,
) -> LabelledTexts:
    """Return one split of a dataset of the hub, from its cache where it was loaded before.

    Args:
        name: of the dataset on the hub.
        revision: branch, tag or commit; None for the newest.
        split: of the dataset.
        text: the column of the texts.
        columns: the label columns that are needed.
        codes: what coded label values mean, by column; others stand for themselves.

    Raises:
        DataError: it cannot be had; the message says how to make a local copy.
    """
    datasets = _datasets()
    try:
        table = datasets.load_dataset(name, revision=revision, split=split)
    except Exception as error:  # `datasets` raises dozens of types for "no network"
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"The dataset {name} ({split}) cannot be loaded from the hub: {first}. Expected a "
            "network or a local copy: on a machine with a network, run "
            f'`datasets.load_dataset("{name}").save_to_disk("copies/{Path(name).name}")`, bring '
            "the directory here and name `copies` as the local directory."
        ) from error
    return _table_rows(f"{name} ({split})", table, text, columns, codes)


def copied_rows(
    directory: Path, split: str, text: str, columns: Sequence[str], codes: LabelCodes | None = None
) -> LabelledTexts:
    """Return one split of a local copy: made by `save_to_disk`, or files named after the splits.

    Args:
        directory: of `save_to_disk`, or with `train.csv`, `.jsonl` or `.parquet` and so on.
        split: such as `train`.
        text: the column of the texts.
        columns: the label columns that are needed.
        codes: what coded label values mean.

    Raises:
        DataError: there is no such split.
    """
    if (directory / "dataset_dict.json").is_file():
        saved = _saved(directory)
        if split in saved:
            return _table_rows(f"{directory} ({split})", saved[split], text, columns, codes)
    for file in (directory / f"{split}{suffix}" for suffix in _FILES):
        if file.is_file() and file.suffix == ".parquet":
            return _table_rows(str(file), _parquet(file), text, columns, codes)
        if file.is_file():
            return read_rows(file, text, columns, codes)
    raise DataError(
        f"{directory} has no split {split!r}. Expected a directory made by save_to_disk, or "
        f"{split}.jsonl, {split}.csv or {split}.parquet: copy it there."
    )


def _table_rows(
    source: str, table: Any, text: str, columns: Sequence[str], codes: LabelCodes | None
) -> LabelledTexts:
    names = (text, *columns)
    for name in names:
        if name not in table.column_names:
            raise unknown_column(source, name, table.column_names)
    rows = zip(*(table.with_format(None)[name][:] for name in names), strict=True)
    records = (dict(zip(names, row, strict=True)) for row in rows)
    return to_rows(source, enumerate(records, 1), text, columns, codes)


def _saved(directory: Path) -> Any:
    datasets = _datasets()
    try:
        return datasets.load_from_disk(str(directory))
    except Exception as error:  # json, pyarrow and `datasets` each have types of their own
        raise DataError(
            f"{directory} is no readable copy made by save_to_disk ({error}). Expected one: copy "
            "it again."
        ) from error


def _parquet(file: Path) -> Any:
    # Through pyarrow: Dataset.from_parquet would write a second copy into the user's cache.
    datasets, parquet = _datasets(), import_module("pyarrow.parquet")
    try:
        return datasets.Dataset(parquet.read_table(file))
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(
            f"{file} is no parquet file ({error}). Expected one: copy it again."
        ) from error


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "The package `datasets` is not installed. Expected it for texts from the hub or from "
            "save_to_disk: `pip install datasets`, or copy the texts as JSON lines or CSV."
        ) from error
    datasets.disable_progress_bars()
    return datasets
