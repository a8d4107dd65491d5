"""What the value of a flag is allowed to say: each checked, and refused with what was expected.

Every function raises `OptionError`, whose message names the flag.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pytest_sae.errors import OptionError, suggest

SUITES = ("smoke", "standard", "paper")
DTYPES = ("float32", "bfloat16", "float16", "float64")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
MODES = ("live", "record", "replay")
CONTROL_SETS = ("off", "cheap", "all")
RULES = "rules"
PROVIDED = "litellm:"


def one_of(flag: str, value: str, valid: Sequence[str]) -> str:
    """Return a value that is among those valid.

    Args:
        flag: its name without `--sae-`.
        value: what it was given.
        valid: what it may be.

    Raises:
        OptionError: it is none of them; the nearest is suggested.
    """
    if value in valid:
        return value
    raise OptionError(
        f"--sae-{flag}={value}: expected one of {', '.join(valid)}.{suggest(value, valid)}"
    )


def device(value: str, distributed: bool) -> str:
    """Return the device of a run.

    Args:
        value: of the flag, empty for `auto`.
        distributed: whether workers run side by side, each with a GPU of its own.

    Raises:
        OptionError: no device, or one GPU for all workers.
    """
    value = value or "auto"
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        one_of("device", value, DEVICES)
        raise OptionError(f"--sae-device={value}: N stands for a number, such as cuda:0.")
    if distributed and value.startswith("cuda:"):
        raise OptionError(
            f"--sae-device={value} cannot be used with -n, which gives every worker a GPU of its "
            f"own. Expected --sae-device=cuda; choose GPUs with CUDA_VISIBLE_DEVICES."
        )
    return value


def model(flag: str, value: str) -> str | None:
    """Return a model's path or name, None for none.

    Args:
        flag: its name without `--sae-`.
        value: of the flag, empty for none.

    Raises:
        OptionError: a path that does not exist.
    """
    provided = value.startswith(PROVIDED)
    looks_local = value.startswith((".", "~", os.sep)) or value.count("/") > 1
    if looks_local and not provided and not Path(value).expanduser().exists():
        raise OptionError(
            f"--sae-{flag}={value} does not exist. Expected a directory made by save_pretrained, "
            "or a model's name on the Hugging Face hub."
        )
    return value or None


def named_model(value: str, activations: str) -> str | None:
    """Return the model of a run, which need not be on this machine beside a recording.

    Args:
        value: of the flag, empty for none.
        activations: of its flag: a recording's directory, empty for none.

    Raises:
        OptionError: a path that does not exist, without a recording.
    """
    # Beside recorded activations it is a name, of a model that need not be on this machine.
    return (value or None) if activations else model("model", value)


def activations(value: str) -> str | None:
    """Return the directory of a recording, None for none."""
    if value and not (Path(value) / "activations.json").is_file():
        raise OptionError(
            f"--sae-activations={value} holds no activations.json. Expected a directory that "
            "`pytest-sae record` made."
        )
    return value or None


def data(value: str) -> str | None:
    """Return where the texts come from, None for the bundled ones."""
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


def thresholds(value: str) -> str | None:
    """Return the file of bounds, None to look for it."""
    if value and not Path(value).is_file():
        raise OptionError(f"--sae-thresholds={value} is no file. Expected a TOML file of bounds.")
    return value or None


def directory(flag: str, value: str) -> str:
    """Return a path that is no file.

    Args:
        flag: its name without `--sae-`.
        value: of the flag.

    Raises:
        OptionError: it is a file.
    """
    if Path(value).exists() and not Path(value).is_dir():
        raise OptionError(f"--sae-{flag}={value} is a file. Expected a directory.")
    return value


def cache(value: str) -> str | None:
    """Return the directory of the cache, None for none."""
    if value == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return directory("cache", value or str(Path(home) / "pytest-sae"))


def url(flag: str, value: str) -> str | None:
    """Return an address without credentials, None for none.

    Args:
        flag: its name without `--sae-`.
        value: of the flag, empty for none.

    Raises:
        OptionError: no URL, or one with a user, a password or a query.
    """
    if not value:
        return None
    if "@" in value or "?" in value:
        # The command line is part of every report.
        raise OptionError(
            f"--sae-{flag} holds credentials or a query. Expected the bare URL: keys belong in the "
            "environment (OPENAI_API_KEY and the like), where no report shows them."
        )
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
        raise OptionError(f"--sae-{flag}={value}: expected a URL such as http://localhost:8000/v1.")
    return value


def budget(value: str) -> str | None:
    """Return a judge's budget as typed, None for none."""
    if value:
        from pytest_sae.judge.settings import parse_budget

        parse_budget(value)
    return value or None


