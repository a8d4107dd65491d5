"""What a family measures from, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import Corpus, Tasks
from pytest_sae.families.registry import card_of
from pytest_sae.measure import given as measuring
from pytest_sae.measure.given import Given
from pytest_sae.numbers.estimate import Estimate

_NAMES = ("judge", "scorer", "embedder", "twin")


def given_of(
    latents: Latents,
    sizes: Any = None,
    source: str = "here",
    corpus: Sequence[str] | None = None,
    **more: Any,
) -> Given:
    """Latents, tables of tasks by their name, and whoever is asked, at seed 0.

    Args:
        latents: of the dictionary.
        sizes: of the family, as a dataclass or a dictionary.
        source: of the tasks.
        corpus: held-out texts.
        more: `judge`, `scorer`, `embedder`, `twin`; all others are tables of tasks.
    """
    asked = {name: more.pop(name) for name in _NAMES if name in more}
    texts = Corpus(tuple(corpus), "texts") if corpus is not None else None
    tables = {name: tuple(each) for name, each in more.items()}
    tasks = Tasks(texts, tables.pop("scr", ()), tables.pop("tpp", ()), source, "x", **tables)
    spent = sizes if isinstance(sizes, dict) else asdict(sizes) if sizes is not None else {}
    return Given(latents, tasks, 0, spent, **asked)


def measured(family: str, *args: Any, **more: Any) -> list[Estimate]:
    """What a family measures of what `given` makes."""
    return measuring.measured(card_of(family), given_of(*args, **more))
