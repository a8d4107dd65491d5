"""Workers: one owns one SAE, a lost one fails its test and nothing else, and nothing gets lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_sae.run.pinning import VARIABLE, pin, visible_devices
from tests.plugin.project import Project

MANY = """
import os, signal
import pytest

@pytest.mark.sae_metric("scr", n=list(range(6)))
def test_scr(scr, sae, gate, metric):
    if (sae.id, metric) in {deaths}:
        os.kill(os.getpid(), signal.SIGKILL) if "2" in metric else os._exit(1)
    gate(scr[metric])
"""

MEASURES_MANY = "return [Estimate(family, 0.5, {'n': n}) for n in range(6)]"


def many(project: Project, deaths: set[tuple[str, str]]) -> None:
    for name in ("b", "a-b"):
        project.sae(name)
    project.measures(MEASURES_MANY)
    project.thresholds("[metrics.scr]\nmin = 0.1")
    project.write("evals/test_evals.py", MANY.format(deaths=deaths or {()}))


@pytest.mark.parametrize("workers", ["-n1", "-n2"])
def test_a_lost_worker_fails_its_test_and_nothing_else(project: Project, workers: str) -> None:
    deaths = {("a", "scr:n=2"), ("b", "scr:n=5"), ("a_b", "scr:n=0")}
    many(project, deaths)
    result = project.run_apart(workers, sae="saes/*")
    assert result.ret == 1
    result.stdout.re_match_lines([r".* 3 failed, 15 passed in .*"])
    verdicts = project.verdicts()
    assert len(verdicts) == 18
    dead = {f"{sae} {key.replace(':n=', ' ')}" for sae, key in deaths}
    assert {key for key, verdict in verdicts.items() if verdict == "unmeasured"} == dead
    assert {verdicts[key] for key in verdicts.keys() - dead} == {"pass"}
    assert {project.rows()[key]["outcome"] for key in dead} == {"crashed"}
    assert {test["outcome"] for test in project.report()["tests"]} == {"crashed"}
    assert project.report()["verdict"] == "incomplete"


@pytest.mark.parametrize("mode", ["loadscope", "loadfile", "loadgroup", "worksteal"])
def test_in_every_mode_a_lost_worker_fails_its_test_and_nothing_else(
    project: Project, mode: str
) -> None:
    deaths = {("a", "scr:n=2"), ("b", "scr:n=5")}
    many(project, deaths)
    result = project.run_apart("-n2", f"--dist={mode}", sae="saes/*")
    assert result.ret == 1
    result.stdout.re_match_lines([r".* 2 failed, 16 passed in .*"])
    verdicts = project.verdicts()
    dead = {"a scr 2", "b scr 5"}
    assert {key for key, verdict in verdicts.items() if verdict == "unmeasured"} == dead
    owners: dict[str, set[str]] = {}
    for row in project.report()["measurements"]:
        owners.setdefault(row["sae"], set()).add(row["worker"])
    assert len(owners["a_b"] - {""}) == 1


def test_a_mode_that_runs_every_test_in_every_worker_is_refused(project: Project) -> None:
    result = project.run_apart("-n2", "--dist=each")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--dist=each runs every test once in each worker*--dist=load*"])
    assert not (project.path / "sae-report").exists()


@pytest.mark.parametrize("asked", [True, False])
def test_a_path_that_does_not_exist_ends_the_run_with_a_sentence(
    project: Project, asked: bool
) -> None:
    project.write("empty/__init__.py", "")
    sae = ["--sae=saes/a"] if asked else []
    plugins = ["-p", "xdist", "-p", "pytest_sae.plugin"]
    result = project.pytester.runpytest_subprocess(*plugins, "nowhere", "-n2", *sae, timeout=60)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert result.ret != 0
    if asked:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*file or directory not found: nowhere*"])


@pytest.mark.parametrize("mode", ["loadscope", "loadfile", "loadgroup", "worksteal"])
def test_tests_without_an_sae_are_distributed_as_the_mode_says(project: Project, mode: str) -> None:
    project.write("evals/test_evals.py", "def test_one(): pass\ndef test_two(): pass\n")
    result = project.run_apart("-n2", f"--dist={mode}", sae=None)
    assert result.ret == 0
    result.assert_outcomes(passed=2)


OF_A_FILE = """
import os, time
import pytest

