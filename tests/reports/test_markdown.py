"""report.md: the verdict of each SAE first, and never longer than a comment may be."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.report import SAE, Report
from pytest_sae.reports.markdown import markdown
from tests.reports.examples import report, row, rows, rule


def of(count: int, reason: str = "") -> Report:
    names = [f"sae_{place}" for place in range(count)]
    measured = [
        replace(row(Estimate("l0", 32.0), rule("l0", min=least), name), reason=reason or "l0")
        for name in names
        for least in (20, 40)
    ]
    return report(measured, saes=tuple(SAE(name, name, name) for name in names))


def test_the_verdict_of_each_sae_stands_first_with_its_reason() -> None:
    good = row(Estimate("explained_variance", 0.9), rule("explained_variance", min=0.7), "good")
    lines = markdown(report([*rows(), good])).splitlines()
    assert lines[2] == "| SAE | verdict | why | explained\\_variance | l0 |"
    assert lines[4].startswith(
        "| topk | ✗ fail | explained\\_variance 0.6120 &lt; min 0.7000; 2 of"
    )
    assert lines[5] == ("| good | ✓ pass | the only gated value is within bounds | 0.9 | - |")


@pytest.mark.parametrize("count", [1, 60, 1500])
def test_however_many_saes_there_are_it_fits_a_comment(count: int) -> None:
    text = markdown(of(count, "a long reason, " * 9))
    assert len(text) <= 60_000
    assert text.startswith("## SAE gate: fail")
    assert "| sae\\_0 | ✗ fail |" in text
    assert re.search(r"^and \d+ more, in report.html$", text, re.MULTILINE) or count < 1500


@settings(max_examples=30, deadline=None)
@given(st.integers(800, 5000), st.integers(1, 40))
def test_what_is_left_out_is_counted(most: int, count: int) -> None:
    text = markdown(of(count), most)
    assert len(text) <= most
    first = text.split("\n\n| SAE | verdict")[1].split("\n\n- ")[0]
    more = re.search(r"and (\d+) more", first)
    assert first.count("| sae\\_") + int(more[1] if more else 0) == count


def test_a_cut_page_closes_what_it_opens() -> None:
    text = markdown(of(1500))
    assert text.count("<details>") == text.count("</details>")
