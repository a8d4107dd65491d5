"""What a run must judge, from what is known before its first test.

planned(saes, thresholds, baseline, narrowed) -> Plan
controls_needed(thresholds) -> names of controls, by metric
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from pytest_sae.gate.baseline import Baseline
from pytest_sae.gate.rules import Rule, Thresholds
from pytest_sae.numbers.keys import parse_key
from pytest_sae.records.plan import Item, Plan


def planned(
    saes: Sequence[str],
    thresholds: Iterable[Thresholds],
    baseline: Baseline | None = None,
    narrowed: Sequence[str] = (),
    required: Sequence[str] = (),
) -> Plan:
    """Return what must be judged: every SAE, every gating rule on it, every value of its baseline.

    Args:
        saes: ids of the run, or of all its shards.
        thresholds: files whose rules are in force.
        baseline: what is compared with, None for nothing.
        narrowed: flags and arguments by which the user chose a part of the tests.
        required: families that the user wants measured on every SAE.
    """
    files = list(thresholds)
    items = [
        item
        for sae in saes
        for item in (
            Item("sae", sae, "", "the run"),
            *(each for file in files for each in _of_rules(sae, file)),
            *_of_baseline(sae, baseline),
            *(Item("family", sae, family, "--sae-require") for family in required),
        )
    ]
    return Plan(tuple(dict.fromkeys(items)), tuple(narrowed))


def controls_needed(thresholds: Iterable[Thresholds]) -> dict[str, frozenset[str]]:
    """Return the controls that bounds are relative to, by metric.

    Args:
        thresholds: files whose rules are in force.
    """
    found: dict[str, frozenset[str]] = {}
    for file in thresholds:
        changed = ((each.metric, each.changes.get("bound")) for each in file.overrides)
        for name, bound in (*((r.name, r.bound) for r in file.rules.values() if r.gate), *changed):
            if bound is not None:
                metric = parse_key(name)[0]
                found[metric] = found.get(metric, frozenset()) | {*bound.names}
    return found


def _of_rules(sae: str, thresholds: Thresholds) -> Iterator[Item]:
    for name, rule in _in_force(sae, thresholds):
        # What a baseline has a value of is planned with the baseline.
        if rule.gate and not rule.beside_baseline:
            yield Item("rule", sae, name, rule.at())


def _in_force(sae: str, thresholds: Thresholds) -> Iterator[tuple[str, Rule]]:
    """Give the rules as overrides leave them for an SAE, those that overrides alone make too."""
    made = [each.metric for each in thresholds.overrides if fnmatchcase(sae, each.sae)]
    for name in dict.fromkeys((*thresholds.rules, *made)):
        metric, params = parse_key(name)
        rule = thresholds.rule_for(metric, params, sae)
        if rule is not None:
            yield name, rule


def _of_baseline(sae: str, baseline: Baseline | None) -> Iterator[Item]:
    if baseline is not None:
        for entry in baseline.entries:
            # What was published is compared where it is measured; nobody has to measure it.
            if entry.sae == sae and not entry.published:
                yield Item("baseline", sae, entry.key[1], baseline.source)
