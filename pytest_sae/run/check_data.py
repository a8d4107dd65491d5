"""The texts of a run, before it: tables that cannot be used, and those that rules need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.numbers.keys import parse_key
from pytest_sae.run.checked import Checked, checked

if TYPE_CHECKING:
    from pytest_sae.data.tasks import Tasks
    from pytest_sae.families.card import Card
    from pytest_sae.gate.rules import Rule

#: What measures held-out texts, without which nothing of it is measured.
_ON_CORPUS = ("core", "structure", "autointerp")


def data(named: str | None, suite: str) -> tuple[Tasks | None, list[Checked]]:
    """Return the tasks of a run, None where there are none, and what was found of them.

    Args:
        named: as --sae-data names it, None for the bundled texts.
        suite: whose sizes they have to fill.
    """
    what = f"data {named or 'bundled'}"
    read: list[Tasks] = []

    def look() -> str:
        read.append(_read(named, suite))
        return _told(read[0], suite)

    found = [checked(what, look)]
    for tasks in read:
        found += [Checked(f"{what} {each.told}", each.reason, "bad") for each in tasks.left_out]
    return (read[0] if read else None), found


def needed(tasks: Tasks, gating: Sequence[Rule]) -> Iterator[Checked]:
    """Give what rules gate on and no table is there for.

    Args:
        tasks: of the run.
        gating: rules that must be judged.
    """
    for rule in gating:
        card = card_of_metric(parse_key(rule.name)[0])
        lacking = _lacking(tasks, card) if card else ""
        if card is None or not lacking:
            continue
        what, name = f"rule {rule.name} ({rule.at()})", Path(tasks.source).name
        if rule.optional:
            yield Checked(what, f"not judged: {name} has no {lacking} table", "note")
        else:
            said = (
                f"{name} has no {lacking} table. Expected one, or optional = true in the rule, or "
                "gate = false with a reason"
            )
            yield Checked(what, said, "bad")


def card_of_metric(metric: str) -> Card | None:
    """Return the family that measures a metric, None for one that a test of the user's does."""
    from pytest_sae.families.registry import cards

    return next(
        (card for card in cards() if any(spec.name == metric for spec in card.metrics)), None
    )


def _lacking(tasks: Tasks, card: Card) -> str:
    """The tables that a family measures on, where there is none of them."""
    tables = card.tables or (("corpus",) if card.name in _ON_CORPUS else ())
    if not tables or any(getattr(tasks, table) for table in tables):
        return ""
    return " and no ".join(f"[{each}]" if each == "corpus" else f"[[{each}]]" for each in tables)


def _read(named: str | None, suite: str) -> Tasks:
    from pytest_sae.data.sources import named_tasks
    from pytest_sae.session.suites import SUITES

    return named_tasks(named, SUITES[suite].sizes, seed=0)


def _told(tasks: Tasks, suite: str) -> str:
    from pytest_sae.session.suites import SUITES

    sizes = SUITES[suite].sizes
    texts = len(tasks.corpus.texts) if tasks.corpus else 0
    fewer = ""
    if tasks.corpus and sizes.corpus_texts and texts < sizes.corpus_texts:
        fewer = f" of the {sizes.corpus_texts} that {suite} takes"
    return f"{texts} held-out texts{fewer}, {len(tasks.scr)} SCR and {len(tasks.tpp)} TPP tasks"
