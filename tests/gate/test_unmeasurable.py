"""What nobody could measure here: without data, or where the model cannot do the task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_sae.gate.judged import judged, rejudged
from pytest_sae.gate.rules import Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.estimate import Estimate, no_data, unable
from pytest_sae.records.plan import Item, Plan
from pytest_sae.records.row import Against
from tests.reports.examples import row

WHY = "3 of 60 prompts (5 %) are answered rightly"
HAD = Against("base.json", 0.9, None, (), False, None)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (None, "ungated"),
        (Rule("ravel", min=0.5), "ungated"),
        (Rule("ravel", min=0.5, optional=True), "ungated"),
        (Rule("ravel", min=0.5, optional=False), "unmeasured"),
        (Rule("ravel", gate=False, optional=False, reason="a budget"), "ungated"),
    ],
)
def test_what_the_model_cannot_do_is_red_only_where_a_rule_says_that_it_must_be_there(
    rule: Rule | None, name: str
) -> None:
    verdict = judge(unable("ravel", WHY), rule)
    assert verdict.name == name
    assert verdict.reason.startswith(f"the model cannot do this task: {WHY}")


def test_what_the_model_could_do_before_is_red() -> None:
    verdict = judge(unable("ravel", WHY), Rule("ravel", min=0.5), against=HAD, direction="higher")
    assert verdict.name == "unmeasured"
    assert verdict.reason.endswith("(base.json has 0.9000)")


def test_it_is_no_verdict_on_the_sae() -> None:
    rule = Rule("ravel", min=0.5)
    found = row(unable("ravel", WHY), rule)
    assert (found.declined, found.red) == (True, False)
    asked = Plan((Item("rule", "topk", "ravel", "b.toml:1"), Item("sae", "topk", "", "the run")))
    assert [item.kind for item in asked.left([found])] == ["sae"]


@pytest.mark.parametrize("make", [unable, no_data])
@pytest.mark.parametrize("optional", [None, True, False])
@pytest.mark.parametrize("against", [None, HAD])
def test_it_is_judged_again_as_it_was(
    make: Callable[..., Estimate], optional: bool | None, against: Against | None
) -> None:
    rule = Rule("ravel", min=0.5, optional=optional)
    estimate = make("ravel", WHY)
    verdict = judge(estimate, rule, against=against, direction="higher")
    before = judged(row(estimate, rule), verdict, rule, against)
    again = rejudged(before)
    assert (again.verdict, again.reason) == (before.verdict, before.reason)