@pytest.fixture(scope="module", autouse=True)
def made():
    with open("made.txt", "a") as file:
        file.write(f"{__name__} {os.getpid()}\\n")

@pytest.mark.parametrize("name", ["topk", "other", "third"])
def test_named(name):
    time.sleep(0.2)  # so that both workers have their part

def test_one():
    time.sleep(0.2)
"""


@pytest.mark.parametrize("sae", [None, "saes/a"])
def test_other_tests_of_a_file_stay_together_where_the_mode_says_so(
    project: Project, sae: str | None
) -> None:
    """Also those with parameters that are called as an SAE is, where nobody asked for one."""
    if sae is None:
        project.write("evals/test_evals.py", "")
        (project.path / "evals/thresholds.toml").unlink()
    for name in ("x", "y", "z"):
        project.write(f"evals/test_{name}.py", OF_A_FILE)
    result = project.run_apart("-n2", "--dist=loadfile", sae=sae)
    assert result.ret == 0
    made = (project.path / "made.txt").read_text().splitlines()
    assert len(made) == 3


def test_one_worker_owns_one_sae(project: Project) -> None:
    many(project, set())
    assert project.run_apart("-n3", sae="saes/*").ret == 0
    owners: dict[str, set[str]] = {}
    for row in project.report()["measurements"]:
        owners.setdefault(row["sae"], set()).add(row["worker"])
    assert {len(workers) for workers in owners.values()} == {1}
    loads = (project.path / "loads.txt").read_text().count("load ")
    assert loads == 3


NOT_BUILTIN = """
import enum, pathlib
import numpy as np
import pytest
from pytest_sae import Estimate, Measurement

class Kind(str, enum.Enum):
    ODD = "odd"

class Text(str): pass

@pytest.mark.sae_metric("l0")
def test_core(sae, gate, metric):
    gate(Measurement(Text(sae.id), Estimate(
        Text("l0"), np.float64(500.5), se=np.float32(0.25), ci=(np.float64(499), np.float32(502)),
        n={Text("texts"): np.int64(3)}, seeds=np.int32(2),
        details={"curve": np.arange(3.0), Kind.ODD: {1, 2}, "path": pathlib.Path("x"),
                 "deep": [{"nan": np.float64("nan")}], "flag": np.bool_(True)},
    ), seconds=np.float64(1.5), fingerprints={"sae": Text("ff")}))
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_numbers_of_numpy_do_not_silence_a_worker(project: Project, workers: str) -> None:
    project.tests(NOT_BUILTIN)
    result = project.run_apart(workers, "--junitxml=junit.xml")
    assert result.ret == 1
    result.stdout.re_match_lines([r".*1 failed in .*"])
    row = project.rows()["a l0"]
    assert (row["verdict"], row["value"], row["se"], row["ci"]) == (
        "fail",
        500.5,
        0.25,
        [499.0, 502.0],
    )
    assert (row["n"], row["seeds"], row["seconds"]) == ({"texts": 3}, 2, 1.5)
    assert row["details"] == {
        "curve": [0.0, 1.0, 2.0], "odd": [1, 2], "path": "x", "deep": [{"nan": None}], "flag": True,
    }  # fmt: skip


LOST = """
import pytest

class Odd(float): pass

@pytest.mark.sae_metric("l0")
def test_core(core, gate, metric, request):
    request.node.user_properties.append(("odd", Odd(1)))
    gate(core[metric])
"""


def test_a_report_that_cannot_travel_makes_the_run_red(project: Project) -> None:
    # Without the ledger pytest-xdist shows an internal error here, and exits with 0.
    project.tests(LOST)
    project.thresholds("[metrics.l0]\nmax = 1")
    result = project.run_apart("-n2")
    assert result.ret != 0
    row = project.rows()["a l0"]
    assert (row["verdict"], row["outcome"]) == ("unmeasured", "missing")
    assert project.report()["complete"] is False
    assert project.report()["verdict"] == "incomplete"


