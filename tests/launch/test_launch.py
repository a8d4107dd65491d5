"""What is launched, what comes back, and what is made of what does not: on no cluster at all."""

from __future__ import annotations

import shlex
import signal
import time
from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.launch import launching
from pytest_sae.launch.node import Mirror, Part, fullest, keep
from pytest_sae.launch.request import LaunchRequest
from pytest_sae.launch.task import planned
from tests.launch.launched import ARGUMENTS, Launched, comparable, wait_for
from tests.plugin.test_commands import ALL


def test_every_sae_is_a_task_of_its_own_and_the_largest_is_first() -> None:
    tasks = planned({"a": 5, "b": 70, "c": 0}, ["evals"], Path("tasks"))
    assert [task.name for task in tasks] == ["b", "a", "c"]
    assert [task.arguments[-1] for task in tasks] == [f"--sae-shard={k}/3" for k in (1, 2, 3)]
    assert [task.home.name for task in tasks] == ["1-b", "2-a", "3-c"]


def test_a_launch_ends_with_the_report_of_one_run_to_the_bit(launched: Launched) -> None:
    whole = launched.whole()
    status, output = launched.here()
    assert status == 1, output  # b misses a bound
    assert comparable(launched.report()) == whole
    assert launched.report()["argv"] == [*ARGUMENTS]
    assert "scr:n=0 0.3333 < min 0.4000 [b]" in output
    influence = [
        (launched.path / each / "report.influence.safetensors").read_bytes()
        for each in ("whole", "sae-report")
    ]
    assert influence[0] == influence[1]


def test_progress_is_told_with_the_name_of_its_sae(launched: Launched) -> None:
    output = launched.here()[1]
    for sae in ("a", "b", "c"):
        lines = [line for line in output.splitlines() if line.startswith(f"{sae}  ")]
        assert any("evals/test_evals.py" in line and "[100%]" in line for line in lines), output
        assert any("ended with exit status" in line for line in lines)


def test_what_was_measured_on_a_lost_node_is_not_measured_again(launched: Launched) -> None:
    whole = launched.whole()
    (launched.path / "lose-c").touch()
    launched.wait("c")
    status, output = launched.here()
    assert status == 1, output
    assert "c  its node was lost; tried again" in output
    assert comparable(launched.report()) == whole
    # What ran when the node was lost was run once more, and nothing before it.
    assert launched.ran("c") == ["scr:n=0", "scr:n=1", "scr:n=2", "scr:n=2", "scr:n=3"]
    assert launched.ran("a") == [f"scr:n={n}" for n in range(4)]


def test_a_task_that_never_comes_back_is_red_and_named_and_what_it_measured_is_kept(
    launched: Launched,
) -> None:
    launched.project.thresholds("[metrics.explained_variance]\nmin = 0.3")
    (launched.path / "lose-always-a").touch()
    launched.wait("a")
    status, output = launched.here("--retries=0")
    assert status == 1
    report = launched.report()
    assert (report["complete"], report["verdict"]) == (False, "incomplete")
    assert "a never came back: its node was lost" in report["problems"]
    assert "a never came back: its node was lost" in output
    values = {(row["sae"], row["params"].get("n")): row["value"] for row in report["measurements"]}
    assert (values["a", None], values["a", 0], values["a", 1]) == (0.91, 0.91, 0.92)
    assert {sae for sae, _ in values} == {"a", "b", "c"}


def test_where_nothing_comes_back_there_is_no_report_and_no_older_one(launched: Launched) -> None:
    launched.here()
    launched.project.write("conftest.py", "raise SystemExit('broken')")
    status, output = launched.here()
    assert status != 0, output
    launched.project.write("evals/test_evals.py", "import no_such_module")
    launched.project.write("conftest.py", "")
    status, output = launched.here()
    assert status == 2, output
    assert "no task left a report" in output
    assert "a never came back: pytest ended with status 2" in output
    assert not (launched.path / "sae-report" / "report.json").exists()


