"""The command that measures one value again, from what a run was called with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

# What a run of one test must not do again: other SAEs, a part of them, a new baseline.
_DROPPED = ("--sae", "--sae-shard", "--sae-baseline-update", "--sae-baseline-update-new",
    "--sae-accept-regressions", "--sae-require", "--sae-audit", "--sae-partial",
    "--sae-resume")  # fmt: skip
#: Flags of ours without a value.
SWITCHES = ("--sae-no-gate", "--sae-ci", "--no-sae-ci", "--sae-baseline-update",
    "--sae-baseline-update-new", "--sae-accept-regressions", "--sae-audit", "--sae-partial",
    "--sae-resume", "--sae-baseline-other-seed")  # fmt: skip
# Those of pytest on which it depends what a test is.
_OF_PYTEST = ("-c", "--config-file", "--rootdir", "--confcutdir", "-p", "-o", "--override-ini",
    "--import-mode")  # fmt: skip


def rerun(test: str, sae: str, saes: Mapping[str, str], argv: Sequence[str]) -> str:
    """Return the command that measures one value again, into `partial` beside the whole report.

    Args:
        test: the test's id, its file as seen from where the command is given.
        sae: id of the SAE.
        saes: what was typed for each SAE by its id; empty for the bundled one.
        argv: what the run was called with.

    >>> rerun("evals/t.py::test_it[topk-l0]", "topk", {"topk": "saes/topk", "b": "saes/b"},
    ...     ["evals", "-n", "2", "--sae=saes/*", "--sae-suite", "smoke"])
    "pytest 'evals/t.py::test_it[topk-l0]' --sae=saes/topk --sae-suite=smoke"
    """
    named = [f"--sae={text}" for text in dict.fromkeys(_typed(sae, saes))]
    return shlex.join(["pytest", *_where(test, argv), *named, *_kept(argv)])


def _typed(sae: str, saes: Mapping[str, str]) -> Sequence[str]:
    """The values of --sae that give an SAE the id that it has beside the others."""
    text = saes.get(sae)
    # One that is called by its own name is called so alone.
    alone = text and sae in (
        text.partition("@")[0],
        re.sub(r"[^A-Za-z0-9._+]+", "_", PurePath(text).name),
    )
    return [text] if text and alone else [*saes.values()]


def _where(test: str, argv: Sequence[str]) -> list[str]:
    packages = [each for each in argv if re.fullmatch(r"\w+(\.\w+)+", each)]
    if "--pyargs" not in argv or len(packages) != 1:
        return [test]
    file, _, name = test.partition("::")
    # Of a package outside of the root directory an id holds the file alone.
    module = PurePath(file).stem
    package = packages[0].removesuffix(f".{module}")
    return ["--pyargs", f"{package}.{module}::{name}"]


def _kept(argv: Sequence[str]) -> Iterator[str]:
    rest = iter(argv)
    for each in rest:
        name, equals, value = each.partition("=")
        ours = name.startswith(("--sae", "--no-sae-"))
        if not (ours or name in _OF_PYTEST):
            continue
        if not equals and name not in SWITCHES:
            value = next(rest, "")
        if name not in _DROPPED:
            yield from _flag(name, value)


def _flag(name: str, value: str) -> Sequence[str]:
    if name in SWITCHES:
        return [name]
    return [f"{name}={value}"] if name.startswith("--") else [name, value]
