"""The pytest-sae command: what is done before a run, and with reports after it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_sae.errors import OptionError, PytestSAEError
from pytest_sae.options import DTYPES, SUITES

# What a command prints, and its exit status where that is not 0.
Said = str | tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 for a red gate, 2 for what cannot be used."""
    chosen = _parser().parse_args(arguments)
    try:
        said: Said = chosen.run(chosen)
    except PytestSAEError as error:
        sys.stderr.write(f"pytest-sae: {error}\n")
        return 2
    text, status = said if isinstance(said, tuple) else (said, 0)
    sys.stdout.write(text)
    return status


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
    _add_merge(commands)
    _add_compare(commands)
    _add_check(commands)
    _add_record(commands)
    return parser


def _add_merge(commands: Any) -> None:
    merge = commands.add_parser(
        "merge", help="unite the reports of shards, judge them again, and fail if one is absent"
    )
    told = "report.json of a shard, or its directory"
    merge.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help=told)
    merge.add_argument("--output", type=Path, default="sae-report", metavar="DIR")
    merge.set_defaults(run=_merge)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", help="judge a report against an earlier one, or against a baseline"
    )
    add = compare.add_argument
    add("before", type=Path, metavar="A", help="report.json, its directory, or a baseline")
    add("after", type=Path, metavar="B", help="report.json, or its directory")
    add("--thresholds", type=Path, metavar="FILE", help="default: the rules that B was judged by")
    add("--output", type=Path, metavar="DIR", help="where to write the report of the comparison")
    compare.set_defaults(run=_compare)


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check", help="look at bounds, baseline, texts and SAEs without measuring anything"
    )
    add = check.add_argument
    add("--sae", action="append", default=[], metavar="PATH", help="as of a run; repeatable")
    add("--thresholds", type=Path, metavar="FILE", help="default: the shipped ones")
    add("--data", type=Path, metavar="FILE", help="task file (default the bundled texts)")
    add("--baseline", type=Path, metavar="PATH", help="file or directory")
    add("--suite", default="standard", choices=SUITES, help="whose sizes the texts have to fill")
    check.set_defaults(run=_check)


def _add_record(commands: Any) -> None:
    record = commands.add_parser(
        "record", help="record a model's activations, for runs with --sae-activations"
    )
    add = record.add_argument
    add("--model", required=True, metavar="PATH", help="directory or name of the model")
    add("--site", required=True, metavar="NAME", help="hook or module that the SAEs read")
    add("--written", metavar="NAME", help="where transcoders write, if not where they read")
    add("--data", metavar="FILE", help="as --sae-data (default the bundled texts)")
    add("--out", required=True, type=Path, metavar="DIR", help="new directory to record to")
    add("--suite", default="standard", choices=SUITES, help="as --sae-suite of the later runs")
    add("--seed", default=0, type=int, help="as --sae-seed of the later runs")
    add("--no-bos", action="store_true", help="texts do not begin with BOS")
    add("--device", default="auto", metavar="DEVICE", help="where to run the model")
    add("--dtype", default="float32", choices=DTYPES, help="type to run it in")
    add("--threads", default=1, type=int, metavar="N", help="CPU threads")
    record.set_defaults(run=_record)


def _record(chosen: argparse.Namespace) -> str:
    from pytest_sae.measure.record import record_data

    directory = record_data(
        chosen.model,
        chosen.site,
        chosen.data,
        chosen.out,
        written=chosen.written,
        suite=chosen.suite,
        seed=chosen.seed,
        prepend_bos=not chosen.no_bos,
        device=chosen.device,
        dtype=chosen.dtype,
        threads=chosen.threads,
    )
    size = sum(path.stat().st_size for path in directory.iterdir())
    return f"{directory}: {size / 2**20:,.1f} MiB. Evaluate with --sae-activations={directory}\n"


def _merge(chosen: argparse.Namespace) -> Said:
    from pytest_sae.reports.merge import merge
    from pytest_sae.reports.records import read_report
    from pytest_sae.reports.write import publish, write_all

    report = merge([read_report(_report_of(path)) for path in chosen.reports])
    write_all(report, chosen.output)
    publish(report)
    return f"{_told(report)}reports: {chosen.output}\n", int(report["exit_status"])


def _compare(chosen: argparse.Namespace) -> Said:
    from pytest_sae.gate.baseline_file import read_baseline
    from pytest_sae.gate.bounds import load_thresholds
    from pytest_sae.options import in_ci
    from pytest_sae.reports.compare import compare
    from pytest_sae.reports.records import read_report
    from pytest_sae.reports.write import write_all

    thresholds = load_thresholds(_file(chosen.thresholds)) if chosen.thresholds else None
    before = read_baseline(_report_of(chosen.before), str(chosen.before))
    report = compare(before, read_report(_report_of(chosen.after)), thresholds, in_ci())
    if chosen.output:
        write_all(report, chosen.output)
    return _told(report), int(report["exit_status"])


def _report_of(path: Path) -> Path:
    """Return the report.json of a directory that has one; else the path itself."""
    inside = path / "report.json"
    return inside if inside.is_file() else path


def _file(path: Path) -> Path:
    if not path.is_file():
        raise OptionError(f"--thresholds={path} is no file. Expected a TOML file of bounds.")
    return path


def _told(report: Mapping[str, Any]) -> str:
    from pytest_sae.reports.summary import failures, verdict_line
    from pytest_sae.reports.terminal import table

    lines = [*table(report["measurements"]), *failures(report), verdict_line(report)]
    return "".join(f"{line}\n" for line in lines)


def _check(chosen: argparse.Namespace) -> Said:
    from pytest_sae.check import check

    found = list(check(chosen.sae, chosen.thresholds, chosen.data, chosen.baseline, chosen.suite))
    text = "".join(f"{each.line}\n" for each in found)
    return text, 0 if all(each.good for each in found) else 1


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