def test_a_launch_that_was_killed_is_gone_on_with(launched: Launched) -> None:
    whole = launched.whole()
    launched.wait("b")
    run = launched.start("--engine=ray", program=("-m", "tests.launch.here"))
    wait_for(lambda: launched.held("b"), run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert not (launched.path / "sae-report" / "report.json").exists()
    launched.wait("b", go=True)
    status, output = launched.here("--sae-resume")
    assert status == 1, output
    assert comparable(launched.report()) == whole
    assert launched.ran("c") == [f"scr:n={n}" for n in range(4)]  # it had ended before
    assert launched.ran("b") == ["scr:n=0", "scr:n=1", "scr:n=2", "scr:n=2", "scr:n=3"]


def test_a_run_ends_when_who_started_it_is_killed(launched: Launched) -> None:
    launched.wait("c")
    run = launched.start("--engine=ray", program=("-m", "tests.launch.here"))
    wait_for(lambda: launched.held("c"), run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    deadline = time.monotonic() + 60
    while launched.runs("c"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_other_bounds_are_no_second_half_of_a_launch(launched: Launched) -> None:
    launched.here()
    launched.project.thresholds("[metrics.scr]\nmin = 0.0")
    status, output = launched.here("--sae-resume")
    assert status != 0
    assert "a never came back: pytest ended with status 4" in output
    log = (launched.home("a") / "pytest-2.log").read_text()
    assert "evals/thresholds.toml changed since" in log


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sae-shard=1/2"], "--sae-shard cannot be launched"),
        (["--junitxml=x.xml"], "--junitxml cannot be launched"),
        (["--collect-only"], "--collectonly cannot be launched"),
        (["--pdb"], "--pdb cannot be launched"),
        (["--sae-baseline=base", "--sae-baseline-update"], "--sae-baseline-update cannot be"),
        (["--sae-device=cuda"], "Expected --num-gpus-per-sae=1 beside it"),
        (["--sae-device=cpu", "--num-gpus-per-sae=1"], "keeps GPUs for nothing"),
        (["--sae-device=cuda:1", "--num-gpus-per-sae=1"], "Expected --sae-device=cuda."),
        (["--sae=nowhere"], "nowhere"),
        (["--sae-suite=large"], "expected one of smoke, standard, paper"),
    ],
)  # fmt: skip
def test_what_cannot_be_launched_is_said_at_once(
    launched: Launched, arguments: list[str], told: str
) -> None:
    launched.project.write("sae-report/report.json", "an older one")
    status, output = launched.here(*arguments)
    assert status not in (0, 1), output
    assert told in " ".join(output.split())
    assert (launched.path / "sae-report" / "report.json").read_text() == "an older one"
    assert not (launched.path / "sae-report" / "tasks").exists()


def test_what_is_compared_with_is_not_where_the_report_goes(launched: Launched) -> None:
    launched.here()
    status, output = launched.here("--sae-baseline=sae-report/report.json")
    assert status == 2
    assert "lies in the directory that the report goes to" in output
    assert launched.report()["complete"]


def test_the_commands_of_the_page_are_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[LaunchRequest] = []
    monkeypatch.setattr(launching, "launch", lambda request: (found.append(request), ("", 0))[1])
    for command in ALL["clusters"]:
        if command.startswith("pytest-sae launch"):
            assert main(shlex.split(command)[1:]) == 0
    assert [request.engine for request in found] == ["ray", "slurm"]
    assert [request.gpus for request in found] == [1, 1]
    assert all([*each.arguments] == ["evals/", "--sae=checkpoints/*"] for each in found)
    assert found[1].slurm == {"partition": "gpu"}


def test_what_pytest_does_not_take_is_said_by_pytest(launched: Launched) -> None:
    status, output = launched.here("--nonsense")
    assert status == 2
    assert "unrecognized arguments: --nonsense" in output


@pytest.mark.parametrize(
    ("engine", "flag", "told"),
    [
        ("ray", "--time=60", "--time is of --engine=slurm"),
        ("ray", "--slurm=partition=gpu", "--slurm is of --engine=slurm"),
        ("slurm", "--address=there", "--address is of --engine=ray"),
        ("slurm", '--runtime-env={"pip": []}', "--runtime-env is of --engine=ray"),
        ("slurm", "--num-gpus-per-sae=0.5", "Slurm gives whole GPUs"),
        ("slurm", "--slurm=partition", "expected NAME=VALUE"),
        ("slurm", "--time=soon", "--time=soon: expected a whole number of at least 1"),
        ("ray", "--num-gpus-per-sae=some", "expected a number of at least 0"),
        ("ray", "--jobs=0", "--jobs=0: expected a whole number of at least 1"),
        ("ray", "--runtime-env={", "--runtime-env={ cannot be read"),
        ("ray", "--runtime-env=nowhere.json", "--runtime-env=nowhere.json cannot be read"),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_pytest_is_asked(
    engine: str, flag: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", f"--engine={engine}", flag, "evals"]) == 2
    assert told in capsys.readouterr().err


def test_files_arrive_as_they_are_written_and_a_new_journal_replaces_none(tmp_path: Path) -> None:
    node, home = tmp_path / "node", tmp_path / "home"
    node.mkdir()
    home.mkdir()
    mirror = Mirror(node, "pytest-1.log")
    journal = node / "journal.jsonl"
    for text in ('{"event": "test"}\n', '{"event": "test"}\n{"event": "te'):
        with journal.open("a") as file:
            file.write(text)
        for part in mirror.news():
            keep(home, part)
    assert (home / "journal.jsonl").read_bytes() == journal.read_bytes()
    assert [*mirror.news()] == []
    keep(home, Part("journal.jsonl", 0, b'{"event": "test"}\n'))
    best = fullest(home)
    assert best is not None
    assert best.name.startswith("journal-")  # the second attempt was lost before it had caught up
    assert best.read_bytes() == journal.read_bytes()
