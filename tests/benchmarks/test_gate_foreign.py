"""What is counted against the gate, and where the figures of the tables come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import foreign_texts
from benchmarks.gate_foreign import Seen, counts, figures, tables


def row(verdict: str, metric: str = "explained_variance", **more: Any) -> Mapping[str, Any]:
    plain = {"params": {}, "value": 0.5, "se": 0.1, "status": "ok", "direction": "higher"}
    rule = {"file": "thresholds.toml", "line": 8}
    told = {"reason": "0.5 < 0.75", "rule": rule, "controls": [], "details": {}}
    return {"metric": metric, "verdict": verdict, **plain, **told, **more}


def test_a_good_one_that_is_red_and_a_worthless_one_that_is_green_are_counted():
    rows = {"topk": [row("fail")], "relu": [row("pass")], "random": [row("pass")]}
    assert counts([Seen("w", rows)]) == [
        "good that are red: 1 of 2: w/topk",
        "worthless that are green: 1 of 1: w/random",
    ]


def test_a_dictionary_that_nothing_was_measured_of_is_red():
    assert Seen("w", {"topk": []}).red("topk") == ["not measured"]


def test_damage_that_no_bound_is_asked_to_see_counts_as_neither():
    rows = {"topk-010": [row("pass")], "permuted-003": [row("fail")]}
    assert [line.partition(":")[2][:7] for line in counts([Seen("w", rows)])] == [" 0 of 0"] * 2


def test_figures_at_other_n_come_from_the_curve_and_the_row_s_own_does_not():
    curve = {"2": {"value": 0.1, "se": 0.01}, "20": {"value": 9.0, "se": 0.01}}
    told = figures(row("pass", "scr", params={"n": 20}, details={"curve": curve}))
    assert {name: each["value"] for name, each in told.items()} == {"scr:n=20": 0.5, "scr:n=2": 0.1}


def test_the_table_says_which_rule_is_red():
    text = "\n".join(tables([Seen("w", {"topk": [row("fail")]})]))
    assert "0.5 ± 0.1 | **fail**: 0.5 < 0.75 (thresholds.toml:8)" in text


def test_no_text_of_the_grammar_s_tasks_stands_in_both_splits():
    material = foreign_texts.grammar("here")
    for splits in material.datasets.values():
        texts = [{row["text"] for row in rows} for rows in splits.values()]
        assert texts[0].isdisjoint(texts[1])
