"""Rules: what one metric is held to, and which rule is in force for which SAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from pytest_sae.numbers.estimate import Param
from pytest_sae.numbers.keys import fits, parse_key
from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.records.rule import AppliedRule, Tolerance


@dataclass(frozen=True)
class Regression(Tolerance):
    """How much worse than a baseline is too much, as a file says it: what it leaves out is known.

    A run is red if a single metric is: at two standard errors of noise, one run in thirty is red by
    chance, and one in ten where all eight metrics are measured that gate without a judge; at three,
    one in four hundred (docs/gate.md).
    """

    abs: float = 0.0
    rel: float = 0.0
    sigma: float = 3.0


#: For a metric with a better direction whose rule has no `regression`.
DEFAULT = Regression(rel=0.02)


@dataclass(frozen=True)
class Rule(AppliedRule):
    """The bounds of one metric, or of one metric at one setting, as a file says them.

    Args:
        regression: how much worse than an earlier state of the same SAE is too much, None for the
            default.
        other_seed: the same where the baseline is another run of the recipe, None for
            `regression`.
        optional: True where the metric may be absent because the run has no data for it, False
            where it must be there even if the model cannot do the task; None for neither.
        lines: line of the table's header (under "") and of each of its keys.
    """

    min: float | None = None
    max: float | None = None
    max_se: float | None = None
    regression: Tolerance | None = None
    other_seed: Tolerance | None = None
    gate: bool = True
    optional: bool | None = None
    reason: str = ""
    override: str = ""
    file: str = ""
    line: int = 1
    lines: Mapping[str, int] = field(default_factory=dict)

    def line_of(self, key: str = "") -> int:
        """Line of a key, or of the table's header."""
        return self.lines.get(key, self.lines.get("", self.line))

    def at(self, key: str = "") -> str:
        """Return `file:line` of a key, or of the table's header."""
        return f"{self.file}:{self.line_of(key)}"

    def allowed(self, direction: Direction) -> Tolerance | None:
        """Return how much worse is too much, None where nothing says which way is worse."""
        return self.regression or (None if direction == "none" else DEFAULT)

    def of_other_seed(self) -> Rule:
        """Return the rule as it is where the baseline is another run of the recipe."""
        return replace(self, regression=self.other_seed or self.regression)

    def applied(self, direction: Direction, decided_by: str = "") -> AppliedRule:
        """Return it as it is in force on a row.

        Args:
            direction: which way of the row's metric is better.
            decided_by: the key that decided, whose line is told; empty where none did.
        """
        allowed = self.allowed(direction)
        regression = Tolerance(allowed.abs, allowed.rel, allowed.sigma) if allowed else None
        own = {each.name: getattr(self, each.name) for each in fields(AppliedRule)}
        return AppliedRule(**{**own, "line": self.line_of(decided_by), "regression": regression})


@dataclass(frozen=True)
class Override:
    """What a file says differently about some SAEs, for a reason and for a time.

    Args:
        sae: pattern of their ids, as of file names (`*`, `?`, `[...]`).
        metric: whose rule it changes: `l0`, `scr:n=20`.
        changes: the fields of `Rule` that it sets.
        reason: why.
        expires: the last day on which it may be used.
        lines: as in `Rule`.
    """

    sae: str
    metric: str
    changes: Mapping[str, Any]
    reason: str
    expires: date
    lines: Mapping[str, int]

    def of_other_seed(self) -> Override:
        """Return the override as it is where the baseline is another run of the recipe."""
        other = self.changes.get("other_seed")
        return replace(self, changes={**self.changes, "regression": other}) if other else self

    def over(self, rule: Rule) -> Rule:
        """Return a rule as this override leaves it."""
        lines = {**rule.lines, **self.lines}
        return replace(rule, **self.changes, reason=self.reason, override=self.sae, lines=lines)


@dataclass(frozen=True)
class Thresholds:
    """All rules of one file.

    Args:
        file: the file, as shown to people.
        sha256: of its bytes.
        rules: by name.
        overrides: in the order of the file; where several fit, the last one wins.
    """

    file: str
    sha256: str
    rules: Mapping[str, Rule]
    overrides: Sequence[Override] = ()

    def of_other_seed(self) -> Thresholds:
        """Return the rules as they are where the baseline is another run of the recipe.

        Two runs differ by more than two states of one: what is measured on the same texts says how
        much of a difference is due to the texts, and not how much is due to the seed.
        """
        return replace(
            self,
            rules={name: rule.of_other_seed() for name, rule in self.rules.items()},
            overrides=tuple(each.of_other_seed() for each in self.overrides),
        )

    def rule_for(self, metric: str, params: Mapping[str, Param], sae: str = "") -> Rule | None:
        """Return the most specific rule that fits, as overrides for the SAE leave it.

        Returns:
            None where the file is silent.
        """
        fitting = [rule for rule in self.rules.values() if fits(rule.name, metric, params)]
        rule = max(
            fitting, key=lambda rule: (len(parse_key(rule.name)[1]), rule.name), default=None
        )
        for override in self.overrides:
            if fnmatchcase(sae, override.sae) and fits(override.metric, metric, params):
                rule = override.over(rule or Rule(override.metric, file=self.file))
        return rule
