"""What belongs to one pytest run: its options, its SAEs, its thresholds, its evaluation session."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pytest_sae
from pytest_sae.errors import PytestSAEError, ThresholdsError
from pytest_sae.options import Options, read_options
from pytest_sae.records.builtin import writable

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.gate.baseline import Baseline
    from pytest_sae.gate.rules import Thresholds
    from pytest_sae.records.row import Against, Row

THRESHOLDS = "thresholds.toml"


class Run:
    """One per pytest process, made when it is first needed; see `of`.

    Args:
        config: of the process.
        options: of the run, the same in every process.
        specs: the SAEs as the controller resolved them, None to resolve them here.
        baseline: as the controller read it, None to read it here.
        earlier: journal of the run that this one goes on with, None to look for it here.
        argv: what the controller was called with, None in the controller.

    Attributes:
        session: the evaluation session, None outside of it.
        failed: why a judged family could not be measured, by (family, SAE).
    """

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        specs: tuple[SAESpec, ...] | None = None,
        baseline: Baseline | None = None,
        earlier: Path | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        self.config = config
        self.argv = [*map(str, config.invocation_params.args)] if argv is None else [*argv]
        self.options = options
        self.session: Any = None
        self.failed: dict[tuple[str, str], str] = {}
        self._description: dict[str, Any] | None = None
        self._told = "{}"
        self._earlier = earlier
        self._specs = specs
        self._baseline = baseline
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

        sent = ast.literal_eval(sent)
        specs = None if sent["specs"] is None else tuple(SAESpec(*spec) for spec in sent["specs"])
        earlier = Path(sent["earlier"]) if sent["earlier"] else None
        baseline, options = _baseline_of(sent["baseline"]), Options(**sent["options"])
        return cls(config, options, specs, baseline, earlier, sent["argv"])

    def for_worker(self) -> dict[str, object]:
        """Return what a worker needs to be the same run, as plain builtins."""
        sent: dict[str, object] = {
            "options": dataclasses.asdict(self.options),
            "specs": None,
            "baseline": None,
            "earlier": str(self.earlier) if self.earlier else None,
            "argv": self.argv,
        }
        # What cannot be used here was not asked for here, so it stands in the ini file or is the
        # bundled one: the worker says so if a test needs it.
        with contextlib.suppress(PytestSAEError):
            sent["specs"] = [dataclasses.astuple(spec) for spec in self.specs]
        with contextlib.suppress(PytestSAEError):
            sent["baseline"] = dataclasses.asdict(self.compared) if self.compared else None
        return sent

    @cached_property
    def specs(self) -> tuple[SAESpec, ...]:
        """The SAEs of the run.

        Raises:
            OptionError: a value of --sae that names no SAE.
        """
        if self._specs is not None:
            return self._specs
        if self.options.shard is None:
            return self.all_specs
        from pytest_sae.run.shard import of_shard

        return of_shard(self.all_specs, self.options.shard)

    @cached_property
    def all_specs(self) -> tuple[SAESpec, ...]:
        """The SAEs of all shards."""
        from pytest_sae.dictionaries.spec import resolve

        return resolve(self.options.sae or [str(bundled_sae())])

    @cached_property
    def baseline(self) -> Baseline | None:
        """What the run is compared with, None if nothing; read once, before anything is written.

        Raises:
            BaselineError: a path that holds no baseline, or one that cannot be updated.
        """
        if self._baseline is not None or self.options.baseline is None:
            return self._baseline
        from pytest_sae.gate.baseline import Baseline
        from pytest_sae.gate.baseline_file import check_updatable, read_baseline

        path = Path(self.options.baseline)
        shown = shown_path(self.config, path)
        if self.options.update:
            check_updatable(path, shown)
            if not path.exists() or (path.is_dir() and not any(path.glob("*.json"))):
                return Baseline(shown, ())
        return read_baseline(path, shown)

    @cached_property
    def compared(self) -> Baseline | None:
        """The baseline as it judges this run, by the rule of `pytest-sae compare`.

        Raises:
            BaselineError: as of `baseline`.
            OptionError: a value of --sae that names no SAE.
        """
        if self._baseline is not None or self.baseline is None:
            return self._baseline  # as the controller sent it
        from pytest_sae.gate.baseline import judging

        return judging(self.baseline, {spec.id for spec in self.all_specs})

    @cached_property
    def earlier(self) -> Path | None:
        """Journal of the run that this one goes on with, None where it goes on with none.

        Raises:
            OptionError: it is not there, or of another run.
        """
        if self._earlier is not None or not self.options.resume:
            return self._earlier
        from pytest_sae.run.resume import earlier

        return earlier(self)

    def refuse(self) -> None:
        """Read what the command line names, so that what cannot be used is said at once.

        Raises:
            PytestSAEError: bounds, a baseline or an SAE that cannot be used.
        """
        if self.options.asked:
            self.foreseen_thresholds()
        if self.options.baseline and self.expects_sae_tests():
            _ = self.baseline
        if self.config.getoption("sae"):
            _ = self.specs

    def against(self, row: Row, influence: Sequence[float]) -> Against | None:
        """Return what the baseline says about a row, None where it has no say.

        Args:
            row: of what was measured.
            influence: what each unit adds to the error of its value; empty where it has none.
        """
        if self.compared is None or self.options.update == "all":
            return None
        required = self.options.ci and not self.options.update
        return self.compared.against((row.sae, row.key), row.fingerprints, required, influence)

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
            from pytest_sae.records.builtin import to_builtin

            try:
                self._description = to_builtin(self.session.describe())
            except Exception as error:
                # Raised at the end of a worker it would make xdist start it again, and again.
                self._description = {"error": f"{type(error).__name__}: {error}"}
        return self._description

    def newly_described(self) -> str:
        """Return that as JSON without what it cost, empty where it was returned before."""
        told = {name: each for name, each in (self.describe() or {}).items() if name != "work"}
        text = json.dumps(told, sort_keys=True)
        if text == self._told:
            return ""
        self._told = text
        return text

    def thresholds_for(self, test: Path) -> Thresholds:
        """Return the bounds for a test: those asked for, else the nearest file, else the shipped.

        Raises:
            ThresholdsError: a file that cannot be used.
        """
        return self._read(self._thresholds_file(test))

    def controls_needed(self) -> dict[str, frozenset[str]]:
        """Return the controls that bounds of the collected tests are relative to, by metric."""
        from pytest_sae.gate.planned import controls_needed

        return controls_needed(self._thresholds.values() if self.options.gate else ())

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

            rules = load_thresholds(path, shown_path(self.config, path))
            other = self.options.baseline_other_seed
            self._thresholds[path] = rules.of_other_seed() if other else rules
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

    def foresee(self, tests: Iterable[Path]) -> None:
        """Read the bounds of collected tests: what they are relative to has to be measured.

        Args:
            tests: files of tests about SAEs. Bounds that cannot be used are said by their tests.
        """
        for path in dict.fromkeys(tests):
            with contextlib.suppress(ThresholdsError):
                self.thresholds_for(path)

    def thresholds_in_force(self, tests: Iterable[str]) -> list[Thresholds]:
        """Return all bounds that a run is judged by, wherever its command line begins.

        Args:
            tests: ids of the collected tests about SAEs.

        Returns:
            The shipped ones only where the shipped suite is run: who has written a test and no
            bounds is judged by those that there are, and need not measure everything else.
        """
        names = dict.fromkeys(each.partition("::")[0] for each in tests)
        paths = [self.config.rootpath / name for name in names]
        self.foresee(paths)
        shipped = shipped_thresholds()
        own = [
            file
            for path in paths
            if (file := self._thresholds_file(path)) != shipped or shipped.parent in path.parents
        ]
        found = [self._thresholds[file] for file in own if file in self._thresholds]
        together = {each.file: each for each in (*self.foreseen_thresholds(), *found)}
        return [*together.values()]

    def expects_sae_tests(self) -> bool:
        """Whether SAE tests may run, as far as the command line tells."""
        return self.options.asked or bool(self.foreseen_thresholds())

    @property
    def shows_progress(self) -> bool:
        """Whether anybody is to be told how far the run has come."""
        said = self.options.progress and self.config.getoption("verbose", 0) >= 0
        return bool(said) and self.expects_sae_tests()

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


def _baseline_of(sent: dict[str, Any] | None) -> Baseline | None:
    if sent is None:
        return None
    from pytest_sae.gate.baseline import Baseline, Entry

    return Baseline(sent["source"], tuple(Entry(**entry) for entry in sent["entries"]))


def bundled_sae() -> Path:
    """Return the directory of the SAE that is evaluated when none is named."""
    from pytest_sae import bundled_world

    return bundled_world() / "saes" / "topk"


def shipped_thresholds() -> Path:
    """Return the bounds of the suite that comes with the package."""
    package = Path(pytest_sae.__file__).parent
    installed = package / "evals" / THRESHOLDS
    return installed if installed.is_file() else package.parent / "evals" / THRESHOLDS


def shown_path(config: pytest.Config, path: Path) -> str:
    """Return a path as reports show it: from the root directory where it lies below it.

    Args:
        config: pytest's, which knows the root directory.
        path: as it is; only an absolute one can be shortened.
    """
    try:
        return writable(path.relative_to(config.rootpath).as_posix())
    except ValueError:
        return writable(str(path))
