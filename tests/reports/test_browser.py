"""report.html in a real browser: what is seen, clicked, copied, saved, printed, and by whom.

On demand, with `-m browser`; needs the extra `browser` and a Chromium of the machine.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import SAE, Report
from pytest_sae.records.row import Against, Row
from pytest_sae.records.verdicts import Verdict
from pytest_sae.reports.html import html
from pytest_sae.reports.html_series import series
from pytest_sae.reports.series import columns
from tests.records.rows import row_of
from tests.reports.examples import CURVE, report, rule

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
VARIANCE = {"one": 0.91, "two": 0.62, "three": 0.84}


def measured(sae: str, variance: float) -> list[Row]:
    controls = (
        Control("random", "below", "higher", -1.2),
        Control("pca", "reference", "higher", 0.8),
    )
    estimate = Estimate(
        "explained_variance", variance, se=0.01, ci=(variance - 0.02, variance + 0.02)
    )
    bound = rule("explained_variance", min=0.7)
    verdict = Verdict("pass" if variance > 0.7 else "fail", f"{variance} against min 0.7")
    row = row_of(Measurement(sae, estimate, controls=controls), verdict, bound, f"t.py::t[{sae}]")
    plain = Verdict("ungated", "no rule")
    curve = Estimate("scr", 0.3, {"n": 10}, details={"curve": CURVE})
    return [
        replace(row, outcome="passed", baseline=Against("kept", 0.8, 0.01, (), False, None)),
        row_of(Measurement(sae, Estimate("l0", 30 + variance)), plain, None, "t.py::l0"),
        row_of(Measurement(sae, Estimate("mse", 2.0)), plain, None, "t.py::mse"),
        row_of(Measurement(sae, curve), plain, None, "t.py::scr"),
    ]


def whole() -> Report:
    rows = [row for sae, variance in VARIANCE.items() for row in measured(sae, variance)]
    saes = tuple(SAE(name, f"saes/{name}", f"saes/{name}") for name in VARIANCE)
    return report(rows, saes=saes, options={"suite": "smoke", "sae": ["saes/*"]})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser`")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html(whole()), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    """The page, which asks nobody for anything and has no error."""
    opened = browser.new_page(viewport={"width": 1366, "height": 900})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    assert [each for each in said if each != file.as_uri() and not each.startswith("blob:")] == []
    opened.close()


def shown(page: Any) -> list[str]:
    """Return metric and SAE of the rows of the table that are seen."""
    rows = page.locator("#values tbody tr:visible").all()
    return [" ".join(row.locator("th, td").all_inner_texts()[:2]) for row in rows]


def test_the_first_screen_says_which_sae_to_release(page: Any) -> None:
    for text in ("pass: one, three. fail: two", "0.62 against min 0.7", "Quality against sparsity"):
        box = page.get_by_text(text).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900


def test_what_decides_is_shown_first_and_the_rest_on_a_click(page: Any) -> None:
    assert len(shown(page)) == 6
    page.get_by_role("button", name="failed").click()
    assert shown(page) == ["explained_variance↑ two"]
    page.get_by_role("button", name="all", exact=True).click()
    assert len(shown(page)) == 12
    page.get_by_label("containing").fill("three")
    assert len(shown(page)) == 4
    assert page.locator("#shown").inner_text() == "4 of 12 shown"


def test_a_click_on_a_column_sorts_by_number_and_tells_it_to_a_reader(page: Any) -> None:
    column = page.locator("#saes").get_by_role("button", name="explained_variance")
    for order, names in (
        ("descending", ["one", "three", "two"]),
        ("ascending", ["two", "three", "one"]),
    ):
        column.click()
        assert page.locator("#saes tbody th").all_inner_texts() == names
        assert column.locator("..").get_attribute("aria-sort") == order


def test_the_keyboard_reaches_the_filters(page: Any) -> None:
    page.get_by_role("button", name="failed").focus()
    page.keyboard.press("Enter")
    assert len(shown(page)) == 1


def test_what_is_shown_is_copied_as_tsv(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="failed").click()
    page.locator('[data-copy="values"]').click()
    page.get_by_text("copied").wait_for()
    head, line = page.evaluate("navigator.clipboard.readText()").split("\n")
    told = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert (told["sae"], told["metric"], told["value"]) == ("two", "explained_variance", "0.62")


def test_what_is_shown_is_saved_as_csv(page: Any, tmp_path: Path) -> None:
    with page.expect_download() as started:
        page.locator('[data-save="values"]').click()
    started.value.save_as(tmp_path / "values.csv")
    with (tmp_path / "values.csv").open(newline="") as saved:
        told = list(csv.DictReader(saved))
    assert len(told) == 6
    assert {row["sae"]: float(row["value"]) for row in told if row["low"]} == VARIANCE


def test_every_chart_shows_its_data_on_one_click(page: Any) -> None:
    for figure in page.locator("figure").all():
        figure.get_by_role("button", name="data").click()
        assert figure.locator(".points tr").count() > 1
    quality = page.locator("#quality .points").first
    assert quality.locator("tr", has_text="two").first.locator("td").all_inner_texts() == [
        "bound of two", "30.62", "0.7000", "", "",
    ]  # fmt: skip


def test_a_red_row_has_the_command_that_reruns_it(page: Any) -> None:
    page.locator("#failed summary").first.click()
    told = page.locator("#failed .command code").first.inner_text()
    assert told == "pytest 't.py::t[two]' --sae=saes/two"


def test_contents_stay_in_view_and_lead_to_their_part(page: Any) -> None:
    link = page.get_by_role("navigation").get_by_role("link", name="Measurements")
    link.click()
    assert link.is_visible()
    assert page.locator("#measurements h2").bounding_box()["y"] < 100


def test_a_phone_has_no_part_that_sticks_out(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_on_paper_nothing_is_folded_cut_or_filtered(page: Any) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 without its margins
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(shown(page)) == 12
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 703
    wide = (
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    )
    assert page.evaluate(f"{wide}.length") == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra `browser`")
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_on_several_reports_works_alike(browser: Any, tmp_path: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra `browser`")
    file = tmp_path / "series.html"
    file.write_text(series(columns([("first", whole()), ("second", whole())])), encoding="utf-8")
    opened = browser.new_page(viewport={"width": 1366, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda request: said.append(request.url))
    opened.goto(file.as_uri())
    opened.locator("#over .show").first.click()
    assert "second" in opened.locator(".points").inner_text()
    found = axe.Axe().run(opened).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    opened.get_by_role("button", name="failed").click()
    assert shown(opened) == ["explained_variance↑ two"]
    assert said == [file.as_uri()]
    opened.close()
