"""`pytest-sae launch`: tasks are handed to an engine, tried again where lost, and united."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.errors import OptionError
from pytest_sae.launch.asked import RESUME, Asked, asked, refuse_of_one_run
from pytest_sae.launch.node import fullest
from pytest_sae.launch.request import LaunchRequest
from pytest_sae.launch.screen import Screen
from pytest_sae.launch.task import PREPARE, Ended, Engine, Order, Task, planned
from pytest_sae.launch.union import united
from pytest_sae.run.shard import sizes
from pytest_sae.run.stopping import Stopping

if TYPE_CHECKING:
    from pytest_sae.options import Options

TASKS = "tasks"
_CAME_BACK = (0, 1)  # passed; red
_FOR_GOOD = (3, 4, 5)  # pytest broke, was called wrongly, found no tests: again it would as well
_INTERRUPTED = 2

# Makes an engine of what is asked for, the options of the run, and a directory of its own.
Connect = Callable[[LaunchRequest, "Options", Path], Engine]


def launch(request: LaunchRequest, engine: Connect | None = None) -> tuple[str, int]:
    """Evaluate SAEs on an engine, and judge all of them together.

    Args:
        request: what is launched, and on what.
        engine: makes the engine; None for the one that the request names.

    Returns:
        What is told at the end, and the exit status: the gate's, or 2 after an interrupt.

    Raises:
        PytestSAEError: arguments that cannot be used, an engine that is not there, or nothing that
            came back.
    """
    wanted = asked(request.arguments)
    try:
        _refuse(request, wanted)
        directory = Path(wanted.run.options.report)
        connected = (engine or _engine)(request, wanted.run.options, directory / "slurm")
    except BaseException:
        wanted.previous.put_back()
        raise
    return _Launch(request, wanted, connected).done()


def _refuse(request: LaunchRequest, wanted: Asked) -> None:
    refuse_of_one_run(wanted.run)
    options = wanted.run.options
    if options.device.startswith(("cuda", "mps")) and not request.gpus:
        raise OptionError(
            f"--sae-device={options.device} without a GPU. Expected --num-gpus-per-sae=1 beside it."
        )
    if options.device == "cpu" and request.gpus:
        raise OptionError(
            f"--num-gpus-per-sae={request.gpus:g} with --sae-device=cpu keeps GPUs for nothing. "
            "Expected one of them."
        )
    if options.device.startswith("cuda:"):
        raise OptionError(
            f"--sae-device={options.device}: the engine gives each task GPUs of its own. Expected "
            "--sae-device=cuda."
        )


def _engine(request: LaunchRequest, options: Options, folder: Path) -> Engine:
    cpus = options.threads if request.cpus is None else request.cpus
    if request.engine == "ray":
        from pytest_sae.launch.on_ray import RayEngine

        return RayEngine(request.address, request.gpus, cpus, request.jobs, request.runtime_env)
    from pytest_sae.launch.on_slurm import MINUTES, SlurmEngine

    minutes = request.minutes or MINUTES
    return SlurmEngine(
        folder, int(request.gpus), max(1, int(cpus)), request.jobs, minutes, request.slurm
    )


class _Launch:
    """One launch, from the first task to the report."""

    def __init__(self, request: LaunchRequest, wanted: Asked, engine: Engine) -> None:
        self._request = request
        self._engine = engine
        self._options = wanted.run.options
        self._previous = wanted.previous
        self._directory = Path(self._options.report)
        self._arguments = [each for each in request.arguments if each != RESUME]
        # Whether this is CI the nodes cannot tell.
        self._arguments.append("--sae-ci" if self._options.ci else "--no-sae-ci")
        self._tasks = planned(sizes(wanted.run.specs), self._arguments, self._directory / TASKS)
        self._screen = Screen(max(len(task.name) for task in self._tasks))
        self._lost: dict[Task, str] = {}

    def done(self) -> tuple[str, int]:
        """Run everything; whatever happens, what came back is judged."""
        self._previous.set_aside()
        self._begin()
        stopping, interrupted = Stopping(), False
        stopping.listen()
        try:
            self._prepare()
            self._drive(self._tasks, self._request.retries)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._engine.close()
        stopping.finish()
        told, status = united(self._tasks, self._lost, self._directory, self._request.arguments)
        self._previous.discard()
        stopping.restore()
        return told, _INTERRUPTED if interrupted else status

    def _begin(self) -> None:
        """Make room for the tasks; what an earlier launch left is kept, or gone on with."""
        homes = self._directory / TASKS
        if homes.is_dir() and not self._options.resume:
            aside = homes.with_name(f"{TASKS}.previous")
            shutil.rmtree(aside, ignore_errors=True)
            homes.replace(aside)
        for task in self._tasks:
            task.home.mkdir(parents=True, exist_ok=True)

    def _prepare(self) -> None:
        """Have the model read the texts, once for each cache, before any SAE needs that."""
        cache = self._options.cache
        if cache is None or self._options.activations is not None:
            return
        homes = self._directory / TASKS
        tasks = [
            Task("(texts)", homes / f"prepare-{n}", (*self._arguments,), PREPARE, place)
            for n, place in enumerate(self._engine.places(cache), 1)
        ]
        for task in tasks:
            task.home.mkdir(parents=True, exist_ok=True)
        self._drive(tasks, retries=0)
        for task in tasks:
            if (why := self._lost.pop(task, None)) is not None:
                self._screen.say(task.name, f"{why}; each SAE's run makes up for it")

    def _drive(self, tasks: Sequence[Task], retries: int) -> None:
        """Hand tasks over and wait for them; those that are lost are handed over again."""
        left = dict.fromkeys(tasks, retries)
        self._lost |= dict.fromkeys(tasks, "the launch was interrupted")
        self._engine.submit([(task, self._order(task, first=True)) for task in tasks])
        while left:
            for ended in self._engine.ended():
                self._screen.follow(ended.task)
                if self._again(ended, left[ended.task]):
                    left[ended.task] -= 1
                    self._engine.submit([(ended.task, self._order(ended.task, first=False))])
                else:
                    del left[ended.task]
            for task in left:
                self._screen.follow(task)

    def _again(self, ended: Ended, left: int) -> bool:
        """Note how an attempt ended; whether there is another."""
        if ended.status in _CAME_BACK:
            del self._lost[ended.task]
            self._screen.say(ended.task.name, f"ended with exit status {ended.status}")
            return False
        why = self._why(ended)
        again = ended.status not in _FOR_GOOD and left > 0
        self._lost[ended.task] = why
        self._screen.say(ended.task.name, f"{why}; tried again" if again else why)
        return again

    def _why(self, ended: Ended) -> str:
        status = ended.status
        if status is None:
            return ended.why
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"pytest {how}, see {ended.task.home}"

    def _order(self, task: Task, first: bool) -> Order:
        environment = self._request.runtime_env or {}
        attempt = len([*task.home.glob("pytest-*.log")]) + 1
        journal = fullest(task.home)
        sent = journal if self._request.engine == "ray" else None  # Slurm's nodes see it
        return Order(
            task.module,
            task.arguments,
            None if "working_dir" in environment else os.getcwd(),
            f"pytest-{attempt}.log",
            again=not (first and self._options.resume),
            journal=sent.read_bytes() if sent else None,
        )
