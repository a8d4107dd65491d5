"""Plain English texts with their topics, on which every judge is calibrated.

calibration_texts() -> list[(text, topic)]
"""

from __future__ import annotations

from pathlib import Path

from pytest_sae import bundled_world
from pytest_sae.data.labelled_texts import read_rows

# File, column of the topic and every how many rows one is taken: files are sorted by label, so
# that even steps keep their mix. The stream repeats some of the labelled files without labels.
_FILES = (
    ("topics", "topic", 2),
    ("subjects", "subject", 2),
    ("biographies.test", "", 5),
    ("reviews.test", "", 3),
    ("prose", "", 2),
    ("stream", "kind", 1),
)
_UNLABELLED = ("cities", "indirect_object")


def calibration_texts() -> list[tuple[str, str]]:
    """Return about 1700 texts of the bundled world, each with its topic, empty where it has none.

    Topics are those of `topics.jsonl` (sports, business, ...) and `subjects.jsonl` (biology,
    chemistry).

    Raises:
        DataError: the bundled world is not there.
    """
    directory = bundled_world() / "texts"
    found = [each for file in _FILES for each in _texts(directory, *file)]
    return [(text, "" if topic in _UNLABELLED else topic) for text, topic in found]


def _texts(directory: Path, name: str, column: str, step: int) -> list[tuple[str, str]]:
    rows = read_rows(directory / f"{name}.jsonl", "text", (column,) if column else ())
    topics = rows.labels[column] if column else ("",) * len(rows.texts)
    pairs = list(zip(rows.texts, topics, strict=True))[::step]
    return [pair for pair in pairs if column != "kind" or pair[1] in _UNLABELLED]
