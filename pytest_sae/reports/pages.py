"""Pages from the templates beside this file: whatever a report says is escaped in them."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

from pytest_sae.numbers.plain import number
from pytest_sae.records import told
from pytest_sae.records.verdicts import UNDISCRIMINATING, difference
from pytest_sae.reports import html_marks


class _LineBreaks(Extension):
    """A line break in a template is there for its author: in a page it would be a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        if not (name or "").endswith(".html"):
            return source
        # Within a comment, so that errors still tell the lines of the template.
        return re.sub(r"\s*\n\s*", lambda found: f"{{#{found[0]}#}}", source)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("pytest_sae.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=[_LineBreaks],
    )
    made.globals |= {
        "UNDISCRIMINATING": UNDISCRIMINATING,
        "difference": difference,
        "look": html_marks,
        "number": number,
        "told": told,
    }
    return made


def rendered(template: str, **given: object) -> Markup:
    """Return a page, or a part of one.

    Args:
        template: name of its file.
        given: what it shows, by the names that it uses.
    """
    return Markup(_templates().get_template(template).render(given))


def titled(text: str) -> Markup:
    """Return what an SVG element says where it is pointed at."""
    return Markup("<title>{}</title>").format(text)
