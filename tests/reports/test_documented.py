"""The commands on reports that docs/reports.md and docs/ci.md show work as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.records.schema import write_report
from tests.reports.examples import report
from tests.reports.test_saebench import canonical

DOCS = Path(__file__).parents[2] / "docs"
TEXT = " ".join((DOCS / name).read_text(encoding="utf-8") for name in ("reports.md", "ci.md"))
# A tracker is told elsewhere, by its own package.
COMMANDS = sorted(
    {
        " ".join(each.split())
        for each in re.findall(r"pytest-sae ((?:card|export|report|compare)\s[^`\n]*)", TEXT)
    }
)


def test_there_are_such_commands() -> None:
    assert {each.split()[0] for each in COMMANDS} == {"card", "export", "report", "compare"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_it_stands_there(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sae-report", "A", "B", "C"):
        write_report(report(canonical()), Path(name))
    arguments = shlex.split(command)
    if "sae-report" not in command and arguments[0] == "export":
        arguments.insert(1, "sae-report")
    # Of a comparison 1 is a verdict, of a report without rules.
    assert main(arguments) in ((0, 1) if arguments[0] == "compare" else (0,))
