"""Every command of the README and of docs/ is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pytest_sae.cli import main
from tests.labelled import labelled_data
from tests.plugin.project import Project
from tests.tiny import tiny_model, tiny_sae

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?:yaml|groovy)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?:^|- |sh ')(pytest(?:-sae)? .*?)(?:' })?$")
TESTS = """
import pytest

@pytest.mark.sae_metric("explained_variance", "l0")
def test_core(core, gate, metric):
    gate(core[metric])

@pytest.mark.sae_metric("judge_calibration.rate")
def test_judge_calibration(judge_calibration, gate, metric):
    gate(judge_calibration[metric])
"""
MEASURED = """
if family == "judge_calibration":
    return [Estimate("judge_calibration.rate", 0.9, se=0.01, n={"answers": 40})]
return [
    Estimate("explained_variance", 0.91, se=0.01, n={"texts": 40}),
    Estimate("l0", 32.5, n={"tokens": 900}),
]
"""
BOUNDS = """
[metrics.explained_variance]
min = 0.7
[metrics.l0]
max = 120
[metrics."judge_calibration.rate"]
min = 0.8
"""


def commands(page: Path) -> list[str]:
    """Return the commands of a page, in order, each on one line and without a remark."""
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = (_COMMAND.search(line.partition(" #")[0].strip()) for line in lines)
    return [told[1] for told in found if told]


ALL = {page.stem: commands(page) for page in PAGES}
# Half an hour; tests of their own (test_calibrate.py; slow ones).
ELSEWHERE = ("--sae-audit", "calibrate", "tests/")


def of(*programs: str) -> list[object]:
    """Return the commands of each page that begin with one of these, as parameters."""
    chosen = {
        page: [
            each
            for each in found
            if each.startswith(programs) and not any(word in each for word in ELSEWHERE)
        ]
        for page, found in ALL.items()
    }
    return [pytest.param(found, id=page) for page, found in chosen.items() if found]


def test_the_commands_of_the_pages_are_seen() -> None:
    assert ALL["baselines"][0].endswith("--sae-baseline=baselines --sae-baseline-update")
    assert ALL["baselines"][-2].endswith("--sae-shard=2/2 --sae-report=two")
    assert ALL["judge"][-1].endswith("--sae-judge-recordings=evals/judge.jsonl")
    assert ALL["ci"][0] == ALL["ci"][-1]


@pytest.fixture
def reader(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that has what the commands name; measurements are made by hand."""
    steps = ("checkpoints/layer8", "checkpoints/layer9", "checkpoints/step_90000")
    for name in ("path/to/sae", *steps, "DIR"):
        project.sae(f"../{name}")
    for name in ("my_tasks.toml", "recorded/activations.json", "evals/judge.jsonl"):
        project.write(name, "")
    project.tests(TESTS)
    project.measures(MEASURED)
    project.thresholds(BOUNDS)
    monkeypatch.setenv("OPENAI_API_KEY", "...")
    return project


@pytest.mark.parametrize("page", of("pytest ", "pytest-sae merge", "pytest-sae compare"))
def test_runs_are_started_and_merged_as_the_pages_say(reader: Project, page: list[str]) -> None:
    for command in page:
        program, *arguments = shlex.split(command)
        if program == "pytest-sae":
            assert main(arguments) == 0, command
            continue
        # Only this project's tests measure by hand.
        shipped = ["--pyargs", "pytest_sae.evals"]
        own = ["evals", *arguments[2:]] if arguments[:2] == shipped else arguments
        result = reader.pytester.runpytest_inprocess("-p", "xdist", "-p", "pytest_sae.plugin", *own)
        assert result.ret == 0, command


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a model, an SAE and texts, under the names that the commands use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "...")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    tiny_model(tmp_path / "gpt2", arch="gpt2", layers=9)
    hook = {"hook": "blocks.8.hook_resid_post", "model": str(tmp_path / "gpt2")}
    tiny_sae(tmp_path / "path" / "to" / "sae", **hook)
    labelled_data(tmp_path).rename(tmp_path / "my_tasks.toml")
    return tmp_path


@pytest.mark.parametrize("page", of("pytest-sae check"))
@pytest.mark.usefixtures("tiny")
def test_what_is_looked_at_before_a_run_is_in_order(page: list[str]) -> None:
    assert [main(shlex.split(command)[1:]) for command in page] == [0]


@pytest.mark.slow  # all bundled texts are recorded, and factorised
@pytest.mark.parametrize("page", of("pytest-sae record", "pytest-sae fit"))
def test_activations_are_recorded_and_factorised(tiny: Path, page: list[str]) -> None:
    assert [main(shlex.split(command)[1:]) for command in page] == [0, 0]
    assert (tiny / "snmf.safetensors").is_file()


@pytest.mark.parametrize("page", of("pytest-sae doctor"))
def test_the_doctor_sees_what_is_wrong_with_a_random_sae(tiny: Path, page: list[str]) -> None:
    assert [main(shlex.split(command)[1:]) for command in page] == [1]
