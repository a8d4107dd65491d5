"""The flags of the command line, their ini twins, and what they are allowed to say."""

from __future__ import annotations

import os
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
        suite: name of the sizes, see `pytest_sae.session.suites`.
        data: None for the bundled texts, a TOML file, `canonical` or `canonical:DIR`.
        thresholds: file, None to look for `thresholds.toml` beside the tests.
        report: directory that the reports go to.
        cache: directory of the activation cache, None to keep nothing.
        seed: seed of everything random.
        gate: False to measure without judging.
        threads: CPU threads of torch and linear algebra, one by default because sums depend on
            their number.
        asked: whether any of this stands on the command line, so that SAE tests are expected.
        judge: litellm's name of the judging model, `rules` for the bundled world's stand-in, None
            for that stand-in on the bundled model and for no judge on any other.
        judge_api_base: URL of the judge's provider, None for the model's own.
        judge_budget: the most that asking may cost, as typed; None for no limit.
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
        controls: `off`, `cheap`, `all`, or names with commas between them; None for the suite's.
        twin: the dictionary that seed agreement compares with, as --sae spells one; None for none.
        audit: whether the metrics themselves are audited on worlds whose truth is known.
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
    controls: str | None = None
    twin: str | None = None
    audit: bool = False


# Flag (after --sae-), what stands for its value in the help, help. The ini twin is sae_<flag>.
_VALUED = (
    ("model", "PATH", "model to run, if not the one that the SAE declares"),
    ("device", "DEVICE", f"where to compute: {', '.join(DEVICES)} (default auto)"),
    ("dtype", "DTYPE", f"type to compute in: {', '.join(DTYPES)} (default float32)"),
    ("suite", "NAME", f"sizes of the run: {', '.join(SUITES)} (default standard)"),
    ("data", "FILE", "TOML file that names your texts, or canonical, or canonical:DIR"),
    ("thresholds", "FILE", "TOML file with the bounds (default thresholds.toml beside the tests)"),
    ("baseline", "PATH", "values to compare with: a baseline file, a report.json, or a directory"),
    ("baseline-texts", "SIZE|off", "most that is kept of each text's part in the errors (1M)"),
    ("report", "DIR", "where the reports go (default sae-report)"),
    ("cache", "DIR|off", "where activations are kept between runs (default the user's cache)"),
    ("seed", "N", "seed of everything random (default 0)"),
    ("repeats", "N", "how often everything random is done, averaged, its spread shown (default 1)"),
    ("threads", "N", "CPU threads (default 1: sums of floats depend on their number)"),
    ("judge", "MODEL", "who judges latents: a model as litellm names it, or rules (bundled world)"),
    ("judge-api-base", "URL", "where the judge is served, if not at its provider's"),
    ("judge-budget", "LIMIT", "most that judging may cost: 200k (tokens), $1.50, or 200k,$1.50"),
    ("judge-concurrency", "N", "questions asked at a time (default 8)"),
    ("judge-mode", "MODE", f"{', '.join(MODES)}: ask, ask and keep, or only read (default live)"),
    ("judge-recordings", "FILE", "recorded answers (default judge-recordings.jsonl)"),
    ("scorer", "PATH", "language model of the surprisal scorer"),
    ("embedder", "PATH", "model of the embedding scorer, or litellm:NAME"),
    ("activations", "DIR", "recorded activations to evaluate on, without the model"),
    ("controls", "WHICH", "controls to measure: off, cheap, all, or names such as random,pca"),
    ("twin", "PATH", "the same SAE from another seed, for seed_agreement"),
    ("shard", "K/N", "evaluate the K-th of N parts of the SAEs; pytest-sae merge unites them"),
)
_UPDATES = (
    ("sae_baseline_update", "all", "write what this run measures into the baseline"),
    ("sae_baseline_update_new", "new", "write only what the baseline does not have yet"),
)

_PATHS = ("thresholds", "report", "judge-recordings", "baseline", "activations")


