"""Every flag and its ini twin: what it does, and what it says to a value it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sae.options import Options, read_options
from tests.plugin.project import Project


def options(project: Project, *args: str) -> Options:
    return read_options(project.pytester.parseconfig("-p", "pytest_sae.plugin", *args))


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--sae=nowhere", "nowhere does not exist"),
        ("--sae=no*thing", "matches nothing"),
        ("--sae=saes", "holds 2 candidates"),
        ("--sae=evals", "is no dictionary"),
        ("--sae=", "is empty"),
        ("--sae-suite=papr", "one of smoke, standard, paper. Did you mean 'paper'?"),
        ("--sae-dtype=float8", "one of float32, bfloat16, float16, float64"),
        ("--sae-device=gpu", "one of auto, cpu, cuda, cuda:N, mps"),
        ("--sae-device=cuda:N", "N stands for a number"),
        ("--sae-seed=-1", "a whole number of at least 0"),
        ("--sae-seed=1.5", "a whole number of at least 0"),
        ("--sae-threads=0", "a whole number of at least 1"),
        ("--sae-model=./nowhere", "./nowhere does not exist"),
        ("--sae-model=", "--sae-model= is empty"),
        ("--sae-data=nowhere.toml", "is no file. Expected a TOML file"),
        ("--sae-data=canonical:nowhere", "nowhere does not exist"),
        ("--sae-thresholds=nowhere.toml", "is no file"),
        ("--sae-thresholds=bad.toml", "bad.toml:3: unknown key 'minimum'"),
        ("--sae-report=conftest.py", "is a file. Expected a directory"),
        ("--sae-cache=conftest.py", "is a file. Expected a directory"),
        ("--sae-judge=", "--sae-judge= is empty"),
        ("--sae-judge-mode=replya", "one of live, record, replay. Did you mean 'replay'?"),
        ("--sae-judge-mode=replay", "needs a model whose answers are recorded. Name it with"),
        ("--sae-judge-mode=record", "needs a model whose answers are recorded. Name it with"),
        ("--sae-judge-budget=abc", "--sae-judge-budget=abc: expected 200000, 200k or 2M (tokens)"),
        ("--sae-judge-budget=.50", "a shell wants $ in single quotes"),
        ("--sae-judge-budget=0", "a sum of nothing: expected"),
        ("--sae-judge-concurrency=0", "a whole number of at least 1"),
        ("--sae-judge-api-base=localhost:8000", "expected a URL such as http://localhost:8000/v1"),
        ("--sae-judge-api-base=ftp://host/v1", "expected a URL such as"),
        ("--sae-judge-api-base=http://", "expected a URL such as"),
        ("--sae-scorer=./nowhere", "--sae-scorer=./nowhere does not exist. Expected a directory"),
        ("--sae-embedder=/no/where", "--sae-embedder=/no/where does not exist"),
    ],
)
def test_a_value_that_cannot_be_used_is_a_usage_error(
    project: Project, flag: str, says: str
) -> None:
    project.sae("b")
    project.write("bad.toml", "version = 1\n[metrics.l0]\nminimum = 3\n")
    result = project.run(flag, sae=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    "url",
    ["http://user:hidden@host", "user:hidden@host", "http://host/v1?key=hidden", "http://[hidden@"],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(
    project: Project, url: str
) -> None:
    result = project.run(f"--sae-judge-api-base={url}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "keys belong in the environment (OPENAI_API_KEY" in result.stderr.str()
    assert "hidden" not in result.stderr.str()
    assert not (project.path / "sae-report").exists()


def test_a_gpu_of_its_own_cannot_be_named_for_many_workers(project: Project) -> None:
    result = project.run("--sae-device=cuda:1", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "choose GPUs with CUDA_VISIBLE_DEVICES" in result.stderr.str()


def test_defaults(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert options(project) == Options(
        sae=(), model=None, device="auto", dtype="float32", suite="standard", data=None,
        thresholds=None, report=str(project.path / "sae-report"),
        cache="/somewhere/cache/pytest-sae", seed=0, gate=True, threads=1, asked=False,
    )  # fmt: skip


def test_the_command_line_is_read(project: Project) -> None:
    path = project.path
    project.write("texts.toml", "")
    read = options(
        project, "--sae=saes/a", "--sae=b", "--sae-model=gpt2", "--sae-device=cuda:1",
        "--sae-dtype=bfloat16", "--sae-suite=paper", "--sae-data=texts.toml",
        "--sae-thresholds=evals/thresholds.toml", "--sae-report=out", "--sae-cache=off",
        "--sae-seed=7", "--sae-no-gate", "--sae-threads=2",
    )  # fmt: skip
    assert read == Options(
        sae=("saes/a", "b"), model="gpt2", device="cuda:1", dtype="bfloat16", suite="paper",
        data=str(path / "texts.toml"), thresholds=str(path / "evals/thresholds.toml"),
        report=str(path / "out"), cache=None, seed=7, gate=False, threads=2, asked=True,
    )  # fmt: skip


def test_the_judge_of_the_command_line_is_read(project: Project) -> None:
    (project.path / "bert").mkdir()
    read = options(
        project, "--sae-judge=openai/gpt-4o-mini", "--sae-judge-mode=record",
        "--sae-judge-budget=200k,$1.50", "--sae-judge-api-base=http://[::1]:8000/v1",
        "--sae-judge-concurrency=3", "--sae-scorer=gpt2", "--sae-embedder=bert",
    )  # fmt: skip
    assert (read.judge, read.judge_mode, read.judge_concurrency) == (
        "openai/gpt-4o-mini", "record", 3,
    )  # fmt: skip
    assert (read.judge_budget, read.judge_api_base) == ("200k,$1.50", "http://[::1]:8000/v1")
    assert read.judge_recordings == str(project.path / "judge-recordings.jsonl")
    assert (read.scorer, read.embedder) == ("gpt2", str(project.path / "bert"))


def test_embeddings_of_a_provider_can_be_recorded_without_a_judge(project: Project) -> None:
    read = options(project, "--sae-judge-mode=record", "--sae-embedder=litellm:openai/a/b/c")
    assert (read.judge, read.embedder) == (None, "litellm:openai/a/b/c")


def test_the_ini_file_is_read_and_the_command_line_wins(project: Project) -> None:
    project.write(
        "pytest.ini",
        """
        [pytest]
        sae =
            saes/a
            saes/b*
        sae_model = models/tiny
        sae_device = cpu
        sae_dtype = float16
        sae_suite = smoke
        sae_thresholds = evals/thresholds.toml
        sae_data = canonical
        sae_report = out
        sae_cache = kept
        sae_seed = 3
        sae_threads = 4
        sae_no_gate = true
        """,
    )
    path = project.path
    (path / "models/tiny").mkdir(parents=True)
    read = options(project, "--sae-suite=paper", "--sae-seed=4")
    assert read == Options(
        sae=(str(path / "saes/a"), str(path / "saes/b*")), model=str(path / "models/tiny"),
        device="cpu", dtype="float16", suite="paper", data="canonical",
        thresholds=str(path / "evals/thresholds.toml"), report=str(path / "out"),
        cache=str(path / "kept"), seed=4, gate=False, threads=4, asked=True,
    )  # fmt: skip


def test_a_bad_ini_value_is_a_usage_error(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\nsae_suite = tiny\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "one of smoke, standard, paper" in result.stderr.str()


def test_an_sae_of_the_ini_file_is_missed_only_by_tests_that_use_it(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\nsae = build/sae\n")
    project.write("plain/test_plain.py", "def test_plain(): pass")
    assert project.run("plain", sae=None).ret == 0
    result = project.run(sae=None)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*build/sae does not exist*"])


def test_without_sae_the_bundled_one_is_evaluated(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_sae.run.run.bundled_sae", lambda: Path(project.sae("topk")))
    result = project.run(sae=None)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SAEs: topk (the bundled one, for --sae was not given)"])
    assert set(project.verdicts()) == {
        "topk explained_variance", "topk l0", "topk scr 5", "topk scr 20",
    }  # fmt: skip


def test_report_goes_where_it_is_told(project: Project) -> None:
    project.run("--sae-report=out/here")
    names = {path.name for path in (project.path / "out/here").iterdir()}
    assert names == {"report.json", "report.md", "report.html", "journal.jsonl"}
    assert not (project.path / "sae-report").exists()


def test_a_report_that_cannot_be_written_is_a_usage_error(project: Project) -> None:
    result = project.run("--sae-report=conftest.py/below")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "conftest.py/below cannot be written: Not a directory." in result.stderr.str()


def test_thresholds_asked_for_win_over_those_beside_the_tests(project: Project) -> None:
    project.write("strict.toml", "version = 1\n[metrics.l0]\nmax = 1\n")
    result = project.run("-v", "--sae-thresholds=strict.toml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["l0 32.5000 > max 1.0000 [[]a[]]", "  rule      strict.toml:3"])
    assert [each["file"] for each in project.report()["thresholds"]] == ["strict.toml"]


def test_bad_thresholds_beside_the_tests_are_a_usage_error(project: Project) -> None:
    project.thresholds("[metrics.l00]\nmin = 1")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        "evals/thresholds.toml:2: unknown metric 'l00'. Did you mean 'l0'?" in result.stderr.str()
    )


def test_thresholds_of_another_project_are_none_of_our_business(project: Project) -> None:
    project.write("thresholds.toml", "[alarms]\nheat = 3")
    project.write("test_plain.py", "def test_plain(): pass")
    assert project.run("test_plain.py", sae=None).ret == 0


def test_no_gate_measures_and_judges_nothing(project: Project) -> None:
    project.thresholds("[metrics.l0]\nmax = 1")
    result = project.run("--sae-no-gate")
    assert result.ret == 0
    result.assert_outcomes(passed=4)
    assert set(project.verdicts().values()) == {"ungated"}
    assert {row["reason"] for row in project.rows().values()} == {"--sae-no-gate"}
    assert project.report()["verdict"] == "ungated"
    result.stdout.fnmatch_lines(["SAE gate: ungated (4 ungated; 1 SAE)"])
    result.stdout.fnmatch_lines(["pytest-sae: *, suite standard, not gated (--sae-no-gate)"])


def test_options_reach_the_workers(project: Project) -> None:
    source = (project.path / "conftest.py").read_text()
    project.write("conftest.py", source.replace("measure(family, sae.id)", "measure(self, sae.id)"))
    project.measures("return [Estimate('l0', 30.0 + family.options.seed)]")
    project.tests("""
        import pytest
        @pytest.mark.sae_metric("l0")
        def test_core(core, gate, metric):
            gate(core[metric])
    """)
    project.run_apart("-n1", "--sae-seed=9", "--sae-suite=smoke")
    assert project.rows()["a l0"]["value"] == 39.0
    assert project.report()["options"]["suite"] == "smoke"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "10 min an answer and 4 h in all (--sae-judge-timeout), budget no limit"),
        (
            ["--sae-judge-timeout=90s,1h", "--sae-judge-budget=200k"],
            "90 s an answer and 1 h in all (--sae-judge-timeout), budget 200k",
        ),
    ],
)
def test_the_header_says_how_long_a_judge_is_waited_for(
    project: Project, flags: list[str], told: str
) -> None:
    result = project.run("--collect-only", "--sae-judge=openai/some", *flags)
    assert f"judge: openai/some, waited for {told}" in result.stdout.str()


def test_a_time_that_is_none_is_refused(project: Project) -> None:
    result = project.run("--sae-judge-timeout=soon")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--sae-judge-timeout=soon: expected the time for a question*"])


def test_a_device_that_is_not_there_ends_the_run_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert project.run().ret == 0
    before = (project.path / "sae-report/report.json").read_bytes()
    result = project.run_apart("--sae-device=cuda")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--sae-device=cuda is not there: torch * sees 0 GPUs.*"])
    assert (project.path / "sae-report/report.json").read_bytes() == before
    assert project.run_apart("--sae-device=cuda", "--collect-only").ret == 0


def test_a_judge_without_a_key_ends_the_run_before_anything_is_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    judge = "--sae-judge=openai/gpt-4o-mini"
    result = project.run_apart(judge)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{judge}: OPENAI_API_KEY not set. Expected the key of its*"])
    assert not (project.path / "loads.txt").exists()
    for spared in ("--sae-judge-mode=replay", "--sae-judge-api-base=http://127.0.0.1:9", "-kl0"):
        assert project.run_apart(judge, spared).ret == 0, spared
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    assert project.run_apart(judge).ret == 0
