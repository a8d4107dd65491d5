"""What belongs to one pytest run: its options, its SAEs, its thresholds, its evaluation session."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_sae.errors import PytestSAEError, ThresholdsError
from pytest_sae.options import Options, read_options

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.gate.bounds import Thresholds

THRESHOLDS = "thresholds.toml"


class Run:
    """One per pytest process, made when it is first needed; see `of`.

    Args:
        config: of the process.
        options: of the run, the same in every process.
        specs: the SAEs as the controller resolved them, None to resolve them here.

    Attributes:
        session: the evaluation session, None outside of it.
        failed: why a judged family could not be measured, by (family, SAE).
    """

    def __init__(
        self, config: pytest.Config, options: Options, specs: tuple[SAESpec, ...] | None = None
    ) -> None:
        self.config = config
        self.options = options
        self.session: Any = None
        self.failed: dict[tuple[str, str], str] = {}
        self._description: dict[str, Any] | None = None
        self._specs = specs
        self._thresholds: dict[Path, Thresholds] = {}

    @classmethod
    def of(cls, config: pytest.Config) -> Run:
        """Return the run of a configuration.

        Raises:
            OptionError: an option that cannot be used.
        """
        if _RUN not in config.stash:
            config.stash[_RUN] = cls._of_worker(config) or cls(config, read_options(config))
        return config.stash[_RUN]

    @classmethod
    def _of_worker(cls, config: pytest.Config) -> Run | None:
        sent = getattr(config, "workerinput", {}).get("sae")
        if sent is None:
            return None
        from pytest_sae.dictionaries.spec import SAESpec

        specs = None if sent["specs"] is None else tuple(SAESpec(*spec) for spec in sent["specs"])
        return cls(config, Options(**sent["options"]), specs)

    def for_worker(self) -> dict[str, object]:
        """Return what a worker needs to be the same run, as plain builtins."""
        try:
            specs = [dataclasses.astuple(spec) for spec in self.specs]
        except PytestSAEError:
            # Not asked for here, so it stands in the ini file or is the bundled one: the worker
            # says so if a test needs it.
            return {"options": dataclasses.asdict(self.options), "specs": None}
        return {"options": dataclasses.asdict(self.options), "specs": specs}

    @cached_property
    def specs(self) -> tuple[SAESpec, ...]:
        """The SAEs of the run.

        Raises:
            OptionError: a value of --sae that names no SAE.
        """
        if self._specs is not None:
            return self._specs
        from pytest_sae.dictionaries.spec import resolve

        return resolve(self.options.sae or [str(bundled_sae())])

    @property
    def workers(self) -> int:
        """How many processes evaluate in this run."""
        return int(getattr(self.config, "workerinput", {}).get("workercount", 1))

    @property
    def sae_ids(self) -> list[str]:
        """Ids of the SAEs; none if they cannot be resolved."""
        try:
            return [spec.id for spec in self.specs]
        except PytestSAEError:
            return []

    def end_session(self) -> None:
        """Close the evaluation session, and keep what it says about itself."""
        self.describe()
        self.session.close()
        self.session = None

    def describe(self) -> dict[str, Any] | None:
        """Return what the evaluation session says about itself, None if there was none."""
        if self.session is not None:
            from pytest_sae.reports.rows import to_builtin

            try:
                self._description = to_builtin(self.session.describe())
            except Exception as error:
                # Raised at the end of a worker it would make xdist start it again, and again.
                self._description = {"error": f"{type(error).__name__}: {error}"}
        return self._description

    def thresholds_for(self, test: Path) -> Thresholds:
        """Return the bounds for a test: those asked for, else the nearest file, else the shipped.

        Raises:
            ThresholdsError: a file that cannot be used.
        """
        return self._read(self._thresholds_file(test))

    def _thresholds_file(self, test: Path) -> Path:
        if self.options.thresholds:
            return Path(self.options.thresholds)
        for directory in (test, *test.parents):
            if (directory / THRESHOLDS).is_file():
                return directory / THRESHOLDS
            if directory == self.config.rootpath:
                break
        return shipped_thresholds()

    def _read(self, path: Path) -> Thresholds:
        if path not in self._thresholds:
            from pytest_sae.gate.bounds import load_thresholds

            self._thresholds[path] = load_thresholds(path, shown_path(self.config, path))
        return self._thresholds[path]

    def foreseen_thresholds(self) -> list[Thresholds]:
        """Return the bounds that can be told from the command line before collecting.

        Raises:
            ThresholdsError: a file that cannot be used, in a run that asks for SAEs.
        """
        if self.options.thresholds:
            return [self._read(Path(self.options.thresholds))]
        found = dict.fromkeys(self._thresholds_file(path) for path in self._argument_paths())
        if shipped_thresholds() in found and not self._names_shipped_suite():
            del found[shipped_thresholds()]
        try:
            return [self._read(path) for path in found if path.is_file()]
        except ThresholdsError:
            # Another project's file of the same name is none of our business.
            if self.options.asked:
                raise
            return []

    def expects_sae_tests(self) -> bool:
        """Whether SAE tests may run, as far as the command line tells."""
        return self.options.asked or bool(self.foreseen_thresholds())

    def _argument_paths(self) -> Iterable[Path]:
        for argument in self.config.args:
            path = self.config.invocation_params.dir / argument.partition("::")[0]
            if path.exists():
                yield path

    def _names_shipped_suite(self) -> bool:
        suite = shipped_thresholds().parent
        paths = [path if path.is_dir() else path.parent for path in self._argument_paths()]
        return suite in paths or any(arg.startswith("pytest_sae.evals") for arg in self.config.args)


_RUN = pytest.StashKey[Run]()


def bundled_sae() -> Path:
    """Return the directory of the SAE that is evaluated when none is named."""
    from pytest_sae.data.sources import bundled_world

    return bundled_world() / "saes" / "topk"


def shipped_thresholds() -> Path:
    """Return the bounds of the suite that comes with the package."""
    package = Path(__file__).parent
    installed = package / "evals" / THRESHOLDS
    return installed if installed.is_file() else package.parent / "evals" / THRESHOLDS


def shown_path(config: pytest.Config, path: Path) -> str:
    """Return a path as reports show it: from the root directory where it lies below it."""
    try:
        return path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return str(path)
