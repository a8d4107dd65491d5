"""`pytest-sae calibrate`: what it measures, what it reads, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.dictionaries.damaged import DAMAGES
from pytest_sae.gate.bounds import load_thresholds
from tests.plugin.project import Project

VALUES = """
from pytest_sae import Estimate

VALUES = {"a": 0.90, "b": 0.91, "c": 0.92, "worse": 0.1}

def measure(family, sae):
    return [Estimate("explained_variance", VALUES[sae], se=0.01, n={"texts": 40})]
"""
EVALS = """
import pytest

@pytest.mark.sae_metric("explained_variance")
def test_core(core, gate, metric):
    gate(core[metric])
"""
PLUGIN = ("-p", "pytest_sae.plugin")


@pytest.fixture
def four(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with three good SAEs and a bad one, whose tests stand for the shipped suite."""
    for name in ("b", "c", "worse"):
        project.sae(name)
    project.write("measure.py", VALUES)
    project.tests(EVALS)
    shipped = project.path / "evals/thresholds.toml"
    monkeypatch.setattr("pytest_sae.run.run.shipped_thresholds", lambda: shipped)
    return project


def loads(project: Project) -> int:
    return (project.path / "loads.txt").read_text().count("load ")


def test_saes_are_measured_once_and_their_bounds_written(
    four: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "calibrate",
        "--good",
        "saes/a",
        "saes/b",
        "saes/c",
        "--bad",
        "saes/worse",
        *PLUGIN,
    ]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "Red by at least one rule: worse." in told
    rule = load_thresholds(four.path / "thresholds.toml").rules["explained_variance"]
    assert rule.min is not None
    assert 0.1 < rule.min < 0.9
    measured = loads(four)
    assert main([*arguments, "--force"]) == 0
    assert loads(four) == measured
    assert main([*arguments, "--force", "--sae-seed=1"]) == 0
    assert loads(four) == 2 * measured


def test_a_file_that_is_there_is_not_replaced(
    four: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    four.write("mine.toml", "precious")
    assert main(["calibrate", "--good", "saes/a", "saes/b", "--output", "mine.toml"]) == 2
    assert "mine.toml is there already. Expected a new file, or --force" in capsys.readouterr().err
    assert (four.path / "mine.toml").read_text() == "precious"


def test_reports_of_earlier_runs_are_read_and_not_measured_again(four: Project) -> None:
    four.run("--sae=saes/b", "--sae-report=good")
    four.run("--sae-report=bad", sae="saes/worse")
    measured = loads(four)
    assert main(["calibrate", "--good", "good", "--bad", "bad/report.json"]) == 0
    assert loads(four) == measured
    assert Path("thresholds.toml").is_file()
    assert not Path("sae-calibration").exists()


def test_a_bad_sae_that_every_rule_lets_pass_is_red(
    four: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    four.run("--sae=saes/b", "--sae-report=good")
    four.run("--sae-report=bad", sae="saes/c")
    assert main(["calibrate", "--good", "good", "--bad", "bad"]) == 1
    assert "Bad, and green by every rule: c." in capsys.readouterr().out


def test_what_is_neither_an_sae_nor_a_report_is_named_with_the_log_of_its_run(
    four: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--good", "saes/a", "saes/none", *PLUGIN]) == 2
    told = capsys.readouterr().err
    assert "saes/none could not be measured" in told
    assert "pytest.log" in told


def test_damaged_copies_of_the_first_good_sae_are_measured_and_said_to_be_caught_or_not(
    four: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = VALUES.replace("VALUES[sae]", "VALUES.get(sae, 0.2 if 'noise_30' in sae else 0.905)")
    four.write("measure.py", seen)
    assert main(["calibrate", "--good", "saes/a", "saes/b", "saes/c", "--damages", *PLUGIN]) == 0
    told = capsys.readouterr().out
    assert "Damage decoder_noise_30 is red by 1 of 1 rules: explained_variance." in told
    assert "Damage dropped_05 is red by 0 of 1 rules." in told
    assert all(f"Damage {name} is" in told for name in DAMAGES)


def test_of_reports_alone_no_damaged_copies_can_be_made(
    four: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    four.run("--sae=saes/b", "--sae-report=good")
    assert main(["calibrate", "--good", "good", "--damages"]) == 2
    assert "Expected at least one SAE that can be loaded among --good" in capsys.readouterr().err
    assert not Path("thresholds.toml").exists()


@pytest.mark.parametrize("rate", ["0", "0.5", "-1", "nan"])
def test_a_rate_that_is_none_is_refused(
    four: Project, rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--good", "saes/a", "saes/b", f"--rate={rate}"]) == 2
    assert "Expected one from 0 to 0.5" in capsys.readouterr().err


def test_other_commands_take_no_arguments_that_they_do_not_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["schema", "--sae-suite=smoke"])
    assert "unrecognized arguments: --sae-suite=smoke" in capsys.readouterr().err
