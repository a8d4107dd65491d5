"""SAEs that are known to be good or bad: measured by the shipped suite, or read from reports."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_sae
from pytest_sae.errors import MeasurementError, OptionError, PytestSAEError
from pytest_sae.records.relative import WORTHLESS
from pytest_sae.records.report import NAME

if TYPE_CHECKING:
    from pytest_sae.gate.calibrate import Known

LOG = "pytest.log"
_SHOWN = 15  # lines of a run that failed
_CONTROLS = f"--sae-controls={','.join((*WORTHLESS, 'pca'))}"


def damaged(good: Sequence[str], work: Path, arguments: Sequence[str] = ()) -> list[Known]:
    """Return what was measured of copies of the first good SAE that have one thing wrong.

    Args:
        good: values of `--sae`, or reports of earlier runs, of which no copies can be made.
        work: as of `known`.
        arguments: as of `known`.

    Returns:
        Each of `dictionaries.damaged.DAMAGES` that it can have, under its name.

    Raises:
        PytestSAEError: reports alone, or a run that ended without a report.
    """
    from pytest_sae.dictionaries.damaged import DAMAGES, SETTING
    from pytest_sae.dictionaries.spec import with_setting
    from pytest_sae.gate.calibrate import Known
    from pytest_sae.records.schema import read_values

    first = next((each for each in good if _report(each) is None), None)
    if first is None:
        raise OptionError(
            f"--damages: {', '.join(good)} are reports, of which no damaged copies can be made. "
            "Expected at least one SAE that can be loaded among --good."
        )
    names = {with_setting(first, SETTING, name): name for name in DAMAGES}
    report = read_values(_measured(tuple(names), work, arguments))
    found = [(sae.id, names[sae.text]) for sae in report.saes]
    times = Counter(name for _, name in found)
    return [
        Known(
            name if times[name] == 1 else f"{name} ({sae})",
            {row.key: row for row in report.measurements if row.sae == sae},
        )
        for sae, name in found
    ]


def known(
    good: Sequence[str], bad: Sequence[str], work: Path, arguments: Sequence[str] = ()
) -> tuple[list[Known], list[Known]]:
    """Return what was measured of SAEs that are known, good ones and bad ones.

    Args:
        good: values of `--sae`, or reports of earlier runs, in which several SAEs may stand.
        bad: likewise.
        work: directory of the runs that this needs; what is there already is not measured again.
        arguments: of pytest in these runs, beside those that say what is measured.

    Raises:
        PytestSAEError: a run that ended without a report, or a report that cannot be read.
    """
    from pytest_sae.gate.calibrate import Known
    from pytest_sae.records.schema import read_values

    texts = [*good, *bad]
    reports = [read_values(_report(each) or _measured((each,), work, arguments)) for each in texts]
    times = Counter(sae.id for report in reports for sae in report.saes)
    saes = [
        [
            Known(
                sae.id if times[sae.id] == 1 else f"{sae.id} ({text})",
                {row.key: row for row in report.measurements if row.sae == sae.id},
            )
            for sae in report.saes
        ]
        for text, report in zip(texts, reports, strict=True)
    ]
    return list(chain(*saes[: len(good)])), list(chain(*saes[len(good) :]))


def _report(text: str) -> Path | None:
    """Return the report that a value means, None where it means SAEs."""
    path = Path(text)
    if (path / NAME).is_file():
        return path / NAME
    return path if path.is_file() and path.suffix == ".json" else None


def _measured(texts: Sequence[str], work: Path, arguments: Sequence[str]) -> Path:
    """Return the report of a run over SAEs, made where it is not there yet."""
    directory = work / _directory_of(texts, arguments)
    if not _ended(directory / NAME):
        _run(texts, directory, arguments)
    return directory / NAME


def _directory_of(texts: Sequence[str], arguments: Sequence[str]) -> str:
    """Return a name that changes with the SAEs, all of one path, the arguments and the package."""
    from pytest_sae.dictionaries.spec import path_of

    path = Path(path_of(texts[0])).expanduser()
    files = sorted(path.rglob("*")) if path.is_dir() else [path] * path.is_file()
    stats = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in files]
    made_of = json.dumps([*texts, stats, list(arguments), pytest_sae.__version__])
    name = re.sub(r"[^A-Za-z0-9.]+", "-", path.name).strip("-.")
    return f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def _ended(path: Path) -> bool:
    """Whether a report is that of a run that came to its end and measured something."""
    from pytest_sae.records.schema import read_values

    try:
        report = read_values(path)
    except PytestSAEError:
        return False
    return report.exit_status in (0, 1) and bool(report.measurements)


def _run(texts: Sequence[str], directory: Path, arguments: Sequence[str]) -> None:
    from pytest_sae.run.run import shipped_thresholds

    controls = () if any(each.startswith("--sae-controls") for each in arguments) else (_CONTROLS,)
    command = [sys.executable, "-m", "pytest", str(shipped_thresholds().parent), "-q"]
    command += ["-p", "no:cacheprovider", "--sae-no-gate", *controls, *arguments]
    command += [f"--sae={text}" for text in texts]
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / LOG
    with log.open("wb") as output:
        subprocess.run(
            [*command, f"--sae-report={directory}"], stdout=output, stderr=subprocess.STDOUT
        )
    if not _ended(directory / NAME):
        told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_SHOWN:]
        raise MeasurementError(
            f"{', '.join(texts)} could not be measured. Expected an SAE, as --sae takes it, or a "
            f"report; see {log}, which ends:\n" + "\n".join(f"  {line}" for line in told)
        )
