"""The report of an earlier run, set aside early: a killed run must not leave it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.options import baseline_path, report_directory, typed_flags
from pytest_sae.run.narrowed import narrowed

ASIDE = "report.previous.json"
ONLY_SHOWN = ("collectonly", "setuponly", "setupplan")
_NO_SESSION = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")


class PreviousReport:
    """Of one run; only what this run has set aside is ever put back.

    Args:
        directory: of the reports.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._moved = False

    def set_aside(self) -> None:
        """Give it another name; one that cannot be moved is met again, and said then."""
        with contextlib.suppress(OSError):
            _move(self._report, self._directory / ASIDE)
            self._moved = True

    def put_back(self) -> None:
        """Undo that: nothing was run."""
        if self._moved:
            with contextlib.suppress(OSError):
                _move(self._directory / ASIDE, self._report)
        self._moved = False

    def discard(self) -> None:
        """Take it away: there is a newer one."""
        from pytest_sae.records.details_file import sidecar

        for path in (self._directory / ASIDE, sidecar(self._directory / ASIDE)):
            path.unlink(missing_ok=True)
        self._moved = False

    @property
    def _report(self) -> Path:
        from pytest_sae.records.report import NAME

        return self._directory / NAME

    @classmethod
    def of(cls, config: pytest.Config, directory: Path) -> PreviousReport:
        """Return that of a run, which may have been set aside already."""
        return config.stash.setdefault(_PREVIOUS, cls(directory))


def _move(report: Path, to: Path) -> None:
    """Move a report with the details beside it."""
    from pytest_sae.records.details_file import sidecar

    os.replace(report, to)
    with contextlib.suppress(FileNotFoundError):
        os.replace(sidecar(report), sidecar(to))


_PREVIOUS = pytest.StashKey[PreviousReport]()


def set_aside_early(config: pytest.Config) -> None:
    """Set it aside before any conftest is imported, if the command line asks for SAEs.

    Where only an ini file or the bounds beside the tests do, that is known when the session starts.

    Args:
        config: before its options are parsed for good.
    """
    early: Any = _Early(config)
    if any(early.getoption(name) for name in (*ONLY_SHOWN, *_NO_SESSION)):
        return
    asked = early.getoption("sae") or typed_flags(early)
    # A worker would take away what its controller has written.
    if not asked or "PYTEST_XDIST_WORKER" in os.environ or narrowed(early):
        return
    directory, baseline = report_directory(early), baseline_path(early)
    # What is compared with is read before it is set aside.
    if baseline is None or directory.resolve() not in (
        baseline.resolve(),
        *baseline.resolve().parents,
    ):
        PreviousReport.of(config, directory).set_aside()


def put_back(config: pytest.Config) -> None:
    """Put back what was set aside early, for the run is refused.

    Args:
        config: of the run.
    """
    if _PREVIOUS in config.stash:
        config.stash[_PREVIOUS].put_back()


class _Early:
    """A configuration as far as it is known before conftests are imported."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._known = config.known_args_namespace

    @property
    def args(self) -> list[str]:
        return list(getattr(self._known, "file_or_dir", ()))

    def getoption(self, name: str, default: object = None) -> Any:
        return getattr(self._known, name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)
