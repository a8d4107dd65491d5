"""The plan: what a run must judge, known before its first test, and what of it is left.

Item(kind, sae, name, by)        Plan(items, narrowed).left(rows) -> list[Item]
judges(row) -> whether something was decided about its metric
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pytest_sae.families.registry import cards
from pytest_sae.numbers.keys import fits, parse_key
from pytest_sae.records.fields import Strict
from pytest_sae.records.row import Row


@dataclass(frozen=True)
class Item(Strict):
    """One thing that a run must judge.

    Args:
        kind: `sae`: the SAE at all; `rule`: a metric that gates; `baseline`: a value that the
            baseline has; `family`: a family that the user wants measured.
        sae: id of the SAE.
        name: of the rule (`scr`, `scr:n=20`) or family, or key of the value; empty for the SAE at
            all.
        by: what asks for it: `file:line` of the rule, or the baseline.
    """

    kind: Literal["sae", "rule", "baseline", "family"]
    sae: str
    name: str
    by: str

    def __post_init__(self) -> None:
        """Refuse a rule whose name no key is spelled like, which a report may hold."""
        if self.kind == "rule":
            parse_key(self.name)

    def met_by(self, row: Row) -> bool:
        """Whether a row is what this item asks for."""
        if row.sae != self.sae:
            return False
        if self.kind == "baseline":
            return row.key == self.name and not row.declined
        if self.kind == "family":
            return not row.declined and self._has(row)
        if self.kind == "sae":
            return judges(row) and not row.declined
        return judges(row) and fits(self.name, row.metric, row.params)

    def why(self, rows: Iterable[Row]) -> str:
        """Return why a family was not measured, as its rows say; empty where none does."""
        found = (row.reason for row in rows if row.sae == self.sae and self._has(row))
        return next(found, "") if self.kind == "family" else ""

    def _has(self, row: Row) -> bool:
        # That of another package need not be installed where reports are merged.
        family = [card for card in cards() if card.name == self.name]
        return any(row.metric == spec.name for card in family for spec in card.metrics)

    @property
    def told(self) -> str:
        """What it is, for people."""
        if self.kind == "sae":
            return f"no metric of {self.sae} was judged"
        if self.kind == "family":
            return f"{self.name} of {self.sae} is required ({self.by}), and was not measured"
        asks = "gates by" if self.kind == "rule" else "is in"
        return f"{self.name} of {self.sae} {asks} {self.by}, and was not judged"


@dataclass(frozen=True)
class Plan(Strict):
    """What a run must judge.

    Args:
        items: each once, in the order of SAEs, rules and values.
        narrowed: flags and arguments by which the user chose a part of the tests.
    """

    items: tuple[Item, ...] = ()
    narrowed: tuple[str, ...] = ()

    def about(self, saes: Iterable[str]) -> Plan:
        """Return a plan that asks for some judgement of each SAE too, whatever its report planned.

        Args:
            saes: ids of all that reports name.
        """
        asked = (Item("sae", sae, "", "the run") for sae in saes)
        return Plan(tuple(dict.fromkeys((*asked, *self.items))), self.narrowed)

    def left(self, rows: Iterable[Row]) -> list[Item]:
        """Return the items that no row meets, in their order."""
        of: dict[str, list[Row]] = {}
        for row in rows:
            of.setdefault(row.sae, []).append(row)
        return [item for item in self.items if not any(map(item.met_by, of.get(item.sae, ())))]


#: Of a report from before there were plans.
NOTHING = Plan()


def judges(row: Row) -> bool:
    """Whether a row decides something: what is only shown, or only new, does not.

    What is declared not to exist here has been looked at, where its rule lets it be absent.
    """
    if row.verdict == "ungated":
        return row.declined
    if row.verdict == "new":
        return row.rule is not None and row.rule.bounded
    return True
