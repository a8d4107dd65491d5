"""What a run's data are, for its report."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.data.tasks import ClassTask, SpuriousTask, Tasks


def summary(tasks: Tasks) -> dict[str, object]:
    """Return source, fingerprint and how many texts each task has, as plain builtins."""
    groups: list[tuple[str, Sequence[SpuriousTask | ClassTask]]] = [
        ("scr", tasks.scr),
        ("tpp", tasks.tpp),
        ("transfer", [part for task in tasks.transfer for part in task.parts]),
    ]
    gone = {each.told: each.reason for each in tasks.left_out}
    return {
        "source": tasks.source,
        "fingerprint": tasks.fingerprint,
        "corpus_texts": len(tasks.corpus.texts) if tasks.corpus else 0,
        **({"left_out": gone} if gone else {}),
        "tasks": {f"{kind}/{task.name}": _counts(task) for kind, group in groups for task in group},
    }


def _counts(task: SpuriousTask | ClassTask) -> dict[str, int]:
    return {
        "train": len(task.train.texts),
        "test": len(task.test.texts),
        "dropped_from_train": task.dropped,
        "repeated": task.repeated,
    }