def test_a_run_without_saes_is_distributed_by_xdist_itself(project: Project) -> None:
    project.tests("""
        import os, pytest
        @pytest.mark.parametrize("x", range(40))
        def test_plain(x):
            with open("plain.txt", "a") as file:
                file.write(f"{x}\\n")
            if x == 7 and not os.path.exists("died"):
                open("died", "w").close()
                os._exit(1)
    """)
    result = project.run_apart("-n2", sae=None)
    result.stdout.re_match_lines([r".* 1 failed, 39 passed in .*"])
    assert sorted((project.path / "plain.txt").read_text().split(), key=int) == [
        str(x) for x in range(40)
    ]


def test_killing_the_whole_run_leaves_the_journal_and_no_green_report(project: Project) -> None:
    project.tests("""
        import pytest, time
        @pytest.mark.sae_metric("l0", "explained_variance")
        def test_core(core, gate, metric):
            if metric == "explained_variance":
                open("waiting", "w").close()
                time.sleep(60)
            gate(core[metric])
    """)
    command = [sys.executable, "-m", "pytest", "-p", "pytest_sae.plugin", "evals", "--sae=saes/a"]
    run = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (project.path / "waiting").exists():
        assert time.monotonic() < deadline, "the run did not come to its second test"
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    from pytest_sae.run.journal import read_journal

    start, row, *ended = read_journal(project.path / "sae-report/journal.jsonl")
    assert start["event"] == "start"
    assert row["row"]["metric"] == "l0"
    assert [each["event"] for each in ended] in ([], ["test"])
    report = project.report()
    assert (report["complete"], report["verdict"]) == (False, "incomplete")
    assert report["problems"] == ["the run has not ended"]


def specs(count: int) -> list[Any]:
    return [SimpleNamespace(env={}) for _ in range(count)]


@pytest.mark.parametrize(
    ("visible", "devices"),
    [("3,1", ["3", "1"]), ("GPU-aa, MIG-b", ["GPU-aa", "MIG-b"]), ("", []), ("-1", [])],
)
def test_gpus_are_named_as_the_caller_names_them(visible: str, devices: list[str]) -> None:
    assert visible_devices({VARIABLE: visible}) == devices


def test_gpus_are_counted_by_the_driver_if_nobody_names_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: X (UUID: a)'\necho '  MIG 1g'\necho 'GPU 1: X'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_devices({}) == ["0", "1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert visible_devices({}) == []
    monkeypatch.setenv("PATH", "")
    assert visible_devices({}) == []


def test_workers_share_the_gpus_round_and_round() -> None:
    workers = specs(3)
    pin(workers, ["5", "2"])
    assert [worker.env for worker in workers] == [{VARIABLE: "5"}, {VARIABLE: "2"}, {VARIABLE: "5"}]
    pin(cpu := specs(1), [])
    assert cpu[0].env == {}


def test_a_worker_sees_its_gpu_before_anything_is_imported_and_so_does_its_replacement(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "7,4")
    project.sae("b")
    project.write(
        "conftest.py",
        "import os\nSEEN = os.environ['CUDA_VISIBLE_DEVICES']\n"
        + (project.path / "conftest.py").read_text(),
    )
    project.tests("""
        import os, conftest, pytest
        @pytest.mark.parametrize("x", range(3))
        def test_gpu(sae, x):
            with open("gpus.txt", "a") as file:
                file.write(f"{sae.id} {conftest.SEEN}\\n")
            if x == 1:
                os._exit(1)
    """)
    result = project.run_apart("-n2", sae="saes/*")
    assert result.ret == 1
    result.stdout.re_match_lines([r".* 2 failed, 4 passed in .*"])
    seen = sorted((project.path / "gpus.txt").read_text().splitlines())
    assert {line.split()[1] for line in seen} == {"4", "7"}


def test_auto_starts_as_many_workers_as_there_are_saes_or_gpus(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_sae.plugin import pytest_xdist_auto_num_workers

    project.sae("b")
    for visible, args, count in [
        ("0,1,2", ["--sae=saes/*"], 2),
        ("0", ["--sae=saes/*"], 1),
        ("0,1,2", ["--sae=saes/*", "--sae-device=cpu"], None),
        ("", ["--sae=saes/*"], None),
        ("0,1", [], None),
        ("0,1", ["--sae=nowhere"], None),
    ]:
        monkeypatch.setenv(VARIABLE, visible)
        config = project.pytester.parseconfig("-p", "pytest_sae.plugin", *args)
        assert pytest_xdist_auto_num_workers(config) == count
