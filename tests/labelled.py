"""Small labelled texts in the tiny model's vocabulary, as a user's own data would lie on disk."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path

JOBS = ("baker", "judge", "miner")
GENDERS = ("f", "m")


def labelled_data(directory: Path, per_cell: int = 30, seed: int = 0) -> Path:
    """Write train, test and corpus files and return the task file that names them.

    Each job and each gender has words of its own, mixed with words of no meaning; lengths vary.
    """
    rng = random.Random(seed)
    for split in ("train", "test"):
        rows = [
            {"text": _text(rng, job, gender), "job": job, "gender": gender}
            for job, gender in product(JOBS, GENDERS)
            for _ in range(per_cell)
        ]
        _write(directory / f"{split}.jsonl", rows)
    _write(directory / "corpus.jsonl", [{"text": _text(rng, "", "")} for _ in range(2 * per_cell)])
    tasks = directory / "tasks.toml"
    tasks.write_text(TASKS)
    return tasks


TASKS = """
version = 1
[corpus]
file = "corpus.jsonl"
text = "text"
[datasets.jobs]
train = "train.jsonl"
test = "test.jsonl"
text = "text"
[[scr]]
name = "baker_judge"
dataset = "jobs"
intended = { column = "job", positive = "baker", negative = "judge" }
spurious = { column = "gender", positive = "f", negative = "m" }
[[tpp]]
name = "jobs"
dataset = "jobs"
column = "job"
classes = ["baker", "judge", "miner"]
"""


def _text(rng: random.Random, job: str, gender: str) -> str:
    own = [f"w{4 * JOBS.index(job) + i}" for i in range(4)] if job else ["w40"]
    own += [f"w{12 + 4 * GENDERS.index(gender) + i}" for i in range(4)] if gender else []
    words = [rng.choice(own) for _ in range(rng.randint(1, 4))]
    words += [f"w{rng.randint(20, 55)}" for _ in range(rng.randint(2, 24))]
    rng.shuffle(words)
    return " ".join(words)


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
