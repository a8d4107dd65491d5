"""Baselines in a run: --sae-baseline and its updates, without and with workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_sae.cli import main
from tests.plugin.project import Project
from tests.whole import whole_report

CORE = """
import os
import pytest
from pytest_sae import Estimate

VALUES = {values}

def measure(family, sae):
    return [Estimate(name, value, se=0.01, n={{"texts": 40}}) for name, value in VALUES.items()]
"""
EVALS = """
import pytest

@pytest.mark.sae_metric({names})
def test_core(core, gate, metric):
    gate(core[metric])
"""
BOUNDS = """
[metrics.explained_variance]
min = 0.5
regression = { abs = 0.02, sigma = 2 }
[metrics.mse]
max = 5
"""
WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


def values(project: Project, **named: float | None) -> None:
    """Set what is measured, and the tests that ask for it."""
    project.write("measure.py", CORE.format(values=repr(named)))
    project.tests(EVALS.format(names=", ".join(map(repr, named))))


def made_with(project: Project, **marks: str) -> None:
    """Set the fingerprints of every measurement."""
    source = (project.path / "conftest.py").read_text().partition("# marks\n")[0]
    fingerprints = {"model": "m", "data": "d", "suite": "standard", "code": "0.1.0/1", **marks}
    project.write(
        "conftest.py",
        f"{source}# marks\n_own = EvalSession.measure\n"
        "def _measure(self, family, sae):\n"
        "    import dataclasses\n"
        f"    return tuple(dataclasses.replace(each, fingerprints={fingerprints})\n"
        "        for each in _own(self, family, sae))\n"
        "EvalSession.measure = _measure\n",
    )


@pytest.fixture
def kept(project: Project) -> Project:
    """A project whose baseline holds an explained variance of 0.91 and an error of 1."""
    project.thresholds(BOUNDS)
    made_with(project)
    values(project, explained_variance=0.91, mse=1.0)
    assert project.run("--sae-baseline=kept", "--sae-baseline-update").ret == 0
    return project


def apart(project: Project, workers: str, *args: str, sae: str = "saes/a") -> pytest.RunResult:
    return project.run_apart(workers, "--sae-baseline=kept", *args, sae=sae)


@WORKERS
def test_an_update_writes_what_was_measured_and_a_rerun_is_green(
    project: Project, workers: str
) -> None:
    project.thresholds(BOUNDS)
    values(project, explained_variance=1 / 3 + 0.5, mse=1.0)
    result = apart(project, workers, "--sae-baseline-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "baseline updated: kept/a.json",
        "explained_variance of a: 0.8333 is new",
        "mse of a: 1.0000 is new",
    ])  # fmt: skip
    first = (project.path / "kept/a.json").read_text()
    assert f'"value": {1 / 3 + 0.5!r}' in first
    assert apart(project, workers).ret == 0
    assert set(project.verdicts().values()) == {"pass"}
    assert apart(project, workers, "--sae-baseline-update").ret == 0
    assert (project.path / "kept/a.json").read_text() == first
    assert project.report()["update"] == {"baseline": "kept", "changes": [], "files": []}


@WORKERS
def test_beside_another_seed_of_the_recipe_its_own_tolerance_counts(
    kept: Project, workers: str
) -> None:
    kept.thresholds(BOUNDS.replace("sigma = 2 }", "sigma = 2 }\nother_seed = { abs = 0.1 }"))
    values(kept, explained_variance=0.86, mse=1.0)
    assert apart(kept, workers).ret == 1
    assert apart(kept, workers, "--sae-baseline-other-seed").ret == 0
    row = kept.rows()["a explained_variance"]
    assert row["rule"]["regression"] == {"abs": 0.1, "rel": 0.0, "sigma": 3.0}


@WORKERS
def test_a_name_holds_the_next_checkpoint_to_the_last_release(
    project: Project, workers: str
) -> None:
    project.thresholds(BOUNDS)
    made_with(project)
    for place in ("release", "step_9000", "other"):
        project.sae(place)
    values(project, explained_variance=0.91, mse=1.0)
    saes = ["--sae=main@saes/release", "--sae=saes/other"]
    assert apart(project, workers, *saes, "--sae-baseline-update", sae="saes/a").ret == 0
    assert sorted(each.name for each in (project.path / "kept").glob("*.json")) == [
        "a.json", "main.json", "other.json",
    ]  # fmt: skip
    values(project, explained_variance=0.8, mse=1.0)
    result = apart(project, workers, "--sae=saes/other", sae="main@saes/step_9000")
    assert result.ret == 1
    assert project.rows()["main explained_variance"]["baseline"]["value"] == 0.91
    assert project.verdicts() == {
        "main explained_variance": "regressed", "main mse": "pass",
        "other explained_variance": "regressed", "other mse": "pass",
    }  # fmt: skip
    assert project.report()["saes"][0] == {
        "id": "main", "path": "saes/step_9000", "text": "main@saes/step_9000",
    }  # fmt: skip


@WORKERS
def test_one_sae_is_judged_by_the_baseline_of_one_whatever_both_are_called(
    kept: Project, workers: str
) -> None:
    kept.sae("b")
    values(kept, explained_variance=0.8, mse=1.0)
    result = apart(kept, workers, sae="saes/b")
    assert result.ret == 1
    assert kept.rows()["b explained_variance"]["baseline"]["source"] == "a in kept"
    assert kept.verdicts() == {"b explained_variance": "regressed", "b mse": "pass"}
    judged_in_a_run = kept.report()["measurements"]
    unjudged = [{**row, "baseline": None} for row in judged_in_a_run]
    again = {**kept.report(), "measurements": unjudged}
    (kept.path / "later.json").write_text(json.dumps(again))
    assert main(["compare", "kept", "later.json", "--output=compared"]) == 1
    compared = whole_report(kept.path / "compared/report.json")["measurements"]
    assert [(row["verdict"], row["baseline"]) for row in compared] == [
        (row["verdict"], row["baseline"]) for row in judged_in_a_run
    ]


def test_what_a_baseline_of_one_has_and_the_run_did_not_measure_is_missed(kept: Project) -> None:
    kept.sae("b")
    values(kept, mse=1.0)
    assert kept.run("--sae-baseline=kept", sae="saes/b").ret == 1
    told = "1 value of b in a in kept was not measured: explained_variance"
    assert told in kept.report()["problems"]


def test_one_of_two_saes_is_not_judged_by_a_baseline_of_another_name(kept: Project) -> None:
    kept.sae("b"), kept.sae("c")
    values(kept, explained_variance=0.8, mse=1.0)
    saes = ["--sae-baseline=kept", "--sae=saes/b", "--sae=saes/c"]
    for shard in ([], ["--sae-shard=1/2"]):
        assert kept.run(*saes, *shard, sae=None).ret == 0
        assert set(kept.verdicts().values()) == {"new"}
    assert main(["compare", "kept", "sae-report", "--output=compared"]) == 1
    compared = whole_report(kept.path / "compared/report.json")
    assert "no SAE of the report is in kept" in compared["problems"]


def test_an_update_writes_the_new_name_beside_the_old_one(kept: Project) -> None:
    kept.sae("b")
    before = (kept.path / "kept/a.json").read_bytes()
    values(kept, explained_variance=0.8, mse=1.0)
    assert kept.run("--sae-baseline=kept", "--sae-baseline-update", sae="saes/b").ret == 0
    assert (kept.path / "kept/a.json").read_bytes() == before
    assert '"value": 0.8' in (kept.path / "kept/b.json").read_text()


@WORKERS
def test_a_value_worse_than_tolerance_and_noise_is_red(kept: Project, workers: str) -> None:
    values(kept, explained_variance=0.86, mse=1.0)
    result = apart(kept, workers, "-v")
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "explained_variance 0.8600 regressed from 0.9100 (-0.0500), allowed 0.0283 [[]a[]]",
        "  measured  no interval, se 0.0100, 40 texts, 1 seed",
        "  baseline  0.9100 (-0.0500), tolerance 0.0200, noise 2 x 0.0141; kept",
        "  rule      evals/thresholds.toml:5",
    ])  # fmt: skip
    row = kept.rows()["a explained_variance"]
    assert row["baseline"] == {
        "source": "kept", "value": 0.91, "se": 0.01, "differs": [], "required": False,
        "paired": None,
    }  # fmt: skip
    assert row["rule"]["regression"] == {"abs": 0.02, "rel": 0.0, "sigma": 2.0}
    assert kept.report()["verdict"] == "fail"


def test_a_value_inside_the_noise_is_green(kept: Project) -> None:
    values(kept, explained_variance=0.885, mse=1.0)
    assert kept.run("--sae-baseline=kept").ret == 0


def test_a_metric_without_its_own_tolerance_has_one(kept: Project) -> None:
    values(kept, explained_variance=0.91, mse=1.1)
    result = kept.run("--sae-baseline=kept")
    assert result.ret == 1
    assert kept.verdicts()["a mse"] == "regressed"
    regression = kept.rows()["a mse"]["rule"]["regression"]
    assert regression == {"abs": 0.0, "rel": 0.02, "sigma": 3.0}


def test_a_gain_is_green_and_shown(kept: Project) -> None:
    values(kept, explained_variance=0.99, mse=1.0)
    result = kept.run("--sae-baseline=kept", "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "SAE  metric              value ± se       bound    baseline          verdict",
        "a    explained_variance  0.9900 ± 0.0100  min 0.5  0.9100 (+0.0800)  improved",
    ])  # fmt: skip


@WORKERS
def test_a_value_that_the_baseline_does_not_have_is_red_in_ci_alone(
    kept: Project, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values(kept, explained_variance=0.91, mse=1.0, kl=0.1)
    kept.thresholds(BOUNDS + "[metrics.kl]\nmax = 1\n")
    assert apart(kept, workers).ret == 0
    assert kept.verdicts()["a kl"] == "new"
    monkeypatch.setenv("CI", "true")
    result = apart(kept, workers, "-v")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["kl 0.1000 is new: not in kept [[]a[]]"])
    assert kept.report()["verdict"] == "fail"
    assert apart(kept, workers, "--sae-baseline-update-new").ret == 0
    assert apart(kept, workers).ret == 0


@WORKERS
def test_an_update_of_what_is_new_leaves_the_rest(kept: Project, workers: str) -> None:
    values(kept, explained_variance=0.9, mse=1.0, kl=0.1)
    assert apart(kept, workers, "--sae-baseline-update-new").ret == 0
    stored = json.loads((kept.path / "kept/a.json").read_text())["values"]
    assert [(each["metric"], each["value"]) for each in stored] == [
        ("explained_variance", 0.91), ("kl", 0.1), ("mse", 1.0),
    ]  # fmt: skip
    assert kept.report()["update"]["changes"] == ["kl of a: 0.1000 is new"]


def test_an_update_of_what_is_new_still_gates_the_rest(kept: Project) -> None:
    values(kept, explained_variance=0.7, mse=1.0, kl=0.1)
    assert kept.run("--sae-baseline=kept", "--sae-baseline-update-new").ret == 1
    assert kept.verdicts()["a explained_variance"] == "regressed"


def test_an_update_accepts_a_regression_and_lists_it(kept: Project) -> None:
    values(kept, explained_variance=0.7, mse=1.0)
    result = kept.run("--sae-baseline=kept", "--sae-baseline-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["explained_variance of a: 0.9100 becomes 0.7000 (-0.2100)"])
    assert kept.run("--sae-baseline=kept").ret == 0


def test_an_update_does_not_excuse_a_bound(kept: Project) -> None:
    values(kept, explained_variance=0.4, mse=1.0)
    assert kept.run("--sae-baseline=kept", "--sae-baseline-update").ret == 1
    assert '"value": 0.4' in (kept.path / "kept/a.json").read_text()


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ({"model": "n"}, "model was m, is n"),
        ({"suite": "smoke", "data": "e"}, "data was d, is e; suite was standard, is smoke"),
        ({"code": "0.1.0/2"}, "code was 1, is 0.1.0/2"),
        ({"site": "x"}, "site was not said, is x"),
    ],
)
def test_what_was_not_made_alike_is_not_compared(
    kept: Project, marks: dict[str, str], says: str
) -> None:
    made_with(kept, **marks)
    result = kept.run("--sae-baseline=kept", "-v")
    assert result.ret == 1
    assert set(kept.verdicts().values()) == {"incomparable"}
    line = f"mse 1.0000 is not comparable with kept: {says} [a]"
    assert line in result.outlines


@pytest.mark.parametrize("marks", [{"sae": "other"}, {"code": "0.2.0/1"}])
def test_another_sae_and_another_release_are_compared(kept: Project, marks: dict[str, str]) -> None:
    made_with(kept, **marks)
    assert kept.run("--sae-baseline=kept").ret == 0


@pytest.mark.parametrize(
    ("change", "args", "why"),
    [
        ("mse=None", [], "mse of a was not measured"),
        ("mse=1.0", ["-x", "--deselect=nothing", "--maxfail=1"], ""),
        ("mse=0.1", ["-x"], "the run was stopped early"),
    ],
)
def test_a_run_that_is_not_whole_updates_nothing(
    kept: Project, change: str, args: list[str], why: str
) -> None:
    before = (kept.path / "kept/a.json").read_bytes()
    name, _, value = change.partition("=")
    kept.thresholds(BOUNDS.replace("max = 5", "min = 0.5\nmax = 5"))
    named = {name: None if value == "None" else float(value), "explained_variance": 0.8}
    values(kept, **named)
    result = kept.run("--sae-baseline=kept", "--sae-baseline-update", *args)
    after = (kept.path / "kept/a.json").read_bytes()
    if why:
        assert result.ret == 1
        assert f"the baseline was not updated: {why}" in result.outlines
        assert kept.report()["complete"] is False
    assert (after == before) == bool(why)


def test_a_worker_that_dies_updates_nothing(kept: Project) -> None:
    before = (kept.path / "kept/a.json").read_bytes()
    kept.tests("""
        import os, pytest
        @pytest.mark.sae_metric("explained_variance", "mse")
        def test_core(core, gate, metric):
            if metric == "mse":
                os._exit(1)
            gate(core[metric])
    """)
    result = apart(kept, "-n1", "--sae-baseline-update")
    assert result.ret == 1
    assert "was not measured" in result.stdout.str()
    assert (kept.path / "kept/a.json").read_bytes() == before


def test_a_run_of_some_tests_never_updates_a_baseline(kept: Project) -> None:
    before = (kept.path / "kept/a.json").read_bytes()
    values(kept, explained_variance=0.95, mse=2.0)
    result = kept.run("--sae-baseline=kept", "--sae-baseline-update", "-k", "mse")
    assert result.ret == 1
    assert "the baseline was not updated: only a part was run (-k)" in result.outlines
    assert (kept.path / "kept/a.json").read_bytes() == before


def test_the_last_report_is_a_baseline_though_the_run_writes_over_it(kept: Project) -> None:
    kept.run()
    values(kept, explained_variance=0.8, mse=1.0)
    result = kept.run_apart("-n2", "--sae-baseline=sae-report/report.json")
    assert result.ret == 1
    assert kept.verdicts() == {"a explained_variance": "regressed", "a mse": "pass"}


def test_one_file_can_hold_all_saes(kept: Project) -> None:
    kept.sae("b")
    flags = ["--sae-baseline=all.json", "--sae-baseline-update"]
    assert kept.run(*flags, sae="saes/b").ret == 0
    assert kept.run(*flags, sae="saes/*").ret == 0
    lines = (kept.path / "all.json").read_text().splitlines()
    assert sum('"metric": ' in line for line in lines) == 4
    assert kept.run("--sae-baseline=all.json", sae="saes/*").ret == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--sae-baseline=nowhere"],
            "there is no baseline yet. Expected one of an earlier run: make it with "
            "--sae-baseline=nowhere --sae-baseline-update",
        ),
        (["--sae-baseline=evals"], "evals is a directory without a baseline"),
        (["--sae-baseline=conftest.py"], "conftest.py is no baseline"),
        (["--sae-baseline-update"], "has nothing to write to. Expected --sae-baseline=PATH"),
        (["--sae-baseline-update-new"], "has nothing to write to"),
        (
            ["--sae-baseline=new", "--sae-baseline-update", "--sae-baseline-update-new"],
            "Expected one of them",
        ),
        (
            ["--sae-baseline=sae-report/report.json", "--sae-baseline-update"],
            "is a report, which only a run writes",
        ),
        (
            ["--sae-baseline=sae-report", "--sae-baseline-update"],
            "report.json is a report, which only a run writes",
        ),
    ],
)
def test_a_baseline_that_cannot_be_used_is_a_usage_error(
    kept: Project, flags: list[str], says: str
) -> None:
    result = kept.run(*flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()


def test_a_report_of_a_run_that_did_not_end_is_no_baseline(kept: Project) -> None:
    path = kept.path / "sae-report/report.json"
    (kept.path / "cut.json").write_text(
        path.read_text().replace('"complete": true', '"complete": false')
    )
    result = kept.run("--sae-baseline=cut.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "is of a run that did not end" in result.stderr.str()


def test_a_baseline_of_the_ini_file_is_read(kept: Project) -> None:
    ini = kept.path / "pytest.ini"
    ini.write_text(ini.read_text() + "sae_baseline = kept\n")
    values(kept, explained_variance=0.7, mse=1.0)
    result = kept.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["baseline: kept (2 values)"])
    ini.write_text(ini.read_text().replace("= kept", "= nowhere"))
    assert kept.run().ret == pytest.ExitCode.USAGE_ERROR


def test_the_update_is_in_the_reports(kept: Project) -> None:
    values(kept, explained_variance=0.8, mse=1.0)
    kept.run("--sae-baseline=kept", "--sae-baseline-update")
    directory = kept.path / "sae-report"
    for name in ("report.md", "report.html"):
        assert "0.9100 becomes 0.8000" in Path(directory / name).read_text()


def test_an_override_is_in_force_for_its_saes_and_says_so(project: Project) -> None:
    project.sae("b")
    project.thresholds("""
        [metrics.l0]
        max = 10
        [metrics.explained_variance]
        min = 0.5
        [[override]]
        sae = "b*"
        metric = "l0"
        max = 30
        reason = "layer 0 is dense"
        expires = 2999-01-31
    """)
    result = project.run("-v", sae="saes/*")
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "l0 32.5000 > max 10.0000 [[]a[]]", "  rule      evals/thresholds.toml:4",
        "l0 32.5000 > max 30.0000 [[]b[]]",
        "  rule      evals/thresholds.toml:10 (override for b[*]: layer 0 is dense)",
    ])  # fmt: skip
    assert project.rows()["b l0"]["rule"]["override"] == "b*"
    assert project.rows()["a l0"]["rule"]["override"] == ""


def test_an_override_that_has_expired_stops_the_run(project: Project) -> None:
    project.thresholds("""
        [metrics.l0]
        max = 10
        [[override]]
        sae = "a"
        metric = "l0"
        max = 300
        reason = "layer 0 is dense"
        expires = 2020-01-31
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = (
        "thresholds.toml:10: the override of l0 for a expired on 2020-01-31 (it was there because"
    )
    assert told in result.stderr.str()


def test_an_update_says_what_it_accepts_as_worse_and_in_ci_only_if_it_is_told_to(
    kept: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (kept.path / "kept/a.json").read_bytes()
    values(kept, explained_variance=0.8, mse=1.0)
    update = ("--sae-baseline=kept", "--sae-baseline-update")
    monkeypatch.setenv("CI", "true")
    refused = kept.run(*update)
    assert refused.ret == 1
    refused.stdout.fnmatch_lines([
        "the baseline was not updated: in CI worse values are accepted only if "
        "--sae-accept-regressions says so: explained_variance 0.8000 regressed from *"
    ])  # fmt: skip
    assert (kept.path / "kept/a.json").read_bytes() == before
    accepted = kept.run(*update, "--sae-accept-regressions")
    assert accepted.ret == 0
    told = "accepted as worse: explained_variance 0.8000 regressed from *"
    accepted.stdout.fnmatch_lines([told])
    assert (kept.path / "kept/a.json").read_bytes() != before
