"""The plan: no run is green while anything of it is left, whatever runs are made of."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.gate.baseline import Baseline, Entry
from pytest_sae.gate.planned import planned
from pytest_sae.gate.rules import Override, Regression, Rule, Thresholds
from pytest_sae.gate.verdict import judge
from pytest_sae.gate.whole_run import left_out, run_verdict
from pytest_sae.numbers.estimate import Estimate, no_data, not_applicable, undefined
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.row import Against, Row
from tests.records.rows import row_of

SAES = ("a", "b")
METRICS = ("tpp", "l0", "cosine")


def thresholds(*rules: Rule, overrides: tuple[Override, ...] = ()) -> Thresholds:
    return Thresholds("t.toml", "ff", {rule.name: rule for rule in rules}, overrides)


@st.composite
def bounds(draw: st.DrawFn) -> Thresholds:
    names = draw(st.lists(st.sampled_from([*METRICS, "tpp:n=20"]), unique=True))
    return thresholds(
        *(
            Rule(name, min=draw(st.floats(0.1, 0.9)), gate=draw(st.booleans()), reason="why")
            for name in names
        )
    )


def estimates(metric: str) -> st.SearchStrategy[Estimate]:
    params = {"n": 20} if metric == "tpp" else {}
    return st.one_of(
        st.floats(0, 1).map(lambda value: Estimate(metric, value, params, se=0.01)),
        st.just(undefined(metric, "nothing fired", params)),
        st.just(not_applicable(metric, "by declaration", params)),
        st.just(no_data(metric, "no table", params)),
    )


@st.composite
def rows(draw: st.DrawFn, file: Thresholds) -> list[Row]:
    """Rows of some metrics of some SAEs, judged as a run judges them."""
    kept = draw(st.lists(st.tuples(st.sampled_from(SAES), st.sampled_from(METRICS)), unique=True))
    found = []
    for sae, metric in kept:
        estimate = draw(estimates(metric))
        rule = file.rule_for(metric, estimate.params, sae)
        verdict = judge(estimate, rule)
        found.append(row_of(Measurement(sae, estimate), verdict, rule, f"t[{sae}-{metric}]"))
    return found


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_run_passes_while_a_gating_rule_or_an_sae_is_unjudged(data: st.DataObject) -> None:
    file = data.draw(bounds())
    measured = data.draw(rows(file))
    narrowed = data.draw(st.sampled_from([(), ("-k",)]))
    plan = planned(SAES, [file], None, narrowed)
    verdict = run_verdict(measured, [], [], True, plan)
    decided = {
        (row.sae, row.metric)
        for row in measured
        if row.verdict != "ungated" or row.status == "not_applicable"
    }
    unjudged = [
        (sae, rule)
        for sae in SAES
        for rule in file.rules.values()
        if rule.gate and (sae, rule.name.partition(":")[0]) not in decided
    ]
    if unjudged:
        assert verdict != "pass"
    if verdict == "pass":
        assert {row.sae for row in measured if row.verdict == "pass"} == set(SAES)
    if verdict == "partial":
        assert narrowed


def test_items_are_the_saes_their_rules_and_the_values_of_their_baseline() -> None:
    file = thresholds(Rule("tpp", min=0.1), Rule("l0", gate=False, reason="a budget"))
    baseline = Baseline("kept", (Entry("a", "cosine", {}, 0.5), Entry("z", "cosine", {}, 0.5)))
    items = planned(["a"], [file], baseline).items
    assert [(each.kind, each.name, each.by) for each in items] == [
        ("sae", "", "the run"),
        ("rule", "tpp", ":1"),
        ("baseline", "cosine", "kept"),
    ]


def test_an_override_makes_a_rule_for_the_saes_that_it_fits_and_takes_one_away() -> None:
    made = Override("a*", "cosine", {"min": 0.5}, "why", date(2100, 1, 1), {"": 7})
    off = Override("b*", "tpp", {"gate": False}, "why", date(2100, 1, 1), {"": 9})
    file = thresholds(Rule("tpp", min=0.1), overrides=(made, off))
    rules = {(item.sae, item.name) for item in planned(SAES, [file]).items if item.kind == "rule"}
    assert rules == {("a", "tpp"), ("a", "cosine")}


def test_values_of_a_baseline_are_told_together() -> None:
    entries = tuple(Entry("a", "tpp", {"n": n}, 0.5) for n in range(5))
    plan = planned(["a"], [], Baseline("kept", entries))
    assert left_out(plan, [])[-1] == (
        "5 values of a in kept were not measured: tpp:n=0, tpp:n=1, tpp:n=2, ..."
    )


def test_what_is_only_new_has_not_been_judged_by_a_rule_about_regressions() -> None:
    estimate = Estimate("tpp", 0.5, se=0.01)
    against = Against("kept", None, None, (), False, None)
    for rule, left in ((Rule("tpp", regression=Regression(abs=0.1)), 2), (Rule("tpp", min=0.1), 0)):
        verdict = judge(estimate, rule, against=against, direction="higher")
        assert verdict.name == "new"
        row = row_of(Measurement("a", estimate), verdict, rule, "t", against)
        assert len(planned(["a"], [thresholds(rule)]).left([row])) == left


def test_what_decides_beside_a_baseline_alone_is_planned_with_the_values_of_one() -> None:
    rules = [thresholds(Rule("tpp", beside_baseline=True))]
    alone = planned(["a"], rules)
    beside = planned(["a"], rules, Baseline("kept", [Entry("a", "tpp", {}, 0.5)]))
    assert [each.kind for each in alone.items] == ["sae"]
    assert [(each.kind, each.name) for each in beside.items] == [("sae", ""), ("baseline", "tpp")]
