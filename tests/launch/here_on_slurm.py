"""`python -m tests.launch.here_on_slurm ARGUMENTS`: a launch whose jobs are processes of this
machine, which submitit starts.

A file `preempt-SAE` preempts the job of that SAE, as Slurm does; `kill-SAE` kills it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest_sae.launch.launching as launching
from pytest_sae.cli import main
from pytest_sae.launch.on_slurm import SlurmEngine
from pytest_sae.launch.request import LaunchRequest
from pytest_sae.launch.task import Ended
from pytest_sae.options import Options


class LocalSlurm(SlurmEngine):
    def ended(self) -> list[Ended]:
        for job, task in self._running.items():
            for what, number in (("preempt", signal.SIGUSR2), ("kill", signal.SIGKILL)):
                asked = Path(f"{what}-{task.name}")
                if asked.exists():
                    asked.unlink()
                    os.kill(evaluating(job), number)
        return super().ended()


def evaluating(job: Any) -> int:
    """The process of a job's task: a child of its controller."""
    return next(int(each) for each in Path(f"/proc/{job.job_id}/task/{job.job_id}/children")
                .read_text().split())  # fmt: skip


def make(request: LaunchRequest, options: Options, folder: Path) -> SlurmEngine:
    return LocalSlurm(folder, 0, 1, request.jobs, 60, request.slurm, cluster="local")


if __name__ == "__main__":
    launching._engine = make
    sys.exit(main(["launch", *sys.argv[1:]]))
