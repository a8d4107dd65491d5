"""The flags of the command line, their ini twins, and what they are allowed to say."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_sae.errors import OptionError
from pytest_sae.suggest import suggest

if TYPE_CHECKING:
    import pytest

SUITES = ("smoke", "standard", "paper")
DTYPES = ("float32", "bfloat16", "float16", "float64")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
MODES = ("live", "record", "replay")
RULES = "rules"
RECORDINGS = "judge-recordings.jsonl"


@dataclass(frozen=True)
class Options:
    """What the user asked for: plain builtins, so that they travel to workers and reports.

    Args:
        sae: the values of --sae as typed, empty for the bundled dictionary.
        model: path or name that overrides what the dictionary declares, None to believe it.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: floating type of model and dictionary.
        suite: name of the sizes, see `pytest_sae.suites`.
        data: None for the bundled texts, a TOML file, `canonical` or `canonical:DIR`.
        thresholds: file, None to look for `thresholds.toml` beside the tests.
        report: directory that the reports go to.
        cache: directory of the activation cache, None to keep nothing.
        seed: seed of everything random.
        gate: False to measure without judging.
        threads: CPU threads of torch, one by default because sums depend on their number.
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


# Flag (after --sae-), what stands for its value in the help, help. The ini twin is sae_<flag>.
_VALUED = (
    ("model", "PATH", "model to run, if not the one that the SAE declares"),
    ("device", "DEVICE", f"where to compute: {', '.join(DEVICES)} (default auto)"),
    ("dtype", "DTYPE", f"type to compute in: {', '.join(DTYPES)} (default float32)"),
    ("suite", "NAME", f"sizes of the run: {', '.join(SUITES)} (default standard)"),
    ("data", "FILE", "TOML file that names your texts, or canonical, or canonical:DIR"),
    ("thresholds", "FILE", "TOML file with the bounds (default thresholds.toml beside the tests)"),
    ("report", "DIR", "where the reports go (default sae-report)"),
    ("cache", "DIR|off", "where activations are kept between runs (default the user's cache)"),
    ("seed", "N", "seed of everything random (default 0)"),
    ("threads", "N", "CPU threads (default 1: sums of floats depend on their number)"),
    ("judge", "MODEL", "who judges latents: a model as litellm names it, or rules (bundled world)"),
    ("judge-api-base", "URL", "where the judge is served, if not at its provider's"),
    ("judge-budget", "LIMIT", "most that judging may cost: 200k (tokens), $1.50, or 200k,$1.50"),
    ("judge-concurrency", "N", "questions asked at a time (default 8)"),
    ("judge-mode", "MODE", f"{', '.join(MODES)}: ask, ask and keep, or only read (default live)"),
    ("judge-recordings", "FILE", "recorded answers (default judge-recordings.jsonl)"),
    ("scorer", "PATH", "language model of the surprisal scorer"),
    ("embedder", "PATH", "model of the embedding scorer, or litellm:NAME"),
)


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


def read_options(config: pytest.Config) -> Options:
    """Return the options of this run; the command line wins over the ini file.

    Raises:
        OptionError: a value that cannot be used; the message lists those that can.
    """
    values = {name: _valued(config, name) for name, _, _ in _VALUED}
    typed = config.getoption("sae") or []
    return Options(
        sae=tuple(typed) or _saes_of_ini(config),
        model=_model(values["model"]),
        device=_device(values["device"], _workers(config)),
        dtype=_one_of("dtype", values["dtype"] or "float32", DTYPES),
        suite=_one_of("suite", values["suite"] or "standard", SUITES),
        data=_data(values["data"]),
        thresholds=_thresholds(values["thresholds"]),
        report=_directory("report", values["report"] or str(config.rootpath / "sae-report")),
        cache=_cache(values["cache"]),
        seed=_whole("seed", values["seed"] or "0", least=0),
        gate=not (config.getoption("sae_no_gate") or config.getini("sae_no_gate")),
        threads=_whole("threads", values["threads"] or "1", least=1),
        judge=values["judge"] or None,
        judge_api_base=_url("judge-api-base", values["judge-api-base"]),
        judge_budget=_budget(values["judge-budget"]),
        judge_concurrency=_whole("judge-concurrency", values["judge-concurrency"] or "8", least=1),
        judge_mode=_one_of("judge-mode", values["judge-mode"] or "live", MODES),
        judge_recordings=_recordings(values["judge-mode"], values["judge-recordings"], config),
        scorer=values["scorer"] or None,
        embedder=values["embedder"] or None,
        asked=bool(typed or typed_flags(config) or config.getoption("sae_no_gate")),
    )


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
    if name in ("thresholds", "report", "judge-recordings") or (name == "cache" and value != "off"):
        return str(directory / Path(value).expanduser())
    if name == "data" and value != "canonical":
        kind, colon, path = value.rpartition("canonical:")
        return f"{kind}{colon}{directory / Path(path).expanduser()}"
    if name in ("model", "scorer", "embedder") and (directory / Path(value).expanduser()).exists():
        return str(directory / Path(value).expanduser())
    return value


