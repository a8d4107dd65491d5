"""What a case of the tables is, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from tests.plugin.project import CONFTEST, MEASURE, Project
from tests.plugin.test_controls import CONTROLLED, Controls
from tests.verdicts.places import CORE, RULES, everywhere, right


@dataclass(frozen=True)
class Before:
    """An earlier run, whose values are kept as the baseline `kept`, those of SAEs `beside` too."""

    tests: str = CORE
    rules: str = RULES
    measured: str = ""
    sae: str = "a"
    beside: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A project and a command line, and the verdict that is right.

    Args:
        right: the verdict of the run.
        told: words that have to stand wherever a red verdict shows, or in the report of a green.
        tests: of the project.
        rules: its bounds.
        measured: the body of `measure(family, sae)`; as in every project here by default.
        flags: of the run.
        files: further ones of the project.
        controls: by key, of what is measured: what is expected of each, and its value.
        saes: of the run.
        variables: of the environment.
        before: an earlier run, whose baseline this one is compared with.
        merged: what is right for merge, where that is another verdict.
        compared: what is right for compare, where that is another verdict.
        apart: in a process of its own.
    """

    right: str
    told: str = ""
    tests: str = CORE
    rules: str = RULES
    measured: str = ""
    flags: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    controls: Controls = field(default_factory=dict)
    saes: tuple[str, ...] = ("a",)
    variables: Mapping[str, str] = field(default_factory=dict)
    before: Before | None = None
    merged: str = ""
    compared: str = ""
    apart: bool = False


def table(**cases: Case) -> pytest.MarkDecorator:
    """Make one test of each case, called as it is, with spaces."""
    named = [pytest.param(case, id=name.replace("_", " ")) for name, case in cases.items()]
    return pytest.mark.parametrize("case", named)


def held(case: Case, project: Project, monkeypatch: pytest.MonkeyPatch) -> pytest.RunResult:
    """Run a case, and hold all five places to its verdict."""
    for name in case.saes:
        project.sae(name)
    flags = [*case.flags, *(_kept(project, case.before) if case.before else ())]
    _written(project, case.tests, case.rules, case.measured, case.files)
    if case.controls:
        project.write("conftest.py", CONFTEST + CONTROLLED)
        with (project.path / "measure.py").open("a") as file:
            file.write(f"CONTROLS = {case.controls!r}\n")
    for name, value in case.variables.items():
        monkeypatch.setenv(name, value)
    sae = "saes/*" if len(case.saes) > 1 else f"saes/{case.saes[0]}"
    result, places = everywhere(project, *flags, sae=sae, apart=case.apart)
    right(places, case.right, case.told, case.merged, case.compared)
    return result


def _written(
    project: Project, tests: str, rules: str, measured: str, files: Mapping[str, str]
) -> None:
    project.tests(tests)
    project.thresholds(rules)
    if measured:
        project.measures(measured)
    else:
        project.write("measure.py", MEASURE)
    for name, text in files.items():
        project.write(name, text)


def _kept(project: Project, before: Before) -> list[str]:
    saes = (before.sae, *before.beside)
    for name in saes:
        project.sae(name)
    _written(project, before.tests, before.rules, before.measured, before.files)
    update = ("--sae-baseline=kept", "--sae-baseline-update")
    assert project.run(*update, *(f"--sae=saes/{name}" for name in saes), sae=None).ret == 0
    for name in before.files:
        (project.path / name).unlink()
    return [f"--sae-baseline=kept{'' if before.beside else f'/{before.sae}.json'}"]
