"""What the command line does with reports: draw, merge, compare, and the document of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.errors import OptionError, ReportError
from pytest_sae.records.influence_file import Influence, read_influence
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.row import values_of
from pytest_sae.records.schema import read_report, read_values, write_whole
from pytest_sae.reports.html import html
from pytest_sae.reports.of_sae import chosen, of_sae
from pytest_sae.reports.summary import verdict_line
from pytest_sae.reports.terminal import printed
from pytest_sae.reports.write import apart, draw, publish, write_all

if TYPE_CHECKING:
    from pytest_sae.reports.series import Column


def drawn(report: Path, output: Path | None) -> str:
    """Draw `report.md` and `report.html`.

    Args:
        report: report.json.
        output: directory to draw into; None for that of the report.

    Returns:
        The verdict, and where the pages are.
    """
    read = read_report(report)
    directory = output or report.parent
    draw(read, directory)
    lines = [verdict_line(read), directory / "report.md", directory / "report.html", *read.remarks]
    return "".join(f"{line}\n" for line in lines)


def drawn_apart(report: Path, output: Path | None, saes: Sequence[str]) -> str:
    """Draw a page on each of some SAEs, with all that the report has of it.

    Args:
        report: report.json.
        output: directory to draw into; None for that of the report.
        saes: names, or patterns of them.

    Returns:
        Where the pages are, and what is missing of the report.

    Raises:
        OptionError: the report has no such SAE.
    """
    read = read_report(report)
    directory = output or report.parent
    names = dict.fromkeys(name for pattern in saes for name in chosen(read, pattern))
    pages = [
        write_whole(directory / f"report.{name}.html", html(of_sae(read, name))) for name in names
    ]
    return "".join(f"{line}\n" for line in [*pages, *read.remarks])


def beside(reports: Sequence[Path], output: Path | None) -> str:
    """Draw one page on several reports: checkpoints, seeds or releases, in their order.

    Args:
        reports: report.json of each, or its directory.
        output: directory to draw into; None for that of the last.

    Returns:
        What the last one says, and where the page is.

    Raises:
        ReportError: a report that is none.
    """
    from pytest_sae.reports.series import columns

    paths = [_report_in(path) for path in reports]
    read = [read_values(path) for path in paths]
    page = _series(columns(list(zip(_names(paths), read, strict=True))), output or paths[-1].parent)
    return f"{verdict_line(read[-1])}\n{page}\n"


def _series(columns: Sequence[Column], directory: Path) -> Path:
    from pytest_sae.reports.html_series import NAME, series

    return write_whole(directory / NAME, series(columns))


def _names(paths: Sequence[Path]) -> list[str]:
    """What people call reports: their directories; as they were named where these are alike."""
    names = [path.resolve().parent.name for path in paths]
    return names if len({*names}) == len(names) else [str(path.parent) for path in paths]


def audited(report: Path, output: Path) -> str:
    """Write the document of an audit; what was written by hand in it stays.

    Args:
        report: report.json of a run with --sae-audit, or its directory.
        output: the document.

    Returns:
        Where it is.

    Raises:
        OptionError: the report holds no audit.
    """
    from pytest_sae.audit.document import document, handwritten

    audit = read_values(_report_of(report)).audit
    if audit is None:
        raise OptionError(f"{report} holds no audit. Expected a run with --sae-audit.")
    kept = handwritten(output.read_text(encoding="utf-8")) if output.is_file() else ""
    return f"{write_whole(output, document(audit, kept))}\n"


def merged(
    shards: Sequence[Path],
    output: Path,
    verbosity: int = 0,
    lost: Sequence[str] = (),
    argv: Sequence[str] = (),
) -> tuple[str, int]:
    """Unite the reports of shards, judge them again, and write what comes of it.

    Args:
        shards: report.json of each, or its directory.
        output: directory of the united report.
        verbosity: 1 to tell every value.
        lost: what is known of shards that are absent, a sentence each.
        argv: what all of them were called with; empty for what the first one was.

    Returns:
        What is told, and the exit status.

    Raises:
        ReportError: reports that do not belong together, or are none.
        OptionError: the output is a file.
    """
    from pytest_sae.gate.merge import merge

    directory = _directory(output)
    paths = [_report_in(path) for path in shards]
    reports = [read_report(path) for path in paths]
    report = merge(reports, lost)
    report = replace(report, argv=(*argv,)) if argv else report
    influence: dict[tuple[str, str], Sequence[float]] = {}
    for path, each in zip(paths, reports, strict=True):
        influence |= _influence(path, each)
    directory = apart(report, directory)
    write_all(report, directory, influence)
    publish(report)
    return f"{printed(report, verbosity)}reports: {directory}\n", report.exit_status


def compared(
    before: Path,
    after: Path,
    thresholds: Path | None,
    output: Path | None,
    verbosity: int = 0,
    other_seed: bool = False,
) -> tuple[str, int]:
    """Judge a report against an earlier one, or against a baseline.

    Args:
        before: report.json, its directory, or a baseline.
        after: report.json, or its directory.
        thresholds: file of bounds; None for the rules that the later report was judged by.
        output: directory for the report of the comparison; None to write none.
        verbosity: 1 to tell every value.
        other_seed: whether the earlier one is of another run of the recipe.

    Returns:
        What is told, and the exit status.

    Raises:
        OptionError: a path that is not what it must be, or rules of a report, which no longer say
            what they allow another seed.
        ReportError: a report that is none.
    """
    from pytest_sae.gate.baseline_file import read_baseline
    from pytest_sae.gate.bounds import load_thresholds
    from pytest_sae.gate.compare import compare
    from pytest_sae.options import in_ci
    from pytest_sae.reports.series import before_and_now

    directory = _directory(output) if output else None
    if other_seed and not thresholds:
        raise OptionError(
            "--other-seed, and the rules of the later report say what it was judged by alone. "
            "Expected --thresholds=FILE beside it."
        )
    rules = load_thresholds(_file(thresholds)) if thresholds else None
    rules = rules.of_other_seed() if rules and other_seed else rules
    earlier = read_baseline(_report_of(before), str(before))
    path = _report_in(after)
    if directory and directory.resolve() == path.parent.resolve():
        raise OptionError(
            f"--output={directory} holds the report itself. Expected another directory."
        )
    later = read_report(path)
    influence = _influence(path, later)
    report = compare(earlier, later, rules, in_ci(), influence)
    if directory:
        write_all(report, directory, influence)
        _series(before_and_now(report, str(before), str(after)), directory)
    where = f"reports: {directory}\n" if directory else ""
    return f"{printed(report, verbosity)}{where}", report.exit_status


def _influence(path: Path, report: Report) -> Influence:
    return read_influence(path, values_of(report.measurements))


def _report_of(path: Path) -> Path:
    """Return the report.json of a directory that has one; else the path itself."""
    inside = path / NAME
    return inside if inside.is_file() else path


def _report_in(path: Path) -> Path:
    """Return the report.json that a path means, which has to be one."""
    found = _report_of(path)
    if found.is_dir():
        raise ReportError(
            f"{path} is a directory without a report.json. Expected one that a run of pytest wrote "
            "(sae-report, or what --sae-report named)."
        )
    return found


def _directory(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise OptionError(f"--output={path} is a file. Expected a directory.")
    return path


def _file(path: Path) -> Path:
    if not path.is_file():
        raise OptionError(f"--thresholds={path} is no file. Expected a TOML file of bounds.")
    return path
