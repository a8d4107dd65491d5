"""Many rows of what is absent for one reason are told once, and none is lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.numbers.estimate import Status
from pytest_sae.records.row import ABSENT, Row, unmeasured_row
from pytest_sae.reports.declined import MANY, fold, told


def row(sae: str, metric: str, status: Status, reason: str) -> Row:
    verdict = "ungated" if status in ABSENT else "unmeasured"
    return replace(unmeasured_row(sae, metric, reason, "t"), status=status, verdict=verdict)


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from("ab"),
        st.sampled_from("xyz"),
        st.sampled_from(["ok", "undefined", "not_applicable", "no_data"]),
        st.sampled_from(["", "no words", "no model"]),
    ),
    max_size=30,
)


@given(ROWS)
def test_every_row_is_shown_or_told_and_only_what_is_absent_is_told(
    rows: list[Row],
) -> None:
    shown, groups = fold(rows)
    together = [*shown, *(each for group in groups for each in group)]
    assert sorted(map(id, together)) == sorted(map(id, rows))
    for group in groups:
        assert len(group) >= MANY
        assert {each.status for each in group} <= set(ABSENT)
        assert len({(each.sae, each.reason) for each in group}) == 1


def test_the_line_says_how_many_which_and_why() -> None:
    rows = [row("topk", f"probing.{name}", "not_applicable", "no data") for name in "abcd"]
    shown, (group,) = fold(rows)
    assert not shown
    assert told(group) == "4 metrics, probing.a to probing.d: no data [topk]"