def judge_timeout(value: str) -> str | None:
    """Return how long a judge is waited for, as typed, None for the default."""
    if value:
        from pytest_sae.judge.settings import parse_time_limits

        parse_time_limits(value)
    return value or None


def update(asked: Sequence[str] | None, baseline: str) -> str | None:
    """Return what of a baseline is written anew, None for nothing.

    Args:
        asked: what was asked for: `all`, `new`, both, or nothing.
        baseline: of its flag, empty for none.

    Raises:
        OptionError: both were asked for, or there is no baseline.
    """
    if asked and not baseline:
        raise OptionError(
            "--sae-baseline-update has nothing to write to. Expected --sae-baseline=PATH beside "
            "it: a directory, or a file for the values of all SAEs."
        )
    if asked and len(set(asked)) > 1:
        raise OptionError(
            "--sae-baseline-update replaces every value, --sae-baseline-update-new none. "
            "Expected one of them."
        )
    return asked[0] if asked else None


def controls(value: str) -> str | None:
    """Return which controls are measured, None for the suite's."""
    if value in ("", *CONTROL_SETS):
        return value or None
    from pytest_sae.numbers.control import CONTROLS

    names = [name.strip() for name in value.split(",")]
    for name in names:
        one_of("controls", name, CONTROLS if len(names) > 1 else (*CONTROL_SETS, *CONTROLS))
    return ",".join(each for each in CONTROLS if each in names)


#: What families are called together, after what they need.
TOGETHER = {
    "probes": ("last_token_probing",),
    "judge": ("judge_calibration", "shift", "autointerp"),
}


def families(value: str) -> tuple[str, ...]:
    """Return the families that must be measured, each once."""
    if not value:
        return ()
    from pytest_sae.families.registry import cards

    names = [name.strip() for name in value.split(",")]
    known = [card.name for card in cards()]
    for name in names:
        one_of("require", name, [*TOGETHER, *known])
    return tuple(dict.fromkeys(each for name in names for each in TOGETHER.get(name, (name,))))


def shard(value: str) -> str | None:
    """Return a part of the SAEs as typed, None for all."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value)
    if value and not (found and 1 <= int(found[1]) <= int(found[2])):
        raise OptionError(
            f"--sae-shard={value}: expected K/N, such as 2/8 for the second of eight parts."
        )
    return value or None


def size(flag: str, value: str) -> int:
    """Return a number of bytes.

    Args:
        flag: its name without `--sae-`.
        value: of the flag: `off`, or a number with k, M, G or T behind it.

    Returns:
        Bytes, 0 for `off`; k is 1024 of them.

    Raises:
        OptionError: neither.
    """
    found = re.fullmatch(r"(\d{1,9})([kMGT]?)", value)
    if value != "off" and not found:
        raise OptionError(f"--sae-{flag}={value}: expected off, or bytes such as 500k, 2M or 200G.")
    return int(found[1]) * 2 ** (10 * " kMGT".index(found[2] or " ")) if found else 0


def progress(value: str) -> int:
    """Return the seconds between two lines about progress, 0 for `off`.

    Raises:
        OptionError: it is neither.
    """
    return 0 if value == "off" else whole("progress", value, 1)


def whole(flag: str, value: str, least: int) -> int:
    """Return a whole number.

    Args:
        flag: its name without `--sae-`.
        value: of the flag.
        least: the smallest that is allowed.

    Raises:
        OptionError: no whole number, or a smaller one.
    """
    if not re.fullmatch(r"\d{1,9}", value) or int(value) < least:
        raise OptionError(f"--sae-{flag}={value}: expected a whole number of at least {least}.")
    return int(value)