def add_options(parser: pytest.Parser) -> None:
    """Declare every flag and its ini twin."""
    group = parser.getgroup("sae", "sparse autoencoders (pytest-sae)")
    help_ = "SAE to evaluate: directory, weights file or quoted glob; may be repeated"
    group.addoption("--sae", action="append", dest="sae", metavar="PATH", help=help_)
    parser.addini("sae", f"{help_} (one a line)", type="linelist", default=[])
    for name, metavar, text in _VALUED:
        group.addoption(f"--sae-{name}", dest=_dest(name), metavar=metavar, help=text)
        parser.addini(_dest(name), text, type="string", default="")
    text = "measure and report, judge nothing"
    group.addoption("--sae-no-gate", dest="sae_no_gate", action="store_true", help=text)
    parser.addini("sae_no_gate", text, type="bool", default=False)
    text = "also audit the metrics themselves, on synthetic worlds whose truth is known"
    group.addoption("--sae-audit", dest="sae_audit", action="store_true", help=text)
    for dest, which, text in _UPDATES:
        flag = f"--{dest.replace('_', '-')}"
        group.addoption(flag, dest="sae_update", action="append_const", const=which, help=text)


def read_options(config: pytest.Config) -> Options:
    """Return the options of this run; the command line wins over the ini file.

    Raises:
        OptionError: a value that cannot be used; the message lists those that can.
    """
    values = {name: _valued(config, name) for name, _, _ in _VALUED}
    typed = config.getoption("sae") or []
    options = Options(
        sae=tuple(typed) or _saes_of_ini(config),
        model=checked.named_model(values["model"], values["activations"]),
        device=checked.device(values["device"], _workers(config)),
        dtype=checked.one_of("dtype", values["dtype"] or "float32", DTYPES),
        suite=checked.one_of("suite", values["suite"] or "standard", SUITES),
        data=checked.data(values["data"]),
        thresholds=checked.thresholds(values["thresholds"]),
        report=checked.directory("report", values["report"] or str(config.rootpath / "sae-report")),
        cache=checked.cache(values["cache"]),
        seed=checked.whole("seed", values["seed"] or "0", least=0),
        gate=not (config.getoption("sae_no_gate") or config.getini("sae_no_gate")),
        threads=checked.whole("threads", values["threads"] or "1", least=1),
        judge=values["judge"] or None,
        judge_api_base=checked.url("judge-api-base", values["judge-api-base"]),
        judge_budget=checked.budget(values["judge-budget"]),
        judge_concurrency=checked.whole(
            "judge-concurrency", values["judge-concurrency"] or "8", least=1
        ),
        judge_mode=checked.one_of("judge-mode", values["judge-mode"] or "live", MODES),
        judge_recordings=_recordings(values["judge-mode"], values["judge-recordings"], config),
        scorer=checked.model("scorer", values["scorer"]),
        embedder=checked.model("embedder", values["embedder"]),
        activations=checked.activations(values["activations"]),
        twin=values["twin"] or None,
        baseline=values["baseline"] or None,
        repeats=checked.whole("repeats", values["repeats"] or "1", least=1),
        baseline_texts=checked.size("baseline-texts", values["baseline-texts"] or "1M"),
        update=checked.update(config.getoption("sae_update"), values["baseline"]),
        shard=checked.shard(values["shard"]),
        controls=checked.controls(values["controls"]),
        ci=in_ci(),
        audit=bool(config.getoption("sae_audit")),
        asked=_asked(config),
    )
    return _whose(options)


def in_ci() -> bool:
    """Whether this is a run of a CI service, as they all say."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _asked(config: pytest.Config) -> bool:
    switches = ("sae", "sae_no_gate", "sae_update")
    return bool(typed_flags(config) or any(config.getoption(each) for each in switches))


def typed_flags(config: pytest.Config) -> list[str]:
    """Return the flags with a value as typed, other than --sae itself."""
    typed = {name: config.getoption(_dest(name)) for name, _, _ in _VALUED}
    return [f"--sae-{name}={value}" for name, value in typed.items() if value is not None]


def _dest(name: str) -> str:
    return f"sae_{name.replace('-', '_')}"


def _valued(config: pytest.Config, name: str) -> str:
    typed = config.getoption(_dest(name))
    if typed is not None:
        if not typed.strip():
            raise OptionError(f"--sae-{name}= is empty. Expected a value, or leave it out.")
        return _anchored(name, str(typed), config.invocation_params.dir)
    value = str(config.getini(_dest(name)))
    return _anchored(name, value, _ini_directory(config)) if value else ""


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
