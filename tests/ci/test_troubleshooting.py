"""What docs/troubleshooting.md explains is what the package says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `([^`]*)` \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def said() -> str:
    """The package's source, with the parts of each string put together."""
    source = "\n".join(path.read_text() for path in (ROOT / "pytest_sae").rglob("*.py"))
    return re.sub(r'"\s*\n\s*f?"', "", source)


def test_the_page_quotes_messages() -> None:
    assert len(QUOTED) > 15


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_that_is_explained_is_said(message: str, said: str) -> None:
    assert message in said
