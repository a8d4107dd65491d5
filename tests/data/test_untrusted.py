"""Whatever a task file or a file of texts holds, it is read or refused; nothing else happens."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import Sizes, Tasks
from pytest_sae.errors import DataError
from tests.data.conftest import TASKS

quietly = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = ["[", "]", "=", '"', "1", "{", "}", "\n", "[[scr]]", "[corpus]", "version", "x", "\\", ""]


def read_or_refused(path: Path) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(load_tasks(path, Sizes(), seed=0), Tasks)


@quietly
@given(st.integers(0, len(TASKS)), st.integers(0, 12), st.lists(st.sampled_from(PIECES)))
def test_any_damage_to_a_task_file(
    task_file: Path, place: int, length: int, new: list[str]
) -> None:
    task_file.write_text(TASKS[:place] + "".join(new) + TASKS[place + length :])
    read_or_refused(task_file)


@quietly
@given(st.binary(max_size=80), st.sampled_from([".jsonl", ".csv"]))
def test_any_bytes_as_texts(task_file: Path, content: bytes, suffix: str) -> None:
    (task_file.parent / f"bytes{suffix}").write_bytes(content)
    task_file.write_text(TASKS.replace("test.jsonl", f"bytes{suffix}"))
    read_or_refused(task_file)
