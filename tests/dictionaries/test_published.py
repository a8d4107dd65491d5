"""All that sae_lens publishes is read, or refused for a reason; docs/formats.md says which."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_sae.dictionaries.hub import releases
from tests.dictionaries.published import DOCUMENT, Outcome, document, walk

pytestmark = pytest.mark.whole  # minutes: every one of some 14,000 entries


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return list(walk())


def test_every_entry_of_the_table_has_an_outcome(outcomes: list[Outcome]) -> None:
    assert len(outcomes) == sum(len(each["saes"]) for each in releases.table().values())
    assert all(each.family or each.why for each in outcomes)


def test_all_that_the_table_corrects_is_read_with_its_corrections(outcomes: list[Outcome]) -> None:
    found = Counter(each.settings for each in outcomes if each.loader == "sae_lens")
    del found[()]
    assert found == {
        ("center_writing_weights",): 21,
        ("center_writing_weights", "norm_factor"): 12,
        ("normalize_activations",): 3,
        ("norm_factor",): 1,
    }


def test_the_document_is_what_the_walk_found(outcomes: list[Outcome]) -> None:
    assert DOCUMENT.read_text() == document(outcomes)
