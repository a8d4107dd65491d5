"""What a report says of one of its SAEs, as a report."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from pytest_sae.errors import OptionError, suggest
from pytest_sae.records.plan import Plan
from pytest_sae.records.report import Report
from pytest_sae.records.standing import standings


def chosen(report: Report, pattern: str) -> list[str]:
    """Return the SAEs that a pattern such as `step_*` means.

    Args:
        report: that holds them.
        pattern: as of a shell.

    Raises:
        OptionError: it means none.
    """
    names = [each.id for each in report.saes]
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        near = suggest(pattern, names)
        raise OptionError(f"--sae={pattern}: the report has none.{near} Expected one of its SAEs.")
    return found


def of_sae(report: Report, sae: str) -> Report:
    """Return the part of a report that is about one SAE, with the verdict of that SAE.

    Args:
        report: that holds it; what is amiss with the run as a whole stays.
        sae: its id.
    """
    verdict = next(each.verdict for each in standings(report) if each.sae == sae)
    items = tuple(item for item in report.plan.items if item.sae == sae)
    return replace(
        report,
        verdict=verdict,
        saes=tuple(each for each in report.saes if each.id == sae),
        measurements=tuple(row for row in report.measurements if row.sae == sae),
        tests=tuple(test for test in report.tests if test.sae in (sae, None)),
        plan=Plan(items, report.plan.narrowed),
    )
