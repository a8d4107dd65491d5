"""Whether the user chose a part of the tests: then a part is all that was to be judged."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

import pytest

#: Options that leave tests out wherever they stand, and how messages call them.
_OPTIONS = (
    ("keyword", "-k"),
    ("lf", "--lf"),
    ("deselect", "--deselect"),
    ("ignore", "--ignore"),
    ("ignore_glob", "--ignore-glob"),
    ("stepwise", "--stepwise"),
)


def narrowed(config: pytest.Config) -> tuple[str, ...]:
    """Return the flags and arguments that leave tests out, as they were typed.

    `-m` counts where somebody typed it: in a project's `addopts` it is the project's own choice,
    and what it leaves out is missed.
    """
    found = [flag for name, flag in _OPTIONS if config.getoption(name, None)]
    if any(arg == "-m" or arg.startswith("-m=") for arg in _typed(config)):
        found.append("-m")
    parts = [arg for arg in config.args if "::" in arg or arg.endswith(".py")]
    return (*found, *map(str, parts))


def _typed(config: pytest.Config) -> Sequence[str]:
    typed = map(str, config.invocation_params.args)
    return [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *typed]