def _workers(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None))


def _one_of(flag: str, value: str, valid: Sequence[str]) -> str:
    if value in valid:
        return value
    raise OptionError(
        f"--sae-{flag}={value}: expected one of {', '.join(valid)}.{suggest(value, valid)}"
    )


def _device(value: str, distributed: bool) -> str:
    value = value or "auto"
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        _one_of("device", value, DEVICES)
        raise OptionError(f"--sae-device={value}: N stands for a number, such as cuda:0.")
    if distributed and value.startswith("cuda:"):
        raise OptionError(
            f"--sae-device={value} cannot be used with -n, which gives every worker a GPU of its "
            f"own. Expected --sae-device=cuda; choose GPUs with CUDA_VISIBLE_DEVICES."
        )
    return value


def _model(value: str) -> str | None:
    looks_local = value.startswith((".", "~", os.sep)) or value.count("/") > 1
    if looks_local and not Path(value).expanduser().exists():
        raise OptionError(
            f"--sae-model={value} does not exist. Expected a directory made by save_pretrained, "
            "or a model's name on the Hugging Face hub."
        )
    return value or None


def _data(value: str) -> str | None:
    kind, colon, local = value.rpartition("canonical:")
    if value in ("", "canonical"):
        return value or None
    if colon and not kind:
        if not Path(local).exists():
            raise OptionError(f"--sae-data={value}: {local} does not exist.")
    elif not Path(value).is_file():
        raise OptionError(
            f"--sae-data={value} is no file. Expected a TOML file that names your texts, "
            "canonical (Bias in Bios and Amazon from the hub) or canonical:DIR (a local copy)."
        )
    return value


def _thresholds(value: str) -> str | None:
    if value and not Path(value).is_file():
        raise OptionError(f"--sae-thresholds={value} is no file. Expected a TOML file of bounds.")
    return value or None


def _directory(flag: str, value: str) -> str:
    if Path(value).exists() and not Path(value).is_dir():
        raise OptionError(f"--sae-{flag}={value} is a file. Expected a directory.")
    return value


def _cache(value: str) -> str | None:
    if value == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return _directory("cache", value or str(Path(home) / "pytest-sae"))


def _recordings(mode: str, value: str, config: pytest.Config) -> str | None:
    if mode in ("", "live"):
        return value or None
    return value or str(config.rootpath / RECORDINGS)


def _url(flag: str, value: str) -> str | None:
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError(f"--sae-{flag}={value}: expected a URL such as http://localhost:8000/v1.")
    if parts.username or parts.password or parts.query:
        # The command line is part of every report.
        raise OptionError(
            f"--sae-{flag} holds credentials or a query. Expected the bare URL: keys belong in the "
            "environment (OPENAI_API_KEY and the like), where no report shows them."
        )
    return value


def _budget(value: str) -> str | None:
    if value:
        from pytest_sae.judge.settings import parse_budget

        parse_budget(value)
    return value or None


def _whole(flag: str, value: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,9}", value) or int(value) < least:
        raise OptionError(f"--sae-{flag}={value}: expected a whole number of at least {least}.")
    return int(value)
