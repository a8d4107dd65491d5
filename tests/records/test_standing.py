"""Where each SAE of a run stands, by the rule that judges the run."""

from __future__ import annotations

from dataclasses import replace

from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.plan import Item, Plan
from pytest_sae.records.report import SAE
from pytest_sae.records.standing import standings
from tests.reports.examples import report, row, rows, rule

GOOD = row(Estimate("l0", 32.0), rule("l0", min=20), "good")


def test_each_sae_has_the_verdict_that_a_run_of_it_alone_would_have() -> None:
    bad, good = standings(report([*rows(), GOOD]))
    assert (good.sae, good.verdict) == ("good", "pass")
    assert (bad.sae, bad.verdict) == ("topk", "fail")
    assert standings(report(rows()))[0].verdict == report(rows()).verdict
    assert standings(report([GOOD], saes=()))[0].verdict == report([GOOD]).verdict


def test_a_sentence_says_the_verdict_and_why() -> None:
    told = {each.sae: each.sentence for each in standings(report([*rows(), GOOD]))}
    assert told == {
        "topk": "fail: explained_variance 0.6120 < min 0.7000; 2 of 3 gated values are red",
        "good": "pass: the only gated value is within bounds",
    }


def test_an_sae_of_which_nothing_was_measured_is_incomplete() -> None:
    named = tuple(SAE(name, name, name) for name in ("lost", "good"))
    lost, good = standings(report([GOOD], saes=named))
    assert lost.sentence == "incomplete: nothing was measured of lost"
    assert good.verdict == "pass"


def test_what_is_left_of_the_plan_counts_for_its_own_sae_alone() -> None:
    items = (Item("rule", "good", "scr", "t.toml:3"), Item("rule", "good", "l0", "t.toml:5"))
    whole = report([GOOD, replace(GOOD, sae="other")], saes=(), plan=Plan(items))
    good, other = standings(whole)
    assert good.sentence == "incomplete: 1 more to be judged, such as scr"
    assert other.verdict == "pass"
    part = replace(whole, plan=Plan(items, ("-k",)))
    assert standings(part)[0].verdict == "partial"


def test_without_rules_nothing_passes() -> None:
    assert standings(report([row(Estimate("l0", 3.0))], saes=()))[0].sentence == (
        "ungated: nothing was held to a bound"
    )
