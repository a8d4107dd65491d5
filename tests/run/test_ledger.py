"""The ledger by itself: what is missing becomes a row, whatever happened to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.records.row import Outcome, unmeasured_row
from pytest_sae.records.verdicts import VerdictName
from pytest_sae.run.journal import NAME, Journal, read_journal
from pytest_sae.run.ledger import Ledger

IDS = ["topk", "topk_1"]
TESTS = [f"t.py::test_it[{sae}-{key}]" for sae in IDS for key in ("l0", "scr:n:5")]


def ledger() -> Ledger:
    made = Ledger(lambda: IDS)
    made.expect(TESTS)
    return made


def finish(
    made: Ledger, nodeid: str, outcome: Outcome = "passed", verdict: VerdictName = "pass"
) -> None:
    sae = nodeid.partition("[")[2].partition("-")[0]
    row = unmeasured_row(sae, "l0", "", nodeid, outcome)
    made.started(nodeid, sae)
    made.finished(nodeid, sae, outcome, "", [replace(row, verdict=verdict)])


@settings(deadline=None)
@given(st.sets(st.sampled_from(TESTS)), st.sets(st.sampled_from(TESTS)), st.booleans())
def test_every_test_ends_in_a_row_and_only_complete_runs_are_green(
    done: set[str], crashed: set[str], stopped: bool
) -> None:
    made = ledger()
    for nodeid in sorted(done):
        finish(made, nodeid)
    for nodeid in sorted(crashed):
        made.crashed(nodeid, "died")
    missing = made.close(stopped)
    assert sorted(missing) == sorted(set(TESTS) - done - crashed)
    assert {row.nodeid for row in made.rows} == set(TESTS)
    assert made.red() == (set(TESTS) != done - crashed)
    assert {test.nodeid for test in made.tests()} == set(missing) | crashed


def test_a_test_that_was_set_up_and_not_heard_of_again_is_missing() -> None:
    made = ledger()
    for nodeid in TESTS[1:]:
        finish(made, nodeid)
    made.started(TESTS[0], "topk")
    assert made.close(stopped=False) == [TESTS[0]]
    (row,) = [row for row in made.rows if row.verdict == "unmeasured"]
    assert (row.sae, row.key, row.outcome, row.reason) == (
        "topk", "l0", "missing", "its report never arrived",
    )  # fmt: skip


def test_a_test_that_is_run_again_counts_as_it_ended() -> None:
    made = ledger()
    for nodeid in TESTS:
        finish(made, nodeid, "failed", "fail")
        finish(made, nodeid)
    assert made.close(stopped=False) == []
    assert len(made.rows) == len(TESTS)
    assert not made.red()


def test_other_tests_are_expected_and_have_no_rows() -> None:
    made = Ledger(lambda: IDS)
    made.expect(["t.py::test_plain", "t.py::test_other[1-2]"])
    assert not made.expects_metrics()
    assert made.close(stopped=False) == ["t.py::test_plain", "t.py::test_other[1-2]"]
    assert made.rows == []


def test_an_sae_with_nothing_but_ungated_rows_is_named() -> None:
    made = ledger()
    for nodeid in TESTS[:2]:
        finish(made, nodeid, verdict="ungated")
    for nodeid in TESTS[2:]:
        finish(made, nodeid)
    assert made.ungated() == ["topk"]


def test_a_journal_is_read_up_to_where_it_was_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("start")
    journal.append("row", row={"value": 0.1})
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-3])
    assert read_journal(path) == [{"event": "start"}]


def test_journals_are_moved_aside_under_names_of_their_own(tmp_path: Path) -> None:
    for number in range(3):
        journal = Journal(tmp_path)
        journal.append("start", number=number)
        journal.close()
    numbers = [json.loads(path.read_text())["number"] for path in tmp_path.iterdir()]
    assert sorted(numbers) == [0, 1, 2]
    assert read_journal(tmp_path / NAME)[0]["number"] == 2
