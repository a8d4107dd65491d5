"""Density histograms and figures by token group, drawn from details of any form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_sae.records.row import Row, unmeasured_row
from pytest_sae.reports.html_latents import latents

SAES = {"good": "c0"}
DENSITY = {"log10_edges": [-1.0, -0.5, 0.0], "latents": [8, 2]}


def row(metric: str, **details: Any) -> Row:
    return replace(unmeasured_row("good", metric, "", "t"), details=details)


def test_bars_are_as_high_as_the_counts_and_say_them() -> None:
    drawn = latents([row("dead_share", density=DENSITY)], SAES)
    assert drawn.count("<rect") == 2
    assert 'height="84.0"' in drawn
    assert 'height="21.0"' in drawn
    assert "8 latents, density 10^-1 to 10^-0.5" in drawn


def test_each_kind_of_token_has_its_figure() -> None:
    groups = {"first": {"tokens": 1200, "value": 0.25}, "special": {"tokens": 3, "value": None}}
    drawn = latents([row("mse", groups=groups)], SAES)
    assert "0.2500" in drawn
    assert "1,200 tokens" in drawn
    assert drawn.count("<tr>") == 2


def test_each_kind_of_token_has_its_densities() -> None:
    groups = {
        "first": {"tokens": 9, "value": 0.5, "density": {**DENSITY, "latents": [3, 1]}},
        "special": {"tokens": 2, "value": None, "density": "odd"},
    }
    drawn = latents([row("dead_share", density=DENSITY, groups=groups)], SAES)
    assert drawn.count("<figure>") == 2
    assert "density of the latents of good</figcaption>" in drawn
    assert "density of the latents of good, first token</figcaption>" in drawn
    assert "3 latents, density" in drawn


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"density": "<script>"},
        {"density": {"log10_edges": [0], "latents": [1, 2]}},
        {"density": {"log10_edges": [-1, 0], "latents": [float("nan")]}},
        {"density": {"log10_edges": [-1, 0], "latents": [-4]}},
        {"groups": {"odd": {}}},
        {"groups": [1]},
    ],
)
def test_what_is_not_of_the_form_is_left_out(details: dict[str, Any]) -> None:
    assert latents([row("dead_share", **details)], SAES) == ""


def test_nothing_of_a_report_is_trusted_as_html() -> None:
    odd = row("dead_share", density=DENSITY, groups={"first": {"tokens": 1, "value": 1.0}})
    drawn = latents([replace(odd, sae="<script>")], {"<script>": "c0"})
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
