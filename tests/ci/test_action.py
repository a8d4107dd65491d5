"""The GitHub action and the recipes of docs/ci.md: their scripts are run from their text."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pytest_sae.options import FLAGS

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
# A program that notes how it was called, one argument a line, and answers with $ANSWER.
NOTES = (
    '#!/usr/bin/env bash\nprintf "%s\\n" "$@" >> "$NOTED"; echo -- >> "$NOTED"; echo "$ANSWER"\n'
)


def step(name: str) -> dict[str, Any]:
    (found,) = [each for each in ACTION["runs"]["steps"] if each["name"] == name]
    told: dict[str, Any] = found
    return told


def run(name: str, program: str, at: Path, **variables: str) -> list[list[str]]:
    """Run the script of a step where a program is replaced; return how that was called."""
    (at / program).write_text(NOTES)
    (at / program).chmod(0o755)
    noted = at / "noted"
    noted.unlink(missing_ok=True)
    environment = {"PATH": f"{at}:{os.environ['PATH']}", "NOTED": str(noted), "ANSWER": ""}
    subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step(name)["run"]],
        env=environment | variables, check=True, cwd=at,
    )  # fmt: skip
    called = noted.read_text().split("--\n")[:-1] if noted.exists() else []
    return [each.splitlines() for each in called]


def test_every_sae_and_argument_reaches_pytest_as_it_was_written(tmp_path: Path) -> None:
    (called,) = run(
        "Evaluate", "python", tmp_path, REPORT="out", TESTS="pytest_sae.evals",
        SAES="saes/a b\n$(touch hacked)\n", ARGUMENTS="-n 2 -k 'core or scr'",
    )  # fmt: skip
    assert called == [
        "-m", "pytest", "--pyargs", "pytest_sae.evals", "--sae-report=out",
        "--junitxml=out/junit.xml", "--sae=saes/a b", "--sae=$(touch hacked)",
        "-n", "2", "-k", "core or scr",
    ]  # fmt: skip
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("tests", ["evals", "evals/test_scr.py", "./evals"])
def test_tests_of_ones_own_are_named_by_their_path(tmp_path: Path, tests: str) -> None:
    (called,) = run(
        "Evaluate", "python", tmp_path, REPORT="out", TESTS=tests, SAES="", ARGUMENTS=""
    )
    assert called[2:] == [tests, "--sae-report=out", "--junitxml=out/junit.xml"]


@pytest.mark.parametrize(
    ("there", "last"),
    [
        ("", ["--method", "POST", "repos/o/r/issues/7/comments"]),
        ("41", ["--method", "PATCH", "repos/o/r/issues/comments/41"]),
    ],
)
def test_one_comment_is_written_and_then_updated(
    tmp_path: Path, there: str, last: list[str]
) -> None:
    (tmp_path / "report.md").write_text("## SAE gate: pass\n")
    where = {"GITHUB_REPOSITORY": "o/r", "NUMBER": "7", "REPORT": "."}
    asked, written = run("Comment", "gh", tmp_path, ANSWER=there, **where)
    assert "repos/o/r/issues/7/comments" in asked
    assert written[1:4] == last
    body = Path(written[-1].removeprefix("body=@")).read_text()
    assert body == "<!-- pytest-sae -->\n## SAE gate: pass\n"


def test_without_a_report_there_is_no_comment(tmp_path: Path) -> None:
    where = {"GITHUB_REPOSITORY": "o/r", "NUMBER": "7", "REPORT": "."}
    assert run("Comment", "gh", tmp_path, **where) == []


def test_no_input_stands_in_a_script() -> None:
    scripts = [each["run"] for each in ACTION["runs"]["steps"] if "run" in each]
    assert len(scripts) == 2
    assert not any("${{" in script for script in scripts)


def test_recipes_name_inputs_and_flags_that_there_are() -> None:
    workflow, gitlab = map(yaml.safe_load, BLOCKS)
    (used,) = [each for each in workflow["jobs"]["gate"]["steps"] if "pytest-sae@" in str(each)]
    assert set(used["with"]) <= set(ACTION["inputs"])
    text = used["with"]["arguments"] + " ".join(gitlab["sae-gate"]["script"])
    known = {f"--sae-{flag.name}" for flag in FLAGS} | {"--sae"}
    assert set(re.findall(r"--sae[a-z-]*", text)) <= known
