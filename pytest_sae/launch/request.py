"""What is launched, and on what, as the command line says it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_sae.errors import OptionError

#: What each engine alone has a use for, by the name of its flag.
ENGINES = {"ray": ("address", "runtime_env"), "slurm": ("time", "slurm")}


@dataclass(frozen=True)
class LaunchRequest:
    """What is launched, and on what.

    Args:
        arguments: of pytest.
        engine: `ray` or `slurm`.
        jobs: most tasks at a time, None for as many as there is room for.
        retries: how often an SAE is tried again whose node was lost.
        gpus: for each SAE.
        cpus: for each SAE, None for as many as threads.
        address: of the Ray cluster, None for that which Ray finds.
        runtime_env: what Ray sets up on the nodes first, None for nothing.
        minutes: longest that Slurm lets a task run at a stretch, None for a day.
        slurm: options of sbatch, by name.
    """

    arguments: Sequence[str]
    engine: str
    jobs: int | None = None
    retries: int = 2
    gpus: float = 0
    cpus: float | None = None
    address: str | None = None
    runtime_env: dict[str, Any] | None = None
    minutes: int | None = None
    slurm: dict[str, str] = field(default_factory=dict)


def request_of(chosen: Namespace, arguments: Sequence[str]) -> LaunchRequest:
    """Return what a command line asks for.

    Args:
        chosen: flags of `pytest-sae launch`, as typed.
        arguments: all others, which are pytest's.

    Raises:
        OptionError: a value that cannot be used, or a flag of another engine.
    """
    _refuse_foreign(chosen)
    return LaunchRequest(
        arguments,
        chosen.engine,
        _whole("--jobs", chosen.jobs, 1),
        _whole("--retries", chosen.retries, 0) or 0,
        _number("--num-gpus-per-sae", chosen.num_gpus_per_sae) or 0,
        _number("--num-cpus-per-sae", chosen.num_cpus_per_sae),
        chosen.address,
        _json(chosen.runtime_env),
        _whole("--time", chosen.time, 1),
        dict(map(_pair, chosen.slurm)),
    )


def _refuse_foreign(chosen: Namespace) -> None:
    for engine, names in ENGINES.items():
        for name in names if engine != chosen.engine else ():
            if getattr(chosen, name):
                raise OptionError(
                    f"--{name.replace('_', '-')} is of --engine={engine}. Expected none beside "
                    f"--engine={chosen.engine}."
                )
    gpus = _number("--num-gpus-per-sae", chosen.num_gpus_per_sae) or 0
    if chosen.engine == "slurm" and gpus % 1:
        raise OptionError(
            f"--num-gpus-per-sae={gpus:g}: Slurm gives whole GPUs. Expected a whole number."
        )


def _whole(flag: str, value: str | None, least: int) -> int | None:
    if value is not None and not (value.isdecimal() and int(value) >= least):
        raise OptionError(f"{flag}={value}: expected a whole number of at least {least}.")
    return None if value is None else int(value)


def _number(flag: str, value: str | None) -> float | None:
    try:
        number = None if value is None else float(value)
    except ValueError:
        number = -1
    if number is not None and not 0 <= number < 1e6:
        raise OptionError(f"{flag}={value}: expected a number of at least 0.")
    return number


def _json(value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        text = value if value.lstrip().startswith("{") else Path(value).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"--runtime-env={value} cannot be read ({error}). Expected JSON such as "
            '{"working_dir": "."}, or a file of it.'
        ) from None
    if not isinstance(found, dict):
        raise OptionError(f"--runtime-env={value} is no object. Expected names and values.")
    return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise OptionError(f"--slurm={text}: expected NAME=VALUE, such as partition=gpu.")
    return name, value
