"""The templates of report.html: nothing that is told draws, and mistakes are told at their line."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from pytest_sae.reports import pages
from pytest_sae.reports.pages import rendered, titled

TEMPLATES = Path(pages.__file__).parent / "templates"


@given(st.text())
def test_what_a_page_is_given_is_text_in_it(text: str) -> None:
    page = rendered("about.html", parts=[("Where", [(text, text)], [])])
    row = re.search(r'<tr><th scope="row">([^<>]*)</th><td>([^<>]*)</td></tr>', page)
    assert row is not None
    assert [unescape(cell) for cell in row.groups()] == [unescape(str(titled(text)))[7:-8]] * 2


def test_a_name_that_nobody_gave_is_an_error_at_its_line() -> None:
    with pytest.raises(UndefinedError) as raised:
        rendered(
            "table.html", key="", saes={}, filters=[], count=0, columns="", lines=[],
            declined=[[]], meanings=[],
        )  # fmt: skip
    template = TEMPLATES / "table.html"
    (at,) = {each.lineno for each in raised.traceback if each.path == template}
    assert "names(group)" in template.read_text().splitlines()[at]


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_no_tag_and_no_expression_goes_over_a_line_break(template: Path) -> None:
    """A line break is dropped, and with it the space that such a tag would need."""
    for line in template.read_text().splitlines():
        bare = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", line)
        assert not re.search(r"\{[{%#]|[}%#]\}", bare), line
        assert bare.count("<") == bare.count(">"), line
        assert line == line.strip()


def test_a_line_break_of_a_template_is_none_of_the_page() -> None:
    assert "\n" not in rendered("charts.html", name="n", title="t", key="k", saes={}, figures=[])
