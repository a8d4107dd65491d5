"""Reports of many SAEs: how large they are, and what a page of them leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.errors import OptionError
from pytest_sae.records.report import Report
from pytest_sae.records.schema import read_report, read_values, write_report
from pytest_sae.reports.html import FEW, html
from pytest_sae.reports.of_sae import chosen, of_sae
from tests.reports.many import BYTES, DETAILS, GATED, ROWS, many

SAES = 200
MOST_JSON, MOST_HTML = 20_000_000, 5_000_000


def sizes(whole: Report, directory: Path) -> tuple[int, int]:
    """The bytes of report.json and of report.html."""
    return write_report(whole, directory).stat().st_size, len(html(whole).encode())


def at(saes: int, few: int, some: int) -> float:
    """What grows evenly, where it is known of 25 SAEs and of 35."""
    return few + (saes - 25) * (some - few) / 10


def test_two_hundred_saes_stay_below_the_limits_by_the_growth_of_few(tmp_path: Path) -> None:
    (json, page), (more_json, more_page) = (sizes(many(n), tmp_path) for n in (25, 35))
    assert (more_json - json) / 10 >= BYTES  # no SAE is smaller than one of a `standard` run
    assert at(SAES, json, more_json) < MOST_JSON
    assert at(SAES, page, more_page) < MOST_HTML


@pytest.mark.slow
def test_two_hundred_saes_stay_below_the_limits(tmp_path: Path) -> None:
    whole = many(SAES, details=DETAILS // ROWS)
    json, page = sizes(whole, tmp_path)
    assert SAES * BYTES <= json < MOST_JSON
    assert page < MOST_HTML
    assert read_report(tmp_path) == whole


def test_a_page_of_which_everything_fails_stays_below_the_limit() -> None:
    few, some = (html(failing(many(n))) for n in (25, 35))
    assert at(SAES, len(few.encode()), len(some.encode())) < MOST_HTML
    assert f"of {25 * ROWS:,} such values 1,000" in few
    assert f"and {25 * ROWS - 300} more, in report.json" in few


def failing(whole: Report) -> Report:
    rows = [replace(row, verdict="fail", outcome="failed") for row in whole.measurements]
    return replace(whole, measurements=(*rows,))


def test_a_page_of_many_saes_has_each_with_what_decides_and_what_is_red() -> None:
    whole = many(FEW + 1)
    page = html(whole)
    for name in (each.id for each in whole.saes):
        assert f"{name}</th>" in page
    assert page.count('<article><span class="badge bad">') == FEW + 1
    table = page.partition('id="values"')[2].partition("</table>")[0]
    assert table.count("<tr data-k=") == FEW + 1  # of each the one value that fails
    assert "pytest-sae report report.json --sae=NAME" in page
    assert f"step_000011 and {FEW + 1 - 12} more</p>" in page


def test_a_page_of_few_saes_leaves_nothing_out() -> None:
    page = html(many(FEW))
    table = page.partition('id="values"')[2].partition("</table>")[0]
    assert table.count("<tr data-k=") == FEW * ROWS
    assert "--sae=NAME" not in page


def test_the_page_of_one_sae_has_all_of_it_and_its_own_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = many(FEW + 1)
    good = [
        replace(row, verdict="pass", outcome="passed") if row.sae == "step_000003" and row.red
        else row
        for row in whole.measurements
    ]  # fmt: skip
    write_report(replace(whole, measurements=(*good,)), tmp_path)
    assert main(["report", str(tmp_path), "--sae=step_00000[34]"]) == 0
    pages = [tmp_path / f"report.step_00000{place}.html" for place in (3, 4)]
    assert capsys.readouterr().out == "".join(f"{page}\n" for page in pages)
    for page, verdict in zip(pages, ("pass", "fail"), strict=True):
        text = page.read_text()
        assert f"SAE gate <b>{verdict}</b>" in text
        assert text.count("<tr data-k=") == ROWS
    assert not (tmp_path / "report.html").exists()


def test_an_sae_that_is_in_no_report_has_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = many(2)
    with pytest.raises(OptionError, match=r"--sae=step_00000: .* Did you mean 'step_000001'"):
        chosen(whole, "step_00000")
    write_report(whole, tmp_path)
    assert main(["report", str(tmp_path), str(tmp_path), "--sae=step_000000"]) == 2
    assert "Expected one report" in capsys.readouterr().err


def test_the_part_of_one_sae_is_judged_as_it_is_in_the_whole() -> None:
    whole = many(3)
    part = of_sae(whole, "step_000001")
    assert (part.verdict, len(part.measurements), len(part.plan.items)) == ("fail", ROWS, GATED)


def test_values_are_read_without_their_details(tmp_path: Path) -> None:
    whole = many(2)
    write_report(whole, tmp_path)
    (tmp_path / "report.details.jsonl").unlink()
    rows = [replace(row, details={}) for row in whole.measurements]
    assert read_values(tmp_path) == replace(whole, measurements=(*rows,))
