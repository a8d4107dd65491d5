"""Slurm, through submitit: its jobs are processes of this machine here.

Run on demand with -m slurm, where the extra is installed.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.launch.launched import SAES, Launched, comparable, finished, wait_for

pytestmark = pytest.mark.slurm
pytest.importorskip("submitit", reason="submitit is not installed: pip install 'pytest-sae[slurm]'")


def started(launched: Launched, *arguments: str) -> subprocess.Popen[str]:
    program = ("-m", "tests.launch.here_on_slurm")
    return launched.start("--engine=slurm", *arguments, program=program)


def jobs(launched: Launched) -> list[Path]:
    """What is known of the jobs that submitit has started."""
    return sorted((launched.path / "sae-report" / "slurm").glob("*_log.out"))


def test_a_launch_ends_with_the_report_of_one_run_to_the_bit(launched: Launched) -> None:
    whole = launched.whole()
    status, output = finished(started(launched))
    assert status == 1, output
    assert comparable(launched.report()) == whole
    assert all(launched.ran(sae) == [f"scr:n={n}" for n in range(4)] for sae in SAES)


def test_a_job_that_is_preempted_is_queued_again_and_goes_on(launched: Launched) -> None:
    whole = launched.whole()
    launched.wait("c")
    run = started(launched)
    wait_for(lambda: launched.held("c"), run)
    (launched.path / "preempt-c").touch()
    wait_for(lambda: not launched.runs("c"), run)
    launched.wait("c", go=True)
    status, output = finished(run)
    assert status == 1, output
    assert comparable(launched.report()) == whole
    assert launched.ran("c") == ["scr:n=0", "scr:n=1", "scr:n=2", "scr:n=2", "scr:n=3"]
    assert "tried again" not in output  # submitit has seen to it
    assert any("this job is preempted" in log.read_text() for log in logs(launched))


def test_a_job_that_is_killed_is_handed_in_again_and_goes_on(launched: Launched) -> None:
    whole = launched.whole()
    launched.wait("c")
    run = started(launched)
    wait_for(lambda: launched.held("c"), run)
    (launched.path / "kill-c").touch()
    wait_for(lambda: not launched.runs("c"), run)
    launched.wait("c", go=True)
    status, output = finished(run)
    assert status == 1, output
    assert "tried again" in output
    assert comparable(launched.report()) == whole
    assert launched.ran("c") == ["scr:n=0", "scr:n=1", "scr:n=2", "scr:n=2", "scr:n=3"]


def test_an_interrupted_launch_cancels_its_jobs(launched: Launched) -> None:
    launched.wait("c")
    run = started(launched)
    wait_for(lambda: launched.held("c"), run)
    run.send_signal(signal.SIGINT)
    status, output = finished(run)
    assert status == 2, output
    assert "c never came back: the launch was interrupted" in launched.report()["problems"]


def test_without_slurm_it_is_said(capsys: pytest.CaptureFixture[str], launched: Launched) -> None:
    status, output = finished(launched.start("--engine=slurm"))
    assert status == 2, output
    assert "sbatch is not on this machine" in output


def logs(launched: Launched) -> list[Path]:
    return sorted((launched.path / "sae-report" / "slurm").glob("*_log.err"))
