"""What a family measures from, and measuring it: all that its card declares is seen to here.

Given(latents, tasks, seed, sizes, judge, scorer, embedder, twin)
measured(card, given) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_sae.errors import DataError, JudgeError
from pytest_sae.families.card import Card, found
from pytest_sae.models.absent import why_silent
from pytest_sae.numbers.estimate import LEFT_OUT, Estimate, no_data, not_applicable, undefined

if TYPE_CHECKING:
    from pytest_sae.activations.latents import Latents
    from pytest_sae.data.tasks import Corpus, Tasks
    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.judge.base import Judge
    from pytest_sae.measure.embedding import Embed
    from pytest_sae.models.model import LanguageModel

NOBODY = "no judge: name one with --sae-judge=MODEL (README, A judge)"


@dataclass(frozen=True)
class Given:
    """All that a family measures from.

    The same family on something else is `replace(given, ...)`: other latents for a control, other
    tasks for shuffled labels, another seed for a repeat.

    Args:
        latents: of the dictionary, over any texts.
        tasks: data of the run.
        seed: of everything random.
        sizes: how much of what is spent, as the family's card names it; None for all there is.
        judge: who reads latents, None if nobody does or needs to.
        scorer: the language model of the surprisal scorer, None if there is none.
        embedder: the model of the embedding scorer, None if there is none.
        twin: the same dictionary from another seed, None if there is none.
    """

    latents: Latents
    tasks: Tasks
    seed: int = 0
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    judge: Judge | None = None
    scorer: LanguageModel | None = None
    embedder: Embed | None = None
    twin: Dictionary | None = None

    @property
    def counts(self) -> dict[str, int]:
        """The sizes that are numbers, for sizes of which none may be None."""
        return {name: size for name, size in self.sizes.items() if size is not None}

    def corpus(self, what: str) -> Corpus:
        """Return the held-out texts of the run.

        Args:
            what: is measured on them, for the message.

        Raises:
            DataError: the run's data has none.
        """
        return corpus_of(self.tasks, what)

    def asked(self) -> Judge:
        """Return who judges.

        Raises:
            JudgeError: nobody was named.
        """
        if self.judge is None:
            raise JudgeError(NOBODY)
        return self.judge


def measured(card: Card, given: Given) -> list[Estimate]:
    """Return what a family measures; all of it without values where its card asks for more.

    Args:
        card: of the family.
        given: to measure from.

    Raises:
        DataError: the data lack what it needs, and no table of its own says so.
        JudgeError: the judge cannot be asked.
    """
    unable = _unable(card, given.latents)
    if unable:
        return card.absent(not_applicable, unable)
    if card.judged and given.judge is None:
        return card.absent(not_applicable, NOBODY)
    if card.tables and not any(getattr(given.tasks, table) for table in card.tables):
        return card.absent(*without(given.tasks, *card.tables))
    return found(card.measure)(given)


def _unable(card: Card, latents: Latents) -> str:
    """Return why a family has no meaning for a model or a dictionary, empty if it has one."""
    if card.predicts and not latents.model.predicts:
        return why_silent(latents.model)
    return latents.in_context if card.alone else ""


def without(tasks: Tasks, *tables: str) -> tuple[Callable[..., Estimate], str]:
    """Return what becomes of a figure whose tables are not there, and why.

    Args:
        tasks: of the run.
        tables: kinds of tables, any one of which it needs.

    Returns:
        `undefined` where one is there and could not be used, else `no_data`; and the reason.
    """
    unusable = tasks.unusable(*tables)
    if unusable:
        return undefined, unusable
    return (
        no_data,
        f"{tasks.source} has no {' and no '.join(f'[[{each}]]' for each in tables)} table",
    )


def marked(estimates: Sequence[Estimate], card: Card, tasks: Tasks) -> list[Estimate]:
    """Return estimates that say which tasks of their family they do without.

    Args:
        estimates: of a family.
        card: of it.
        tasks: of the run.
    """
    gone = {each.told: each.reason for each in tasks.left_out if each.kind in card.reads}
    if not gone:
        return list(estimates)
    return [replace(each, details={**each.details, LEFT_OUT: gone}) for each in estimates]


def corpus_of(tasks: Tasks, what: str) -> Corpus:
    """Return the held-out texts of tasks; see `Given.corpus`.

    Args:
        tasks: of the run.
        what: is measured on them, for the message.

    Raises:
        DataError: the data have none.
    """
    unusable = tasks.unusable("corpus")
    if unusable:
        raise DataError(unusable)
    if tasks.corpus is None:
        raise DataError(
            f"{tasks.source} has no [corpus] table. Expected a file of held-out texts "
            f"there to measure {what}: name one, or leave its tests out with -k."
        )
    return tasks.corpus
