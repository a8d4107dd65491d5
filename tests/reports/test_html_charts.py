"""Which curves share a chart, and what they are held against."""

from __future__ import annotations

import re
from dataclasses import replace

from pytest_sae.records.row import Row, unmeasured_row
from pytest_sae.reports.html_charts import charts

CURVE = {"1": {"value": 0.6}, "5": {"value": 0.8}}
SAES = {"good": "c0"}


def row(k: int, references: object = None) -> Row:
    blank = unmeasured_row("good", f"sparse_probing.auc:k={k}", "", "t")
    return replace(blank, details={"curve": CURVE, "references": references})


def test_the_settings_of_k_share_a_chart_as_those_of_n_do() -> None:
    drawn = charts([row(1), row(5)], SAES)
    assert drawn.count("<figure>") == 1
    assert drawn.count('class="headline"') == 2
    assert "k=1" not in drawn
    assert 'class="floor"' not in drawn


def test_what_a_curve_is_held_against_is_a_level_line_at_its_value() -> None:
    held = {"all activations": 0.8, "odd": "<script>"}
    drawn = charts([row(1, held), row(5, held)], SAES)
    assert drawn.count('class="floor"') == 1
    assert "<title>all activations, good: 0.8</title>" in drawn
    (level,) = re.findall(r'class="floor"[^>]* y1="([\d.]+)" y2="([\d.]+)"', drawn)
    heights = re.findall(r'class="mark" cx="[\d.]+" cy="([\d.]+)"', drawn)
    assert level[0] == level[1] == heights[1]


def test_a_reference_above_the_curve_is_within_the_chart() -> None:
    drawn = charts([row(1, {"all activations": 0.99})], SAES)
    (level,) = re.findall(r'class="floor"[^>]* y1="([\d.]+)"', drawn)
    heights = re.findall(r'class="mark" cx="[\d.]+" cy="([\d.]+)"', drawn)
    assert 0 < float(level) < min(map(float, heights))


def test_what_is_no_mapping_of_numbers_is_left_out() -> None:
    for odd in ([1], "x", {"a": None}, {"a": float("nan")}):
        assert 'class="floor"' not in charts([row(1, odd)], SAES)
