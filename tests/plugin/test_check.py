"""`pytest-sae check`: all that a run would use is looked at, and nothing is measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_sae import bundled_world
from pytest_sae.cli import main
from tests.labelled import labelled_data
from tests.tiny import tiny_sae

BASELINE = '{"baseline_version": 1, "saes": {}, "made": {}, "values": []}'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an SAE, texts, bounds and a baseline, each of them usable."""
    monkeypatch.chdir(tmp_path)
    tiny_sae(tmp_path / "good")
    labelled_data(tmp_path)
    (tmp_path / "bounds.toml").write_text("version = 1\n[metrics.l0]\nmax = 50\n")
    (tmp_path / "kept.json").write_text(BASELINE)
    return tmp_path


GOOD = ["--sae=good", "--thresholds=bounds.toml", "--data=tasks.toml", "--baseline=kept.json"]


def test_what_is_good_is_said_to_be(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *GOOD, "--suite=smoke"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok   thresholds bounds.toml: 1 rule, of which 1 gate",
        "ok   baseline kept.json: 0 values of 0 SAEs",
        "ok   data tasks.toml: 60 held-out texts, 1 SCR and 1 TPP tasks",
        "ok   SAE good: sae_lens.topk, 96 latents of 32 inputs, blocks.1.hook_resid_post of tiny",
    ]


def test_the_bundled_world_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    told = capsys.readouterr().out
    assert told.count("ok ") == 3
    assert "SAE topk: sae_lens.topk, 1024 latents of 128 inputs" in told


def test_all_that_is_bad_is_said_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bounds.toml").write_text("version = 1\n[metrics.l0]\nmaks = 50\n")
    (here / "kept.json").write_text("{}")
    (here / "corpus.jsonl").unlink()
    (here / "good" / "sae_weights.safetensors").write_bytes(b"no weights")
    assert main(["check", *GOOD, "--sae=nowhere"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines] == ["bad "] * 5
    for line, says in zip(
        lines,
        (
            "bounds.toml:3: unknown key 'maks'",
            "is no baseline",
            "corpus.jsonl",
            "SAE good",
            "SAE nowhere",
        ),
        strict=True,
    ):
        assert says.lower() in line.lower()


@pytest.mark.parametrize("flag", ["thresholds", "data", "baseline"])
def test_a_file_that_is_not_there_is_bad(
    here: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert main(["check", "--sae=good", f"--{flag}=nowhere.file"]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("bad"))
    assert f"{flag} nowhere.file: " in line
    assert "Traceback" not in line


def test_the_command_exits_as_main_returns(here: Path) -> None:
    script = "import sys; from pytest_sae.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "check", f"--sae={bundled_world() / 'saes'}/topk*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok   SAE topk") == 3
