"""The bench of a GPU on the CPU: its tables are whole, and it sees a wrong selection."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks import gpu
from pytest_sae.session.session import EvalSession, LoadedSAE

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[EvalSession, LoadedSAE]:
    return gpu.opened(tmp_path_factory.mktemp("gpu"), gpu.SMALL, CPU)


def test_every_stage_is_beside_the_product(
    opened: tuple[EvalSession, LoadedSAE], capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.stages(*opened, gpu.SMALL, gpu.Clock(60))
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert rows[0].startswith("| matrix product alone |")
    assert rows[0].endswith("| 1.00 |")
    assert len(rows) == 7


def test_the_same_device_selects_the_same_latents(
    opened: tuple[EvalSession, LoadedSAE], capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.selections(opened[1], gpu.SMALL)
    assert ", 0 are selected by one alone" in capsys.readouterr().out


def test_a_selection_that_rounding_does_not_explain_is_counted(
    opened: tuple[EvalSession, LoadedSAE],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dictionary = opened[1].dictionary
    right = dictionary.encode
    monkeypatch.setattr(dictionary, "encode", lambda x: right(x.roll(1, dims=1)))
    gpu.selections(opened[1], gpu.SMALL)
    told = capsys.readouterr().out
    assert "; 0 beyond" not in told
    assert ", 0 are selected by one alone" not in told


def test_a_family_for_which_there_is_no_time_is_left_out_and_named(
    opened: tuple[EvalSession, LoadedSAE], capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.families(*opened, ["core"], gpu.Clock(0))
    assert "left out for want of time: core" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_form_for_a_cpu_ends_with_every_family() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for family in gpu.FAMILIES:
        assert f"| {family} |" in done.stdout
