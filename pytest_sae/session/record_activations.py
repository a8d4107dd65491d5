"""Recording everything that a run reads: the texts of a task file, at the sites of a dictionary.

record_data(model, site, data, directory, sizes...) -> Path
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from pytest_sae.activations.recorder import Progress, record
from pytest_sae.data.sources import named_tasks
from pytest_sae.data.tasks import Tasks
from pytest_sae.errors import DataError
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.measure.shift import texts_without_words
from pytest_sae.models.load import load
from pytest_sae.session.suites import SUITES


def parts_of(tasks: Tasks) -> dict[str, Sequence[str]]:
    """Return the sets of texts that a run has the model read, by the name of their part.

    `corpus` for reconstruction and evidence, `tasks` for SCR, TPP and SHIFT, and `without words`
    for SHIFT's comparison with deleting words.
    """
    parts = {
        "corpus": tasks.corpus.texts if tasks.corpus else (),
        "tasks": erasure_texts(tasks),
        "without words": texts_without_words(tasks),
    }
    return {name: texts for name, texts in parts.items() if texts}


def record_data(
    model: str,
    site: str,
    data: str | None,
    directory: Path,
    *,
    written: str | None = None,
    suite: str = "standard",
    seed: int = 0,
    prepend_bos: bool = True,
    device: str = "auto",
    dtype: str = "float32",
    threads: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Record what a run with the same data, suite and seed reads; bit for bit what it would read.

    Args:
        model: path or name.
        site: hook name or module path that dictionaries read.
        data: as --sae-data names it, None for the bundled texts.
        directory: is made; refused if there is something in it.
        written: where a transcoder writes.
        suite: whose sizes and context are taken.
        seed: of the choice of texts.
        prepend_bos: whether texts begin with BOS, as the dictionary was trained.
        device: to run on.
        dtype: to run in.
        threads: CPU threads; sums of floats depend on their number.
        progress: called with (stage, done, total).

    Returns:
        The directory.

    Raises:
        PytestSAEError: data, model or site that cannot be used.
    """
    sizes = SUITES[suite]
    parts = parts_of(named_tasks(data, sizes.sizes, seed))
    if directory.exists() and (directory.is_file() or any(directory.iterdir())):
        raise DataError(f"{directory} is not empty. Expected a new directory to record to.")
    torch.set_num_threads(threads)
    loaded = load(model, device, getattr(torch, dtype))
    return record(
        loaded,
        loaded.site(site),
        parts,
        directory,
        context=sizes.context,
        prepend_bos=prepend_bos,
        written=loaded.site(written) if written else None,
        progress=progress,
    )
