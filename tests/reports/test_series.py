"""Several reports side by side: one page, each value over its reports with the bounds of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.cli import main
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.report import SAE, Report
from pytest_sae.records.row import Against, Row
from pytest_sae.records.schema import write_report
from pytest_sae.reports.html_series import series
from pytest_sae.reports.series import before_and_now, columns, unlike
from tests.reports.examples import estimates, report, row, rule, texts
from tests.reports.test_html import said

NO_PLACE = r'(?:x|y|x1|x2|y1|y2|cx|cy|points)="[^"]*(?:nan|inf)'


def variance(value: float, sae: str = "main", least: float = 0.7) -> Row:
    estimate = Estimate("explained_variance", value, se=0.01, ci=(value - 0.02, value + 0.02))
    return row(estimate, rule("explained_variance", min=least), sae)


def of(*rows: Row) -> Report:
    return report(rows, saes=tuple(SAE(name, name, name) for name in {row.sae for row in rows}))


def page(reports: Mapping[str, Report]) -> str:
    return series(columns([*reports.items()]))


def points(html: str) -> list[str]:
    """What the points and bounds of the charts say."""
    return [unescape(each) for each in re.findall(r"<title>([^<]*, at=[^<]*)</title>", html)]


def test_each_value_stands_over_its_reports_with_the_bound_of_each() -> None:
    reports = {"step_1": of(variance(0.81)), "step 2": of(variance(0.93, least=0.8))}
    html = page(reports)
    assert points(html) == [
        "bound of main, at=step_1: 0.7000",
        "bound of main, at=step_2: 0.8000",
        "main, at=step_1: 0.8100 (0.7900 to 0.8300)",
        "main, at=step_2: 0.9300 (0.9100 to 0.9500)",
    ]
    told = said(html)
    assert "step 2, the last of 2" in told
    assert "+0.1200" in told


def test_a_bound_far_from_all_values_is_told_at_the_edge_and_does_not_flatten_the_line() -> None:
    html = page({"a": of(variance(0.900, least=0.1)), "b": of(variance(0.901, least=0.1))})
    assert "bound 0.1 ↓" in said(html)
    heights = [float(each) for each in re.findall(r'<circle[^>]* cy="([\d.]+)"', html)]
    assert heights[0] - heights[1] > 2


def test_what_misses_its_bound_is_open_and_red_and_said_so() -> None:
    html = page({"a": of(variance(0.9)), "b": of(variance(0.6))})
    assert [*re.findall(r'<circle class="([^"]*)"', html)] == ["mark", "mark open"]
    assert "✗ 0.6" in said(html)
    assert "✗ fail" in said(html)


def test_single_saes_are_one_line_whatever_they_are_called() -> None:
    one = columns([("x", of(variance(0.9, "step_1"))), ("y", of(variance(0.8, "step_2")))])
    assert [[*column.rows] for column in one] == [[("step_2", "explained_variance")]] * 2
    several = of(variance(0.9, "one"), variance(0.8, "two"))
    both = columns([("x", of(variance(0.7, "one"))), ("y", several)])
    assert {line for line, _ in both[0].rows} == {"one"}
    assert {line for line, _ in both[1].rows} == {"one", "two"}


def test_an_sae_that_a_report_does_not_have_leaves_a_gap() -> None:
    both = of(variance(0.9, "one"), variance(0.8, "two"))
    html = page({"x": both, "y": of(variance(0.7, "one")), "z": both})
    assert sum("two, at=" in each and "bound" not in each for each in points(html)) == 2
    assert "not in y" in said(page({"x": both, "y": of(variance(0.7, "one"))}))


def test_what_was_not_made_alike_is_said_with_how_many_values_it_is_about() -> None:
    old = replace(variance(0.9), fingerprints={"data": "d", "sae": "one"})
    new = replace(variance(0.8), fingerprints={"data": "e", "sae": "two"})
    found = columns([("x", of(old)), ("y", of(old)), ("z", of(new))])
    assert unlike(found) == [
        "x and z were not made alike: data was d, is e (1 value)",
        "y and z were not made alike: data was d, is e (1 value)",
    ]
    assert unlike(found[:2]) == []
    assert unlike(found)[0] in said(series(found))


def test_a_comparison_has_what_was_before_and_leaves_out_what_cannot_be_compared() -> None:
    moved = replace(variance(0.8), baseline=Against("kept", 0.9, 0.02, (), False, None))
    other = replace(
        row(Estimate("mse", 2.0)),
        sae="main",
        baseline=Against("kept", 1.0, None, ("data was d, is e",), False, None),
    )
    before, now = before_and_now(of(moved, other), "kept", "new")
    assert {key: row.value for key, row in before.rows.items()} == {
        ("main", "explained_variance"): 0.9
    }
    assert {key: row.value for key, row in now.rows.items()} == {
        ("main", "explained_variance"): 0.8, ("main", "mse"): 2.0,
    }  # fmt: skip
    assert "main, at=kept: 0.9000" in points(series([before, now]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(estimates, max_size=3), min_size=1, max_size=3), texts)
def test_nothing_in_reports_can_draw_or_fetch_anything(
    measured: list[list[Estimate]], name: str
) -> None:
    reports = [
        (f"{name}{place}", of(*(row(each, None, name) for each in estimates)))
        for place, estimates in enumerate(measured)
    ]
    html = series(columns(reports))
    said(html)
    assert not re.search(NO_PLACE, html)


def test_the_largest_numbers_have_a_place() -> None:
    huge = [of(row(Estimate("l0", sign * 1.79e308), rule("l0", min=0))) for sign in (1, -1)]
    html = page({"a": huge[0], "b": huge[1]})
    assert len(re.findall("<circle", html)) == 2
    assert not re.search(NO_PLACE, html)


def test_forty_reports_have_labels_that_do_not_overlap_and_the_last_among_them() -> None:
    html = page({f"checkpoint_{n:03}": of(variance(0.9 + n / 1000)) for n in range(40)})
    labels = re.findall(r'<text x="([\d.]+)" y="212" text-anchor="middle">([^<]*)<', html)
    places = [float(x) for x, _ in labels]
    assert labels[-1][1].endswith("039")
    assert all(second - first >= 52 for first, second in pairwise(places))
    assert len(points(html)) >= 40


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Directories of three reports."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("one", 0.8), ("two", 0.85), ("three", 0.9)):
        write_report(of(variance(value)), Path(name))
    return ["one", "two", "three"]


def test_the_command_draws_one_page_beside_the_last_report(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *three]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "SAE gate: pass (1 pass; 1 SAE)", "three/series.html",
    ]  # fmt: skip
    html = Path("three/series.html").read_text()
    assert [each.split(":")[0] for each in points(html) if "bound" not in each] == [
        "main, at=one", "main, at=two", "main, at=three",
    ]  # fmt: skip
    assert "http" not in html.replace("http-equiv", "")
    assert main(["report", *three[:2], "--output=drawn"]) == 0
    assert Path("drawn/series.html").is_file()


def test_a_report_that_is_none_among_several_is_named(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *three, "nowhere"]) == 2
    assert "nowhere cannot be read" in capsys.readouterr().err


def test_a_comparison_writes_the_same_page(three: list[str]) -> None:
    assert main(["compare", "one", "three", "--output=compared"]) == 0
    html = Path("compared/series.html").read_text()
    assert "main, at=one: 0.8000" in points(html)
    assert "main, at=three: 0.9000 (0.8800 to 0.9200)" in points(html)
