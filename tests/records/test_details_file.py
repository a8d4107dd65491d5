"""Details beside a report: bound to it by their checksum, and missed with a remark alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.gate.baseline_file import read_baseline
from pytest_sae.gate.merge import merge
from pytest_sae.numbers.estimate import LEFT_OUT, Estimate
from pytest_sae.records import schema
from pytest_sae.records.details_file import digest, sidecar
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.run_verdict import unusable
from pytest_sae.records.schema import builtins, read_report, read_values, write_report
from pytest_sae.run.previous_report import ASIDE, PreviousReport
from tests.reports.examples import CURVE, report, row, rule
from tests.whole import whole_report

FILE = "report.details.jsonl"


def of(*rows: Row) -> Report:
    return report([*rows])


def scr(value: float = 0.3, **details: object) -> Row:
    return row(Estimate("scr", value, {"n": 10}, details={"curve": CURVE, **details}))


def bare(whole: Report) -> list[Row]:
    return [replace(each, details={}) for each in whole.measurements]


def test_details_stand_in_a_line_each_that_names_its_row(tmp_path: Path) -> None:
    path = write_report(report(), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [(each["metric"], each["params"]) for each in lines] == [
        ("scr", {"n": 2}),
        ("scr", {"n": 10}),
    ]
    assert all(each["details"] == {"curve": CURVE} for each in lines)
    assert "curve" not in path.read_text()


def test_a_report_without_its_details_is_read_and_says_so(tmp_path: Path) -> None:
    path = write_report(report(), tmp_path)
    (tmp_path / FILE).unlink()
    read = read_report(path)
    assert [*read.measurements] == bare(report())
    (remark,) = read.remarks
    assert remark == (
        "curves, tables and evidence of its rows are left out: report.details.jsonl is not beside "
        "report.json. Move both together"
    )


def test_a_report_that_was_renamed_has_its_details_beside_it(tmp_path: Path) -> None:
    write_report(report(), tmp_path).rename(tmp_path / "before.json")
    (tmp_path / FILE).rename(tmp_path / "before.details.jsonl")
    assert read_report(tmp_path / "before.json") == report()


def test_details_of_another_report_are_not_taken(tmp_path: Path) -> None:
    one, two = (write_report(of(scr(value)), tmp_path / str(value)) for value in (0.3, 0.4))
    sidecar(one).write_text(sidecar(two).read_text() + "\n")
    read = read_report(one)
    assert [*read.measurements] == bare(of(scr(0.3)))
    assert "report.details.jsonl belongs to another report" in read.remarks[0]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"row": 9, "sae": "topk", "metric": "scr", "params": {"n": 10}, "details": {}}',
        '{"row": 0, "sae": "topk", "metric": "tpp", "params": {"n": 10}, "details": {}}',
        '{"row": 0, "sae": "topk", "metric": "scr", "params": {"n": 10}, "details": 1}',
        '{"row": 0, "sae": "topk", "metric": "scr", "params": {"n": 10}, "details": {"x": NaN}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_no_details_is_not_taken(tmp_path: Path, line: str) -> None:
    path = write_report(of(scr()), tmp_path)
    (tmp_path / FILE).write_text(f"{line}\n")
    document = json.loads(path.read_text())
    document["details"]["sha256"] = digest((tmp_path / FILE).read_bytes())
    path.write_text(json.dumps(document))
    read = read_report(path)
    assert [*read.measurements] == bare(of(scr()))
    assert "holds no details of report.json" in read.remarks[0]


def test_a_report_without_details_takes_an_older_file_away(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    write_report(of(), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_a_line_separator_within_a_text_ends_no_line(tmp_path: Path) -> None:
    whole = of(scr(text="a\u2028b\x85c\n"), scr(0.5, text="d"))
    assert read_report(write_report(whole, tmp_path)) == whole


def test_what_a_verdict_rests_on_stays_in_the_report(tmp_path: Path) -> None:
    gone = {LEFT_OUT: {"bios": "no texts"}, "repeats": {"sd": 0.1, "values": [1.0, 2.0]}}
    judged = row(Estimate("scr", 0.3, details={**gone, "curve": CURVE}), rule("scr", min=0.1))
    path = write_report(of(judged), tmp_path)
    (tmp_path / FILE).unlink()
    (read,) = read_values(path).measurements
    assert read.details == gone
    assert merge([read_report(path)]).verdict == "incomplete"
    assert unusable([read]) == unusable([judged])


def test_merged_reports_keep_details_and_say_which_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(report([scr()]), Path("one"))
    other = replace(report().saes[0], id="relu")
    write_report(report([replace(scr(), sae="relu")], saes=(other,)), Path("two"))
    Path("two", FILE).unlink()
    main(["merge", "one", "two", "--output=both"])
    both = read_report("both")
    assert {each.sae: [*each.details] for each in both.measurements} == {
        "topk": ["curve"],
        "relu": [],
    }
    (remark,) = both.remarks
    assert remark.startswith("relu: curves, tables and evidence of its rows are left out")
    assert remark in Path("both/report.html").read_text()


def test_a_report_as_it_was_written_before_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(
        json.dumps({**builtins(report()), "schema_version": 3}, indent=1)
    )
    assert read_report(tmp_path) == report(schema_version=3)
    again = write_report(read_report(tmp_path), tmp_path / "again")
    assert json.loads(again.read_text())["schema_version"] == 4
    assert read_report(again) == report()


def test_a_report_of_the_last_version_is_the_baseline_that_it_was(tmp_path: Path) -> None:
    now = write_report(report(exit_status=0), tmp_path / "now")
    before = tmp_path / "before.json"
    before.write_text(json.dumps(whole_report(now)))
    assert read_baseline(before, "b").entries == read_baseline(now, "b").entries != []


def test_details_are_set_aside_and_put_back_with_their_report(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    previous = PreviousReport(tmp_path)
    previous.set_aside()
    assert read_report(tmp_path / ASIDE) == report()
    assert not (tmp_path / FILE).exists()
    previous.put_back()
    assert read_report(tmp_path) == report()
    previous.set_aside()
    previous.discard()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("table", ["rules", "reasons", "metrics", "measured", "fingerprints"])
def test_a_row_that_names_an_entry_that_is_not_there_is_refused(
    tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_report(report(), tmp_path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, table: []}))
    assert main(["merge", str(path), f"--output={tmp_path / 'merged'}"]) == 2
    assert f"{table} has 0 entries, and a row names number 0" in capsys.readouterr().err


def test_details_that_do_not_fit_on_the_disk_leave_the_report_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(of(scr(0.3)), tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="full"):
        write_report(of(scr(0.4)), tmp_path)
    assert read_report(tmp_path) == of(scr(0.3))
    assert len([*tmp_path.iterdir()]) == 2


def test_a_report_that_was_killed_between_its_files_is_the_older_one_without_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(of(scr(0.3)), tmp_path)
    monkeypatch.setattr(schema, "write_whole", lambda file, text: file.write_text(text) and die())
    with pytest.raises(KeyboardInterrupt):
        write_report(of(scr(0.4, more=1)), tmp_path)
    read = read_report(path)
    assert [*read.measurements] == bare(of(scr(0.3)))
    assert "belongs to another report" in read.remarks[0]


def full(*_: object, **__: object) -> None:
    raise OSError(28, "the disk is full")


def die() -> None:
    raise KeyboardInterrupt
