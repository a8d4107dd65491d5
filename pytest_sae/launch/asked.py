"""What a command line of pytest asks for, as pytest itself reads it, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_sae.errors import OptionError, PytestSAEError
from pytest_sae.run.previous_report import ONLY_SHOWN, PreviousReport, put_back

if TYPE_CHECKING:
    from pytest_sae.run.run import Run

RESUME = "--sae-resume"
_UPDATED = "Expected none: take the report.json of this run as --sae-baseline of the next one"
# Flags of one run that mean nothing for many, by what pytest keeps them under.
_OF_ONE_RUN = (
    *((name, f"--{name}", "Expected arguments that run tests") for name in ONLY_SHOWN),
    ("usepdb", "--pdb", "Expected none: nobody sits at a task's keyboard"),
    ("trace", "--trace", "Expected none: nobody sits at a task's keyboard"),
    ("xmlpath", "--junitxml", "Expected none: every task would write the same file"),
    ("sae_update", "--sae-baseline-update", _UPDATED),
    ("sae_shard", "--sae-shard", "Expected none: every SAE is a shard of its own"),
)


@dataclass(frozen=True)
class Asked:
    """What is evaluated, and how.

    Args:
        run: as one run of all SAEs would be.
        previous: the report that is there already, to be set aside.
    """

    run: Run
    previous: PreviousReport


class _Reading:
    """A plugin that ends pytest as soon as the command line has been read."""

    def __init__(self) -> None:
        self.asked: Asked | None = None
        self.error: PytestSAEError | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        from pytest_sae.run.families import add_families
        from pytest_sae.run.run import Run

        try:
            add_families(config)
            run = Run.of(config)
            run.refuse()
            _ = run.specs
            self.asked = Asked(run, PreviousReport.of(config, Path(run.options.report)))
        except PytestSAEError as error:
            self.error = error
            put_back(config)
        return int(pytest.ExitCode.OK)


def asked(arguments: Sequence[str]) -> Asked:
    """Return what pytest would make of its arguments, without running anything.

    Args:
        arguments: of pytest.

    Raises:
        PytestSAEError: an option, an SAE, a baseline or bounds that cannot be used. What pytest
            itself refuses it has said on standard error.
    """
    reading = _Reading()
    pytest.main([*arguments], plugins=[reading])
    if reading.error is not None:
        raise reading.error
    if reading.asked is None:
        raise OptionError("pytest cannot be called so. Expected arguments of a run of pytest.")
    return reading.asked


def refuse_of_one_run(run: Run) -> None:
    """Refuse flags that one run has a use for, and many at once have not.

    Args:
        run: as one run of all SAEs would be.

    Raises:
        OptionError: names the flag, and what to do instead.
    """
    for name, flag, expected in _OF_ONE_RUN:
        if run.config.getoption(name, None):
            raise OptionError(f"{flag} cannot be launched. {expected}.")
    report = Path(run.options.report).resolve()
    baseline = Path(run.options.baseline or "").resolve() if run.options.baseline else None
    if baseline is not None and report in (baseline, *baseline.parents):
        raise OptionError(
            f"--sae-baseline={baseline} lies in the directory that the report goes to. Expected a "
            "copy elsewhere, or another --sae-report=DIR: tasks read it while they run."
        )
