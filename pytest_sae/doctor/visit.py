"""All SAEs that a command line names, examined one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_sae import bundled_world
from pytest_sae.data.sources import named_tasks
from pytest_sae.data.tasks import Sizes
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.doctor.examine import OTHERS, TEXTS, DoctorRequest, Examination, examine
from pytest_sae.errors import DataError
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.session.suites import SUITES
from pytest_sae.session.threads import threads


def visit(
    saes: Sequence[str], data: str | None, wanted: DoctorRequest, cpu_threads: int = 1
) -> list[Examination]:
    """Return what was found out about each SAE.

    Args:
        saes: values of `--sae`; none for the bundled one.
        data: as --sae-data names it, None for the bundled texts.
        wanted: what the user says, still without texts.
        cpu_threads: how many threads compute.

    Raises:
        OptionError: a value of `--sae` that names nothing.
        DataError: texts that cannot be used, or too few of them.
    """
    specs = resolve(saes or [str(bundled_world() / "saes" / "topk")])
    wanted = replace(wanted, texts=_texts(data))
    with threads(cpu_threads):
        return [examine(spec, wanted) for spec in specs]


def _texts(data: str | None) -> Sequence[str]:
    sizes: Sizes = SUITES["smoke"].sizes
    tasks = named_tasks(data, sizes, seed=0)
    texts = tasks.corpus.texts if tasks.corpus else tuple(erasure_texts(tasks))
    if len(texts) < 2 * TEXTS:
        raise DataError(
            f"{tasks.source} has {len(texts)} texts. Expected {2 * TEXTS} or more: {TEXTS} to "
            f"measure on, and up to {OTHERS} others for principal components."
        )
    return texts
