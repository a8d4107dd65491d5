"""The pytest-sae command: what is done with reports after a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_sae.errors import PytestSAEError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status (2 for what cannot be used)."""
    chosen = _parser().parse_args(arguments)
    try:
        said: str = chosen.run(chosen)
    except PytestSAEError as error:
        sys.stderr.write(f"pytest-sae: {error}\n")
        return 2
    sys.stdout.write(said)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-sae", description="Work with reports of SAE runs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    schema = commands.add_parser("schema", help="print the JSON Schema of report.json")
    schema.set_defaults(run=_schema)
    report = commands.add_parser("report", help="draw report.md and report.html from a report.json")
    report.add_argument("report", type=Path, metavar="report.json")
    report.add_argument("--output", type=Path, metavar="DIR", help="default: beside report.json")
    report.set_defaults(run=_report)
    return parser


def _schema(chosen: argparse.Namespace) -> str:
    from pytest_sae.reports.records import json_schema

    return json_schema()


def _report(chosen: argparse.Namespace) -> str:
    from pytest_sae.reports.records import read_report
    from pytest_sae.reports.summary import verdict_line
    from pytest_sae.reports.write import draw

    report = read_report(chosen.report)
    directory: Path = chosen.output or chosen.report.parent
    draw(report, directory)
    return f"{verdict_line(report)}\n{directory / 'report.md'}\n{directory / 'report.html'}\n"
