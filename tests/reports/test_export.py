"""The values of a report in other programs: a data frame, CSV, parquet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

import pytest_sae
from pytest_sae import __version__
from pytest_sae.cli import main
from pytest_sae.records.flat import COLUMNS
from pytest_sae.records.schema import write_report
from pytest_sae.reports.write import apart
from tests.reports.examples import report
from tests.whole import whole_report

pandas = pytest.importorskip("pandas", reason="the extra `frames`")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_report(report(), tmp_path)
    return tmp_path


def test_a_data_frame_has_one_row_a_value_and_flat_columns(written: Path) -> None:
    found = pytest_sae.read_report(written).to_frame()
    told = whole_report(written / "report.json")["measurements"]
    assert list(found.columns) == list(COLUMNS)
    assert len(found) == len(told) == 5
    first = found[found.metric == "explained_variance"].iloc[0]
    assert (first.sae, first.value, first.low, first.high, first.n) == (
        "topk",
        0.612,
        0.6,
        0.624,
        400,
    )
    assert (first.verdict, first.bound_low, bool(first.red)) == ("fail", 0.7, True)
    assert set(found[found.metric == "scr"].settings) == {"n=10", "n=2"}
    assert found[found.metric == "tpp"].value.isna().all()
    assert found.value.dtype == "float64"


def test_an_empty_report_has_the_same_columns() -> None:
    found = report([]).to_frame()
    assert list(found.columns) == list(COLUMNS)
    assert len(found) == 0


def test_csv_goes_to_standard_output_or_to_a_file(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(written)]) == 0
    text = capsys.readouterr().out
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["value"] for line in lines if line["metric"] == "explained_variance"] == ["0.612"]
    assert len(lines) == 5
    assert main(["export", str(written / "report.json"), f"--output={written / 'v.csv'}"]) == 0
    assert (written / "v.csv").read_text() == text.replace("\r\n", "\n")


def test_parquet_holds_the_same_frame(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    file = written / "values.parquet"
    assert main(["export", str(written), "--format=parquet", f"--output={file}"]) == 0
    pandas.testing.assert_frame_equal(pandas.read_parquet(file), report().to_frame())
    assert main(["export", str(written), "--format=parquet"]) == 2
    assert "Expected --output=FILE" in capsys.readouterr().err


def test_the_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pytest-sae {__version__}\n"


def test_a_directory_is_redrawn_as_its_report(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(written)]) == 0
    assert (written / "report.html").is_file()


def test_what_is_not_whole_never_replaces_what_is(written: Path, tmp_path: Path) -> None:
    cut = replace(report(), complete=False)
    assert apart(cut, written) == written / "partial"
    assert apart(report(), written) == written
    assert apart(cut, tmp_path / "new") == tmp_path / "new"
    write_report(cut, tmp_path / "cut")
    assert apart(cut, tmp_path / "cut") == tmp_path / "cut"


def test_a_comparison_never_replaces_what_it_compares(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (written / "report.json").read_bytes()
    assert main(["compare", str(written), str(written), f"--output={written}"]) == 2
    assert "holds the report itself" in capsys.readouterr().err
    assert (written / "report.json").read_bytes() == before
