"""The chart of an erasure frontier."""

from __future__ import annotations

import re

from pytest_sae.numbers.estimate import Estimate
from pytest_sae.reports.frontiers import read
from pytest_sae.reports.html import html
from tests.reports.examples import report, row


def at(n: int, removal: float, collateral: float) -> dict[str, object]:
    return {"n": n, "removal": {"value": removal}, "collateral": {"value": collateral}}


FRONTIER = {
    "sae": [at(1, 0.2, 0.01), at(5, 0.5, 0.05)],
    "random": [at(1, 0.1, 0.1), at(5, 0.3, 0.4)],
    "leace": [at(0, 1.0, 0.02)],
    "words": [at(0, 0.6, 0.03)],
}


def test_a_frontier_is_drawn_with_its_references() -> None:
    page = html(report([row(Estimate("erasure", 0.4, details={"frontier": FRONTIER}))]))
    assert "Erasure frontiers" in page
    assert "topk, n=5: 0.5 removed, 0.05 lost" in page
    assert "LEACE: 1 removed, 0.02 lost" in page
    assert "words deleted: 0.6 removed, 0.03 lost" in page
    assert page.count('class="reference"') == 2
    line = re.search(r'class="line" points="([^"]*)"', page)
    assert line is not None
    xs = [float(pair.split(",")[0]) for pair in line[1].split()]
    assert len(xs) == 3
    assert xs == sorted(xs)


def test_reports_without_a_frontier_have_no_such_section() -> None:
    assert "Erasure frontiers" not in html(report())


def test_what_is_no_frontier_is_not_drawn() -> None:
    for broken in (None, [], {"sae": "x"}, {"sae": [{"n": 1}]}, {"random": FRONTIER["random"]}):
        assert read(broken) == {}
    assert "Erasure frontiers" not in html(
        report([row(Estimate("erasure", 0.4, details={"frontier": {"sae": [1, None]}}))])
    )
