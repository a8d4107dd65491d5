"""The 113 binary data sets inside the `sae-probes` package (Kantamneni et al. 2025, 2502.16681).

    missing() -> why they cannot be read, None if they can
    read_tasks(most, seed) -> tuple[LastTokenTask, ...]

Its files are read where they are installed, none of its code is imported: it would want half a
dozen heavy packages that this one has no use for.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from pytest_sae.errors import DataError

INSTALL = "pip install 'pytest-sae[probes]'"
MOST_ROWS = 5000  # the published cap, of the file's first rows
MOST_TRAIN = 1024
FEWEST_TEST = 100
_LONGEST_FIELD = 2**24


@dataclass(frozen=True)
class RowSplit:
    """Which rows of a data set are trained on and tested on, each in a drawn order."""

    train: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class LastTokenTask:
    """One binary data set.

    Args:
        name: of its file, without number.
        texts: in the order of the file; some stand several times.
        labels: per text, whether it has the second of the two labels in sorted order.
        published: the published split: both labels in equal shares, rows as they stand, so that a
            text may be trained on and tested on.
        distinct: ours: each text once, none that stands there with both labels.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[bool, ...]
    published: RowSplit
    distinct: RowSplit


def missing() -> str | None:
    """Return what has to be installed to read the data sets, None if nothing."""
    lacking = [name for name in ("sae_probes", "zstandard") if find_spec(name) is None]
    return f"{' and '.join(lacking)} not installed: {INSTALL}" if lacking else None


def version() -> str:
    """Return the package's version, for reports."""
    return metadata.version("sae-probes")


def read_tasks(most: int | None, seed: int) -> tuple[LastTokenTask, ...]:
    """Return all data sets, in the order of the package's list.

    Args:
        most: rows of each at most, drawn by a hash of (seed, text); None for the published 5000.
        seed: of the draw and of the splits.

    Raises:
        DataError: the package's files are not what they were.
    """
    return tuple(_task(name, path, most, seed) for name, path in _files().items())


@cache
def _directory() -> Path:
    spec = find_spec("sae_probes")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"sae-probes is not installed: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "data"


def _files() -> dict[str, Path]:
    listed = _records(_directory() / "probing_datasets_MASTER.csv.zst")
    binary = [each for each in listed if each.get("Data type") == "Binary Classification"]
    if not binary:
        raise DataError(
            f"{_directory()} lists no binary data sets. Expected those of sae-probes 0.4: {INSTALL}"
        )
    return {
        each["Dataset Tag"]: _directory() / f"{each['Dataset save name']}.zst" for each in binary
    }


def _records(path: Path, most: int | None = None) -> list[Mapping[str, str]]:
    import zstandard

    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open("rb") as file:
            plain = zstandard.ZstdDecompressor().stream_reader(file)
            lines = io.TextIOWrapper(plain, encoding="utf-8", newline="")
            return list(islice(_rows(csv.DictReader(lines)), most))
    except (OSError, ValueError, csv.Error, zstandard.ZstdError) as error:
        raise DataError(f"{path} cannot be read ({error}): {INSTALL} again") from error


def _rows(reader: csv.DictReader[str]) -> Iterator[Mapping[str, str]]:
    yield from reader


def _task(name: str, path: Path, most: int | None, seed: int) -> LastTokenTask:
    records = _records(path, MOST_ROWS)
    if not records or not {"prompt", "target"} <= records[0].keys():
        raise DataError(f"{path} has no columns prompt and target: {INSTALL} again")
    values = sorted({each["target"] for each in records})
    if len(values) != 2:
        raise DataError(f"{path} has {len(values)} labels. Expected 2: {INSTALL} again")
    rows = [(each["prompt"], each["target"] == values[1]) for each in records if each["prompt"]]
    key = f"{seed} {name}"
    if most is not None:
        rows = _drawn(rows, most, key)
    texts, labels = zip(*rows, strict=True)
    published = _balanced_split(labels, key)
    return LastTokenTask(name, texts, labels, published, _distinct_split(texts, labels, key))


def _drawn(rows: Sequence[tuple[str, bool]], most: int, key: str) -> list[tuple[str, bool]]:
    """As many rows of both labels, in the order of the file.

    By the text alone and not the data set: many sets share their texts, which are then run once.
    """
    places = _ranked(range(len(rows)), key.partition(" ")[0], [text for text, _ in rows])
    kept = [place for label in (True, False) for place in _of(rows, places, label)[: most // 2]]
    return [rows[place] for place in sorted(kept)]


def _of(rows: Sequence[tuple[str, bool]], places: Sequence[int], label: bool) -> list[int]:
    return [place for place in places if rows[place][1] is label]


def _balanced_split(labels: Sequence[bool], key: str) -> RowSplit:
    """As many rows of either label for training; what is left, cut to equal shares, for testing."""
    size = 2 * min(sum(labels), len(labels) - sum(labels))
    each = _train_size(size) // 2
    order = _ranked(range(len(labels)), f"{key} published", None)
    sides = [[place for place in order if labels[place] is label] for label in (True, False)]
    train = [place for side in sides for place in side[:each]]
    test = [place for side in sides for place in side[each : size // 2]]
    return _mixed(train, test, key)


def _distinct_split(texts: Sequence[str], labels: Sequence[bool], key: str) -> RowSplit:
    """Each text once, a text with both labels never; the labels' shares are those of the data."""
    first: dict[str, int] = {}
    said: dict[str, set[bool]] = {}
    for place, (text, label) in enumerate(zip(texts, labels, strict=True)):
        first.setdefault(text, place)
        said.setdefault(text, set()).add(label)
    kept = [place for text, place in first.items() if len(said[text]) == 1]
    share = _train_size(len(kept)) / len(kept) if kept else 0.0
    order = _ranked(kept, f"{key} distinct", None)
    sides = [[place for place in order if labels[place] is label] for label in (True, False)]
    train = [place for side in sides for place in side[: round(share * len(side))]]
    test = [place for side in sides for place in side[round(share * len(side)) :]]
    return _mixed(train, test, key)


def _train_size(rows: int) -> int:
    """The published size, or half of the rows where that would leave fewer for training."""
    return min(max(rows - FEWEST_TEST, rows // 2), MOST_TRAIN)


def _mixed(train: Sequence[int], test: Sequence[int], key: str) -> RowSplit:
    return RowSplit(
        tuple(_ranked(train, f"{key} train", None)), tuple(_ranked(test, f"{key} test", None))
    )


def _ranked(places: Sequence[int], key: str, names: Sequence[str] | None) -> list[int]:
    """Places in an order drawn by hash, of what stands there or of the place itself."""

    def rank(place: int) -> tuple[bytes, int]:
        what = str(place) if names is None else names[place]
        return hashlib.sha256(f"{key} {what}".encode()).digest(), place

    return sorted(places, key=rank)
