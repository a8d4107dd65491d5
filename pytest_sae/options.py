"""The flags of the command line, their ini twins, and what they are allowed to say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae import option_values as checked
from pytest_sae.errors import OptionError
from pytest_sae.option_values import DEVICES, DTYPES, MODES, PROVIDED, RULES, SUITES

if TYPE_CHECKING:
    import pytest

RECORDINGS = "judge-recordings.jsonl"


@dataclass(frozen=True)
class Options:
    """What the user asked for: plain builtins, so that they travel to workers and reports.

    Args:
        sae: the values of --sae as typed, empty for the bundled dictionary.
        model: path or name that overrides what the dictionary declares, None to believe it.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: floating type of model and dictionary.
        model_dtype: of the model, where it has another one; None for the same.
        suite: name of the sizes, see `pytest_sae.session.suites`.
        data: None for the bundled texts, a TOML file, `canonical` or `canonical:DIR`.
        thresholds: file, None to look for `thresholds.toml` beside the tests.
        report: directory that the reports go to.
        cache: directory of the activation cache, None to keep nothing.
        cache_limit: bytes that it may hold after the run, 0 for any number.
        memory: bytes that a process of the run may hold, 0 for as many as it takes.
        seed: seed of everything random.
        gate: False to measure without judging.
        threads: CPU threads of torch and linear algebra, one by default because sums depend on
            their number.
        asked: whether any of this stands on the command line, so that SAE tests are expected.
        judge: litellm's name of the judging model, `rules` for the bundled world's stand-in, None
            for that stand-in on the bundled model and for no judge on any other.
        judge_api_base: URL of the judge's provider, None for the model's own.
        judge_budget: the most that asking may cost, as typed; None for no limit.
        judge_timeout: how long it is waited for, as typed: for a question, for all of a run; None
            for the default.
        judge_concurrency: how many questions are asked at a time.
        judge_mode: `live`, `record` or `replay`.
        judge_recordings: file of recorded answers, None where nothing is recorded or replayed.
        scorer: path or name of the language model of the surprisal scorer, None for none.
        embedder: path or name of the embedding model, `litellm:NAME` for a provider's, or None.
        baseline: file or directory of earlier values to compare with, None for none.
        update: which of them the run replaces: `all`, `new`, or None for none.
        shard: which part of the SAEs is evaluated, K/N, None for all of them.
        ci: whether a value that the baseline does not have fails the run.
        activations: directory of recorded activations, None to run the model.
        repeats: how often everything random is done, each time with another seed.
        baseline_texts: most bytes that are kept, for one SAE, of what each text adds to the errors
            of its values.
        resume: whether the run goes on with an earlier one.
        progress: seconds between two lines that say how far it has come, 0 for none.
        controls: `off`, `cheap`, `all`, or names with commas between them; None for the suite's.
        twin: the dictionary that seed agreement compares with, as --sae spells one; None for none.
        audit: whether the metrics themselves are audited on worlds whose truth is known.
        partial: whether a run of a part of the tests may be green in CI.
        accept_regressions: whether worse values may enter a baseline in CI.
        require: families that must be measured on every SAE.
        baseline_other_seed: whether the baseline is of another run of the recipe.
    """

    sae: tuple[str, ...]
    model: str | None
    device: str
    dtype: str
    suite: str
    data: str | None
    thresholds: str | None
    report: str
    cache: str | None
    seed: int
    gate: bool
    threads: int
    asked: bool
    judge: str | None = None
    judge_api_base: str | None = None
    judge_budget: str | None = None
    judge_timeout: str | None = None
    judge_concurrency: int = 8
    judge_mode: str = "live"
    judge_recordings: str | None = None
    scorer: str | None = None
    embedder: str | None = None
    baseline: str | None = None
    update: str | None = None
    shard: str | None = None
    ci: bool = False
    activations: str | None = None
    repeats: int = 1
    baseline_texts: int = 2**20
    cache_limit: int = 0
    memory: int = 0
    resume: bool = False
    model_dtype: str | None = None
    progress: int = 60
    controls: str | None = None
    twin: str | None = None
    audit: bool = False
    partial: bool = False
    accept_regressions: bool = False
    require: tuple[str, ...] = ()
    baseline_other_seed: bool = False


@dataclass(frozen=True)
class Flag:
    """A flag that takes a value, and its ini twin `sae_<name>`.

    Args:
        name: after `--sae-`.
        metavar: what stands for its value in the help.
        help: what it is for.
        read: checks a value and returns what it means.
        default: the value where none is given, as it would be typed.
        told: the default in words, where it is not simply a value.
    """

    name: str
    metavar: str
    help: str
    read: Callable[[str], object] = lambda value: value or None
    default: str = ""
    told: str = ""

    @property
    def dest(self) -> str:
        """Under which name pytest keeps it."""
        return f"sae_{self.name.replace('-', '_')}"

    @property
    def text(self) -> str:
        """The help with the default."""
        told = self.told or self.default
        return f"{self.help} (default {told})" if told else self.help


def _one_of(name: str, valid: Sequence[str]) -> Callable[[str], str]:
    return lambda value: checked.one_of(name, value, valid)


def _one_of_or_none(name: str, valid: Sequence[str]) -> Callable[[str], str | None]:
    return lambda value: checked.one_of(name, value, valid) if value else None


def _whole(name: str, least: int) -> Callable[[str], int]:
    return lambda value: checked.whole(name, value, least)


def _model(name: str) -> Callable[[str], str | None]:
    return lambda value: checked.model(name, value)


# Read with what else was asked for, in `read_options`.
_TOGETHER = ("model", "device", "report", "judge-recordings")
FLAGS = (
    Flag("model", "PATH", "model to run, if not the one that the SAE declares"),
    Flag("device", "DEVICE", f"where to compute: {', '.join(DEVICES)}", default="auto"),
    Flag("dtype", "DTYPE", f"type to compute in: {', '.join(DTYPES)}", _one_of("dtype", DTYPES),
         "float32"),
    Flag("model-dtype", "DTYPE", "type that the model computes in, if not that of the SAE",
         _one_of_or_none("model-dtype", DTYPES)),
    Flag("suite", "NAME", f"sizes of the run: {', '.join(SUITES)}", _one_of("suite", SUITES),
         "standard"),
    Flag("data", "FILE", "TOML file that names your texts, or canonical, or canonical:DIR",
         checked.data),
    Flag("thresholds", "FILE", "TOML file with the bounds", checked.thresholds,
         told="thresholds.toml beside the tests"),
    Flag("baseline", "PATH",
         "values to compare with: a baseline file, a report.json, or a directory"),
    Flag("baseline-texts", "SIZE|off", "most that is kept of each text's part in the errors",
         lambda value: checked.size("baseline-texts", value), "1M"),
    Flag("report", "DIR", "where the reports go", told="sae-report"),
    Flag("cache", "DIR|off", "where activations are kept between runs", checked.cache,
         told="the user's cache"),
    Flag("cache-limit", "SIZE|off",
         "most that stays there after a run; what was used longest ago goes first",
         lambda value: checked.size("cache-limit", value), "off"),
    Flag("memory", "SIZE|off",
         "most memory that a process of the run may hold: less is kept, no value changes",
         lambda value: checked.size("memory", value), "off"),
    Flag("seed", "N", "seed of everything random", _whole("seed", 0), "0"),
    Flag("repeats", "N", "how often everything random is done, averaged, its spread shown",
         _whole("repeats", 1), "1"),
    Flag("threads", "N", "CPU threads", _whole("threads", 1), "1",
         "1: sums of floats depend on their number"),
    Flag("judge", "MODEL",
         "who judges latents: a model as litellm names it, or rules (bundled world)"),
    Flag("judge-api-base", "URL", "where the judge is served, if not at its provider's",
         lambda value: checked.url("judge-api-base", value)),
    Flag("judge-budget", "LIMIT",
         "most that judging may cost: tokens as 200k or 2M, dollars as $1.50 or 1.5usd, or both",
         checked.budget),
    Flag("judge-timeout", "QUESTION,RUN",
         "longest that a judge is waited for: for one answer, and for all of a run's",
         checked.judge_timeout, told="10m,4h"),
    Flag("judge-concurrency", "N", "questions asked at a time", _whole("judge-concurrency", 1),
         "8"),
    Flag("judge-mode", "MODE", f"{', '.join(MODES)}: ask, ask and keep, or only read",
         _one_of("judge-mode", MODES), "live"),
    Flag("judge-recordings", "FILE", "recorded answers", told=RECORDINGS),
    Flag("scorer", "PATH", "language model of the surprisal scorer", _model("scorer")),
    Flag("embedder", "PATH", "model of the embedding scorer, or litellm:NAME", _model("embedder")),
    Flag("activations", "DIR", "recorded activations to evaluate on, without the model",
         checked.activations),
    Flag("controls", "WHICH", "controls to measure: off, cheap, all, or names such as random,pca",
         checked.controls),
    Flag("twin", "PATH", "the same SAE from another seed, for seed_agreement"),
    Flag("require", "NAMES",
         "families that must be measured, such as probes,judge: red where they are skipped",
         checked.families),
    Flag("progress", "SECONDS|off",
         "how often a log is told how far the run has come; a terminal shows a bar in its place",
         checked.progress, "60"),
    Flag("shard", "K/N",
         "evaluate the K-th of N parts of the SAEs; pytest-sae merge unites them", checked.shard),
)  # fmt: skip
_UPDATES = (
    ("sae_baseline_update", "all", "write what this run measures into the baseline"),
    ("sae_baseline_update_new", "new", "write only what the baseline does not have yet"),
)

_SWITCHES = (
    ("sae_partial", "let a part of the tests, chosen with -k and the like, pass in CI"),
    ("sae_resume", "go on with the run that was cut off, whose journal is in the report directory"),
    (
        "sae_baseline_other_seed",
        "the baseline is of another run of the recipe: other_seed of the "
        "rules counts in place of regression",
    ),
    ("sae_accept_regressions", "let --sae-baseline-update take in worse values in CI too"),
)
_CI = "judge as in CI: what is new, or left out, is red (default where a CI service is recognised)"
_NO_CI = "judge as at a desk, also on a CI service"
#: Variables by which services say that they are one.
CI_VARIABLES = (
    "CI", "CONTINUOUS_INTEGRATION", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILD_NUMBER",
    "TF_BUILD", "TEAMCITY_VERSION", "BUILDKITE", "CIRCLECI", "TRAVIS", "APPVEYOR", "DRONE",
    "CODEBUILD_BUILD_ID", "BITBUCKET_BUILD_NUMBER",
)  # fmt: skip

_PATHS = ("thresholds", "report", "judge-recordings", "baseline", "activations")


def add_options(parser: pytest.Parser) -> None:
    """Declare every flag and its ini twin."""
    group = parser.getgroup("sae", "sparse autoencoders (pytest-sae)")
    help_ = "SAE to evaluate: [NAME@] directory, weights file or quoted glob; may be repeated"
    group.addoption("--sae", action="append", dest="sae", metavar="PATH", help=help_)
    parser.addini("sae", f"{help_} (one a line)", type="linelist", default=[])
    for flag in FLAGS:
        metavar, text = flag.metavar, flag.text
        group.addoption(f"--sae-{flag.name}", dest=flag.dest, metavar=metavar, help=text)
        parser.addini(flag.dest, text, type="string", default="")
    text = "measure and report, judge nothing"
    group.addoption("--sae-no-gate", dest="sae_no_gate", action="store_true", help=text)
    parser.addini("sae_no_gate", text, type="bool", default=False)
    text = "also audit the metrics themselves, on synthetic worlds whose truth is known"
    group.addoption("--sae-audit", dest="sae_audit", action="store_true", help=text)
    for dest, text in _SWITCHES:
        name = f"--{dest.replace('_', '-')}"
        group.addoption(name, dest=dest, action="store_true", help=text)
    group.addoption("--no-sae-ci", dest="sae_ci", action="store_false", default=None, help=_NO_CI)
    group.addoption("--sae-ci", dest="sae_ci", action="store_true", default=None, help=_CI)
    for dest, which, text in _UPDATES:
        name = f"--{dest.replace('_', '-')}"
        group.addoption(name, dest="sae_update", action="append_const", const=which, help=text)


def read_options(config: pytest.Config) -> Options:
    """Return the options of this run; the command line wins over the ini file.

    Raises:
        OptionError: a value that cannot be used; the message lists those that can.
    """
    values = {flag.name: _valued(config, flag) for flag in FLAGS}
    alone = {
        flag.dest.removeprefix("sae_"): flag.read(values[flag.name])
        for flag in FLAGS
        if flag.name not in _TOGETHER
    }
    options = Options(
        sae=tuple(config.getoption("sae") or []) or _saes_of_ini(config),
        model=checked.named_model(values["model"], values["activations"]),
        device=checked.device(values["device"], _workers(config)),
        report=checked.directory("report", str(report_directory(config))),
        judge_recordings=_recordings(values["judge-mode"], values["judge-recordings"], config),
        gate=not (config.getoption("sae_no_gate") or config.getini("sae_no_gate")),
        update=checked.update(config.getoption("sae_update"), values["baseline"]),
        ci=in_ci() if config.getoption("sae_ci") is None else config.getoption("sae_ci"),
        audit=bool(config.getoption("sae_audit")),
        partial=bool(config.getoption("sae_partial")),
        resume=bool(config.getoption("sae_resume")),
        accept_regressions=bool(config.getoption("sae_accept_regressions")),
        baseline_other_seed=bool(config.getoption("sae_baseline_other_seed")),
        asked=_asked(config),
        **alone,  # type: ignore[arg-type]  # each was checked by its own reader
    )
    return _whose(options)


def report_directory(config: pytest.Config) -> Path:
    """Return where the reports of a run go.

    Args:
        config: of the run; what it was called with is enough.

    Raises:
        OptionError: the flag has no value.
    """
    (flag,) = (flag for flag in FLAGS if flag.name == "report")
    return Path(_valued(config, flag) or config.rootpath / "sae-report")


def baseline_path(config: pytest.Config) -> Path | None:
    """Return what a run is compared with, None for nothing.

    Args:
        config: of the run; what it was called with is enough.

    Raises:
        OptionError: the flag has no value.
    """
    (flag,) = (flag for flag in FLAGS if flag.name == "baseline")
    value = _valued(config, flag)
    return Path(str(value)) if value else None


def in_ci() -> bool:
    """Whether this is a run of a CI service, by the variables that such services set."""
    return ci_service() != ""


def ci_service() -> str:
    """Return the variable by which a CI service is recognised, empty if none is there."""
    told = (name for name in CI_VARIABLES if _says_yes(os.environ.get(name, "")))
    # Somebody who says that it is none is believed.
    silent = os.environ.get("CI", "").lower() in ("0", "false")
    return "" if silent else next(told, "")


def _says_yes(value: str) -> bool:
    return value.lower() not in ("", "0", "false")


def _asked(config: pytest.Config) -> bool:
    switches = ("sae", "sae_no_gate", "sae_update")
    return bool(typed_flags(config) or any(config.getoption(each) for each in switches))


def typed_flags(config: pytest.Config) -> list[str]:
    """Return the flags with a value as typed, other than --sae itself."""
    typed = {flag.name: config.getoption(flag.dest) for flag in FLAGS}
    return [f"--sae-{name}={value}" for name, value in typed.items() if value is not None]


def _valued(config: pytest.Config, flag: Flag) -> str:
    typed = config.getoption(flag.dest)
    if typed is not None:
        if not typed.strip():
            raise OptionError(f"--sae-{flag.name}= is empty. Expected a value, or leave it out.")
        return _anchored(flag.name, str(typed), config.invocation_params.dir)
    value = str(config.getini(flag.dest))
    return _anchored(flag.name, value, _ini_directory(config)) if value else flag.default


def _ini_directory(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath else config.rootpath


def _saes_of_ini(config: pytest.Config) -> tuple[str, ...]:
    # Like every path in an ini file these start from the file, wherever pytest is called from.
    return tuple(
        str(_ini_directory(config) / Path(text).expanduser()) for text in config.getini("sae")
    )


def _anchored(name: str, value: str, directory: Path) -> str:
    """Make a path absolute, so that workers and later changes of directory agree on it."""
    if name in _PATHS or (name == "cache" and value != "off"):
        return str(directory / Path(value).expanduser())
    if name == "data" and value != "canonical":
        kind, colon, path = value.rpartition("canonical:")
        return f"{kind}{colon}{directory / Path(path).expanduser()}"
    if name in ("model", "scorer", "embedder") and (directory / Path(value).expanduser()).exists():
        return str(directory / Path(value).expanduser())
    return value


def _workers(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None))


def _recordings(mode: str, value: str, config: pytest.Config) -> str | None:
    if mode in ("", "live"):
        return value or None
    return value or str(config.rootpath / RECORDINGS)


def _whose(options: Options) -> Options:
    """Refuse to record or replay nobody: the run would look as if it had."""
    provided = (options.embedder or "").startswith(PROVIDED)
    if options.judge_mode != "live" and options.judge in (None, RULES) and not provided:
        raise OptionError(
            f"--sae-judge-mode={options.judge_mode} needs a model whose answers are recorded. Name "
            "it with --sae-judge=MODEL (also in a replay: answers are kept by model)."
        )
    return options
