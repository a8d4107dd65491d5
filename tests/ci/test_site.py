"""The pages that the documentation's site draws itself."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import pytest_sae
from pytest_sae.families.registry import card_of, cards

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / ".ci" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_family_has_a_page_with_all_of_its_numbers(site: ModuleType) -> None:
    pages = site.pages()
    for card in cards():
        for spec in card.metrics:
            assert f"`{spec.name}`" in pages[f"metrics/{card.name}.md"]


def test_a_page_says_what_gates_and_what_is_recorded(site: ModuleType) -> None:
    page = site.family_page(card_of("core"))
    assert "| `explained_variance` | `bound = { share = 0.99, from = " in page
    assert "| `l0` | recorded, judged by nothing |" in page


def test_a_page_has_the_rows_of_the_audit(site: ModuleType) -> None:
    audit = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    row = re.findall(r"^\| tpp\.margin:n=20 \|.*$", audit, re.M)[0]
    assert row in site.family_page(card_of("tpp"))


def test_what_was_not_audited_says_so(site: ModuleType) -> None:
    assert "it is not measured" in site.family_page(card_of("ravel"))


def test_the_first_page_is_the_readme_with_links_that_lead_somewhere(site: ModuleType) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", site.first_page())
    assert "options.md" in links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []


def test_every_document_is_in_the_navigation() -> None:
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if path.name not in config]
    assert missing == []


def test_the_python_api_is_all_that_the_package_offers(site: ModuleType) -> None:
    page = site.api_page()
    assert all(
        f"::: pytest_sae.{name}\n" in page for name in pytest_sae.__all__[:-1] if name[0] != "_"
    )
