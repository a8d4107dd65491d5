"""report.html: what it shows, and that nothing in a report can draw or fetch anything."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.families.registry import heading_of, known, place_of
from pytest_sae.numbers.control import CONTROLS, Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import SAE, Notable, Report
from pytest_sae.records.row import Against
from pytest_sae.records.verdicts import Verdict
from pytest_sae.reports.curves import levels, points
from pytest_sae.reports.html import html
from pytest_sae.reports.html_about import lasting
from pytest_sae.reports.html_bars import scale_of
from pytest_sae.reports.html_marks import colours
from tests.records.rows import row_of
from tests.reports.examples import CURVE, estimates, report, row, rows, rule, texts

finite = st.floats(allow_nan=False, allow_infinity=False)


class _Strict(HTMLParser):
    """Refuses tags that were never meant, handlers, and anything that could be fetched."""

    allowed = frozenset(
        """html head meta title style body main header section article h1 h2 h3 p b ul li dl dt dd
        div span small code table thead tbody tr th td svg g rect line figure figcaption polygon
        polyline circle text details summary mark nav a button label input wbr path
        script""".split()  # noqa: SIM905
    )
    void = frozenset(("meta", "input", "wbr"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said = ""
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.allowed
        assert not any(name.startswith("on") or name in ("src", "style") for name, _ in attrs)
        assert all(str(value).startswith("#") for name, value in attrs if name == "href")
        if tag == "script":
            assert attrs == []
            self.scripts += 1
        self.open += [] if tag in self.void else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += "" if {"style", "script"} & {*self.open} else data


def said(page: str) -> str:
    """Return what a page shows, without its tags."""
    parser = _Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert parser.scripts <= 1
    return parser.said


def first(tag: str, page: str) -> str:
    """Return the first element of a page that has this tag."""
    start, end = page.index(f"<{tag}"), f"</{tag.split()[0]}>"
    return page[start : page.index(end, start)] + end


def values(page: str) -> str:
    """Return the table of all values of a page."""
    return first('table class="data" id="values"', page)


def two() -> Report:
    """Return the report of two SAEs that were measured alike."""
    return report(rows() + [replace(each, sae="other") for each in rows()])


@settings(max_examples=40, deadline=None)
@given(st.lists(estimates, max_size=3), texts)
def test_no_text_of_a_report_draws_anything(measured: list[Estimate], sae: str) -> None:
    named = SAE(sae, sae, sae)
    whole = report(
        [row(each, sae=sae) for each in measured], problems=(sae,), saes=(named,), data={sae: sae},
        work={sae: {sae: sae, "seconds": {sae: 1.0}}}, options={"suite": sae}, argv=(sae,),
        tests=(Notable(sae, sae, "failed", sae),),
    )  # fmt: skip
    assert sae.strip() in said(html(whole))


def test_the_page_needs_no_network_and_runs_its_own_script_alone() -> None:
    page = html(report())
    for word in ("http://", "https://", "@import", "url(", "<link", "<img", "fetch("):
        assert word not in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


@pytest.mark.parametrize(
    ("verdict", "sort"), [("fail", "bad"), ("pass", "good"), ("ungated", "plain")]
)
def test_the_banner_says_verdict_counts_suite_and_when(verdict: str, sort: str) -> None:
    page = html(report(verdict=verdict))
    banner = first("header", page)
    assert f'class="banner {sort}"' in banner
    assert f"<b>{verdict}</b></h1>" in banner
    shown = said(banner)
    assert "1 fail1 unmeasured1 pass2 ungated" in shown
    assert "1 SAE · suite smoke · 2026-01-01 00:00:00 UTC · took 1.5 s · complete" in shown


def test_a_report_that_was_cut_off_says_so() -> None:
    shown = said(html(report(complete=False)))
    assert "incomplete: not everything that was asked for is here" in shown
    assert "· complete" not in shown
    assert "complete" in said(html(report()))


def test_each_failure_has_a_card_with_interval_and_rule() -> None:
    tests = (Notable("t.py::test_x", None, "crashed", ""),)
    page = html(report(problems=("worker lost",), tests=tests))
    assert page.count("<article>") == 4
    shown = said(page)
    assert "worker lost" in shown
    assert "t.py::test_x crashed: see the test run" in shown
    assert "explained_variance 0.6120 < min 0.7000 [topk]" in shown
    assert "interval0.6000 to 0.6240rulemin 0.7 at bounds.toml:3from400 texts" in shown


def test_a_green_report_has_no_cards() -> None:
    assert "<article>" not in html(report(rows()[1:4], verdict="pass"))


def test_why_something_is_unmeasured_is_in_the_table() -> None:
    table = said(values(html(report())))
    assert "unmeasured" in table
    assert "measuring tpp failed: <b>no</b> | room" in table


def test_what_the_rules_say_of_a_metric_is_told_once_beside_what_it_is() -> None:
    for bounds in ({"gate": False}, {"min": 0.1}):
        why = rule("scr", reason="ranks <by> chance", **bounds)
        twice = [row(Estimate("scr", 0.3, {"n": 10}), why, sae=sae) for sae in ("one", "two")]
        page = html(report(twice))
        told = said(first('section id="metrics"', page))
        assert told.endswith("ranks <by> chance")
        assert told.count("ranks <by> chance") == 1


def test_the_values_of_one_metric_stand_below_each_other() -> None:
    table = values(html(two()))
    names = [said(cell) for cell in re.findall(r"<th scope=.row.>.*?</th>", table)]
    assert names == [
        name
        for name in ("explained_variance↑", "l0", "scr↑n=2", "scr↑n=10", "tpp↑n=20")
        for _ in range(2)
    ]
    saes = re.findall(r"</th><td>(?:<svg.*?</svg>)?([^<]*)</td>", table)
    assert saes == ["other", "topk"] * 5


def test_each_row_says_what_it_is_filtered_by_and_what_is_copied_of_it() -> None:
    table = values(html(report()))
    kinds = re.findall(r'<tr data-k="([^"]*)"', table)
    assert kinds == [
        "red gated headline deciding", "gated headline deciding", "", "", "red gated deciding",
    ]  # fmt: skip
    head, *lines = [unescape(each).split("\t") for each in re.findall(r'data-x="([^"]*)"', table)]
    assert dict(zip(head, lines[0], strict=True)) | {"rule": ""} == {
        "sae": "topk", "metric": "explained_variance", "settings": "", "value": "0.612",
        "se": "0.006", "low": "0.6", "high": "0.624", "n": "400", "verdict": "fail",
        "bound_low": "0.7", "bound_high": "", "baseline": "", "rule": "",
    }  # fmt: skip
    assert len(lines) == 5


def test_the_first_screen_has_a_line_for_each_sae_with_its_reason() -> None:
    good = row(Estimate("l0", 32.0), rule("l0", min=20), "good")
    named = tuple(SAE(name, name, name) for name in ("topk", "good"))
    page = html(report([*rows(), good], saes=named))
    lines = [said(line) for line in re.findall(r"<tr>.*?</tr>", first('table class="data"', page))]
    assert lines[1].startswith("topk✗ failexplained_variance 0.6120 < min 0.7000; 2 of 3 gated")
    assert lines[2].startswith("good✓ passthe only gated value is within bounds")
    assert "pass: good. fail: topk" in said(first("header", page))


def test_every_red_row_has_the_command_that_reruns_it() -> None:
    page = html(report(options={"sae": ["saes/topk"]}))
    shown = said(first('section id="failed"', page))
    assert shown.count("rerunpytest") == 2
    assert "pytest 'evals/t.py::test_it[topk]' --sae=saes/topk" in shown


def test_contents_name_every_part_that_is_there() -> None:
    page = html(two())
    linked = re.findall(r'<a href="#([^"]*)"', first("nav", page))
    assert [name for name in linked if f'id="{name}"' not in page] == []
    parts = re.findall(r'<section id="([^"]*)"', page)
    assert sorted(linked) == sorted(["top", *parts])


def test_quality_is_drawn_against_l0_with_what_is_worse_by_far_at_the_edge() -> None:
    saes = {"a": 0.9, "b": 0.85, "lost": -9.0}
    measured = [
        each
        for sae, value in saes.items()
        for each in (
            row(Estimate("explained_variance", value, ci=(value - 0.01, value + 0.01)),
                rule("explained_variance", min=0.8), sae),
            row(Estimate("l0", 30.0 + value), None, sae),
        )
    ]  # fmt: skip
    chart = first('section id="quality"', html(report(measured, saes=())))
    marks = re.findall(r'<circle class="mark" cx="([^"]*)" cy="([^"]*)"', chart)
    assert len(marks) == 2
    assert float(marks[0][1]) < float(marks[1][1])
    assert chart.count('<path class="mark"') == 1
    assert "lost, L0=21: -9.0000" in unescape(said(chart))
    assert 'id="quality"' not in html(report(rows()[:1]))


def test_what_changed_against_the_baseline_is_counted_and_listed() -> None:
    before = Against("kept", 0.9, 0.01, (), False, None)
    worse = replace(rows()[0], baseline=before, verdict="regressed")
    same = replace(rows()[1], baseline=replace(before, value=32.0))
    shown = said(first('section id="changes"', html(report([worse, same]))))
    assert "2 values compared with kept: 1 regressed." in shown
    assert "0.9000 (-0.2880)" in shown
    assert 'id="changes"' not in html(report())


def test_ten_saes_make_a_page_under_two_megabytes() -> None:
    controls = tuple(Control(name, "below", "higher", -1.25, se=0.01) for name in CONTROLS[:5])
    measured = [
        row_of(
            Measurement(
                f"sae_{n}",
                Estimate(metric, 0.9, {"n": k}, se=0.01, ci=(0.88, 0.92)),
                controls=controls if place % 4 == 0 else (),
            ),
            Verdict("ungated" if place % 4 else "pass", "0.9 >= min 0.5"),
            rule(metric, min=0.5) if place % 4 == 0 else None,
            "evals/t.py::test_it",
        )
        for n in range(10)
        for k in (5, 20)
        for place, metric in enumerate(known()[:75])
    ]
    assert len(html(report(measured, saes=())).encode()) < 2_000_000


def test_an_sae_without_any_measurement_has_its_column() -> None:
    named = tuple(SAE(name, name, name) for name in ("lost", "topk"))
    assert list(colours(report(saes=named))) == ["lost", "topk"]


def test_a_declared_failure_is_not_shown_as_bad() -> None:
    failed = row(Estimate("explained_variance", 0.6), rule("explained_variance", min=0.7))
    page = html(report([replace(failed, outcome="xfailed")], verdict="pass"))
    assert '<span class="badge plain">· fail (xfail)</span>' in page
    assert "<article>" not in page


@pytest.mark.parametrize("metric", known())
def test_every_own_metric_has_a_family(metric: str) -> None:
    assert heading_of(metric) != "Other metrics"


def test_a_family_is_known_by_the_beginning_of_the_name() -> None:
    assert heading_of("scr.other") == heading_of("scr")
    assert heading_of("l0x") == heading_of("acme.scr") == "Other metrics"
    assert place_of("ce_recovered.zero") < place_of("ce_clean")
    unknown = row(Estimate("l0", 1.0))
    page = html(report([replace(unknown, metric="acme.depth")]))
    told = said(first('section id="metrics"', page))
    assert told.index("Other metrics") < told.index("acme.depth")


@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=4))
def test_everything_drawn_in_a_line_lies_on_its_common_scale(
    drawn: list[tuple[float, float, float]],
) -> None:
    lines = [row(Estimate("mse", value, ci=(low, high))) for value, low, high in drawn]
    scale = scale_of(lines)
    if scale:
        assert all(0 <= scale.share(each) <= 1 for three in drawn for each in (0.0, *three))


def test_a_bar_is_drawn_only_where_it_says_something() -> None:
    alone, twin = row(Estimate("mse", 3.0)), row(Estimate("mse", 3.0), sae="twin")
    assert scale_of([alone]) is None
    assert scale_of([alone, twin]) is None
    assert scale_of([row(Estimate("l0", None))]) is None
    assert scale_of([alone, row(Estimate("mse", 4.0), sae="other")])
    assert scale_of([row(Estimate("mse", 3.0), rule("mse", max=5))])
    assert scale_of([row(Estimate("cosine", 0.4))])


def test_bars_mark_every_bound() -> None:
    assert values(html(report())).count('class="bound"') == 3
    assert values(html(two())).count('class="bound"') == 6


def test_all_saes_share_a_chart_and_the_settings_of_n_a_curve() -> None:
    page = first('section id="curves"', html(report()))
    assert page.count("<figure>") == 1
    assert page.count('class="mark"') == 3
    assert re.findall(r'<text class="strong"[^>]*>([^<]*)', page) == ["n=2", "n=10"]
    both = first('section id="curves"', html(two()))
    assert both.count("<figure>") == 1
    assert both.count('class="mark"') == 6
    assert 'id="curves"' not in html(report(rows()[:2]))


def test_curves_are_read_in_both_forms() -> None:
    listed = [
        {"n": int(n), "value": each["value"], "ci": [each["low"], each["high"]]}
        for n, each in reversed(CURVE.items())
    ]
    assert points(listed) == points(CURVE)
    assert [point.n for point in points(CURVE)] == [2, 10, 50]
    assert points("x") == points([1]) == points({"x": {"value": 1}}) == []


@given(st.floats(max_value=0, allow_infinity=False), st.floats(min_value=0, allow_infinity=False))
def test_an_axis_has_few_levels_and_zero_among_them(low: float, high: float) -> None:
    drawn = levels(low, high)
    assert 0.0 in drawn
    assert len(drawn) <= 6
    assert drawn == sorted(drawn)
    assert all(math.isfinite(level) and low <= level <= high for level in drawn)


def test_how_it_was_made_is_folded_and_complete() -> None:
    work = {"main": {"passes": 1234, "seconds": {"pool": 100.0, "load": 25.0}}}
    page = html(report(work=work, data={"tasks": {"scr": {"train": 80}}}))
    about = page[page.index('<section id="about"') : page.index("</main>")]
    about = about[: about.index("</details></section>")] + "</details></section>"
    shown = said(about)
    for told in ("ab" * 32, "saes/topk", "passes1,234", "pool1 min 40 s", "load25.0 s"):
        assert told in shown
    assert "tasks / scrtrain 80" in shown
    assert re.findall(r'rect width="([^"]*)"', about) == ["100.0%", "25.0%"]


def test_durations_are_for_people() -> None:
    assert [lasting(0.21), lasting(59.0), lasting(99.8)] == ["0.2 s", "59.0 s", "1 min 40 s"]


POINT = {"value": 0.61, "se": 0.01, "low": 0.6, "high": 0.63}
RAISED = {**POINT, "gain": {"value": 0.11, "se": 0.01, "low": 0.09, "high": 0.13}}
SHIFT = {
    "table": {"none": {"plain": {"worst": POINT}}, "judge": {"refit": {"worst": RAISED}}},
    "candidates": [
        {
            "latent": 7,
            "ratings": {"gender: male or female": 4, "rating: 5 or 1": 0},
            "reason": "she & her <b>",
            "contexts": [" <<She>>(10) reads<<.>>(2)", "<script>x</script>"],
            "tasks": {"bios": {"accepted": "spurious"}, "reviews": {"accepted": None}},
        },
        {"latent": 8, "ratings": None, "tasks": {"bios": {"accepted": "intended"}}},
    ],
}


def test_shift_shows_every_selection_and_what_was_accepted_with_its_contexts() -> None:
    page = html(report([row(Estimate("shift", 0.3, {"n": 20}, details=SHIFT))]))
    text = said(page)
    for part in ("what the judge accepted", "0.610", "+0.110", "1 of 2 candidate latents"):
        assert part in text
    assert "latent 7" in text
    assert "latent 8" not in text
    assert '<mark class="l10">She</mark> reads<mark class="l2">.</mark>' in page


def test_every_classifier_has_a_column_for_every_accuracy() -> None:
    page = html(report([row(Estimate("shift", 0.3, {"n": 20}, details=SHIFT))]))
    headers = page.split('class="scroll judged"')[1].split("</thead>")[0]
    assert headers.count('scope="col"') - 1 == 9
    body = page.split('class="scroll judged"')[1].split("<tbody>")[1].split("</tr>")[0]
    assert body.count("<td>") == 9


def test_explanations_are_sorted_by_their_score_and_a_missing_one_is_named() -> None:
    details = {
        "latents": [
            {"latent": 1, "density": 0.01, "explanation": "weak", "scores": {"detection": 0.4}},
            {"latent": 2, "density": 0.02, "explanation": "strong", "scores": {"detection": 0.9}},
            {"latent": 3, "density": None, "explanation": None, "scores": {}},
        ]
    }
    text = said(html(report([row(Estimate("autointerp.detection", 0.6, details=details))])))
    assert text.index("strong") < text.index("weak") < text.index("no answer")


json_like = st.recursive(
    st.none() | st.booleans() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(table=json_like, one=json_like, ratings=json_like, contexts=json_like, tasks=json_like)
@settings(max_examples=60)
def test_details_of_any_other_form_are_left_out(
    table: Any, one: Any, ratings: Any, contexts: Any, tasks: Any
) -> None:
    candidate = {"latent": one, "ratings": ratings, "contexts": contexts, "tasks": tasks}
    shift = {"table": table or {"judge": one}, "candidates": [candidate, one]}
    explained = {"latents": [{"latent": one, "scores": ratings, "explanation": contexts}, one]}
    said(
        html(
            report(
                [
                    row(Estimate("shift", 0.3, {"n": 20}, details=shift)),
                    row(Estimate("autointerp.detection", 0.6, details=explained)),
                ]
            )
        )
    )


def test_a_report_says_who_judged_and_that_a_stand_in_is_one() -> None:
    judges = {"rules (bundled world only)": {"kind": "rules", "mode": "live"}}
    text = said(html(report(environment={"device": "cpu", "judges": judges})))
    assert "judged by rules (bundled world only): word lists" in text
    judges = {"openai/gpt-4o-mini": {"kind": "model", "mode": "replay"}}
    text = said(html(report(environment={"device": "cpu", "judges": judges})))
    assert "judged by openai/gpt-4o-mini, answers replayed from recordings" in text
    assert "judged" not in said(html(report(environment={"judges": "nobody"})))
