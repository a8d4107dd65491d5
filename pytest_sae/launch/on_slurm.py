"""Tasks on Slurm, as jobs of an array that submitit hands in."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_sae.errors import OptionError
from pytest_sae.launch.node import evaluate
from pytest_sae.launch.task import Ended, Order, Task

_SECONDS = 1.0
_TIMEOUTS = 100  # after each of which a task goes on from its journal
MINUTES = 24 * 60


class SlurmEngine:
    """Tasks that Slurm runs; the directory of the report has to be seen by every node.

    Args:
        folder: for what submitit keeps.
        gpus: for each task.
        cpus: for each task.
        jobs: most tasks at a time, None for as many as Slurm allows.
        minutes: longest that Slurm lets a task run at a stretch.
        more: other options of sbatch, by name.
        cluster: `slurm`, or `local` for processes of this machine.

    Raises:
        OptionError: submitit is not installed, or Slurm is not there.
    """

    def __init__(
        self,
        folder: Path,
        gpus: int,
        cpus: int,
        jobs: int | None,
        minutes: int,
        more: Mapping[str, str],
        cluster: str = "slurm",
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise OptionError(
                "--engine=slurm needs submitit, which is not installed. Expected the extra: "
                "pip install 'pytest-sae[slurm]'."
            ) from None
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise OptionError(
                "--engine=slurm: sbatch is not on this machine. Expected one that hands in jobs to "
                "Slurm, such as a login node of the cluster."
            )
        self._errors = submitit.core.utils.UncompletedJobError
        self._executor = submitit.AutoExecutor(
            folder=folder, cluster=cluster, slurm_max_num_timeout=_TIMEOUTS
        )
        self._executor.update_parameters(
            name="pytest-sae",
            timeout_min=minutes,
            cpus_per_task=cpus,
            slurm_additional_parameters=dict(more),
            **({"gpus_per_node": gpus} if gpus else {}),
            **({"slurm_array_parallelism": jobs} if jobs else {}),
        )
        self._running: dict[Any, Task] = {}

    def places(self, cache: str) -> list[str]:
        """Return one place: which nodes there will be, Slurm alone knows."""
        return [""]

    def submit(self, orders: Sequence[tuple[Task, Order]]) -> None:
        """Hand in an array of jobs."""
        runs = [Evaluation(order, task.home) for task, order in orders]
        with self._executor.batch():
            jobs = [self._executor.submit(each) for each in runs]
        self._running |= {job: task for job, (task, _) in zip(jobs, orders, strict=True)}

    def ended(self) -> list[Ended]:
        """Ask submitit which jobs have ended."""
        done = [job for job in self._running if job.done()]
        if not done:
            time.sleep(_SECONDS)
        return [self._end(job) for job in done]

    def close(self) -> None:
        """Cancel the jobs that are left."""
        for job in self._running:
            job.cancel(check=False)
        self._running.clear()

    def _end(self, job: Any) -> Ended:
        task = self._running.pop(job)
        try:
            return Ended(task, int(job.result()))
        except self._errors as error:
            told = str(error).strip().splitlines()
            return Ended(task, None, f"job {job.job_id} is {job.state}: {told[0] if told else ''}")


class Evaluation:
    """What a job does; one that is preempted is queued again, and goes on from its journal.

    Args:
        order: what to run.
        home: of the task, which this node sees as well.
    """

    def __init__(self, order: Order, home: Path) -> None:
        self._order = order
        self._home = home

    def __call__(self) -> int:
        """Run pytest; return its exit status."""
        *_, status = evaluate(self._order, self._home)
        return -1 if status is None else status

    def checkpoint(self) -> Any:
        """Return what is queued again when Slurm takes the node away."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
