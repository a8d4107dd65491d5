"""Nothing is green without a measurement: every way not to measure makes the run red."""

from __future__ import annotations

import pytest

from tests.plugin.project import Project

ONE = """
import pytest
@pytest.mark.sae_metric("l0")
{marks}
def test_core({arguments}, gate, metric):
    {body}
"""


def one(
    project: Project, body: str = "gate(core[metric])", marks: str = "", arguments: str = "core"
) -> None:
    """A single test, and rules of its metric alone where a test has not set others."""
    if "explained_variance" in (project.path / "evals" / "thresholds.toml").read_text():
        project.thresholds("[metrics.l0]\nmin = 20\nmax = 120\n")
    project.write("evals/test_evals.py", ONE.format(body=body, marks=marks, arguments=arguments))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("float('nan')", "value is nan"),
        ("float('inf')", "value is inf"),
        ("None", "no value"),
        ("'high'", "value is str, no number that can be compared"),
    ],
)
def test_a_value_that_is_none_is_red(project: Project, value: str, reason: str) -> None:
    project.measures(f"return [Estimate('l0', {value})]")
    one(project)
    result = project.run()
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    row = project.rows()["a l0"]
    assert (row["verdict"], row["reason"], row["value"], row["status"]) == (
        "unmeasured", reason, None, "undefined",
    )  # fmt: skip


def test_undefined_is_red_and_says_why(project: Project) -> None:
    project.measures("return [undefined('l0', 'no token fired')]")
    one(project)
    result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["l0 unmeasured: no token fired [[]a[]]  evals*"])


def test_not_applicable_is_shown_but_does_not_stand_for_a_gate(project: Project) -> None:
    project.measures("return [not_applicable('l0', 'a transcoder')]")
    one(project)
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * not applicable: a transcoder"])
    row = project.rows()["a l0"]
    assert (row["verdict"], row["status"]) == ("ungated", "not_applicable")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["no metric of a was judged: not applicable: a transcoder"])


@pytest.mark.parametrize(("optional", "status"), [("", 1), ("optional = true\n", 0)])
def test_a_gate_without_data_is_red_unless_its_rule_lets_it_be_absent(
    project: Project, optional: str, status: int
) -> None:
    project.measures("return [no_data('l0', 'mine.toml has no such table'), Estimate('l1', 1.0)]")
    project.thresholds(f"[metrics.l0]\nmin = 1\n{optional}[metrics.l1]\nmin = 0.1\n")
    project.tests(
        """
        import pytest

        @pytest.mark.sae_metric("l0", "l1")
        def test_both(core, metric, gate):
            gate(core[metric])
        """
    )
    result = project.run("-rs")
    assert result.ret == status
    assert project.rows()["a l0"]["status"] == "no_data"
    if status:
        result.stdout.fnmatch_lines(
            ["l0 unmeasured: no data: mine.toml has no such table (l0 gates; optional = true *"]
        )
    else:
        result.assert_outcomes(passed=1, skipped=1)
        result.stdout.fnmatch_lines(["SKIPPED * no data: mine.toml has no such table"])


def test_not_applicable_beside_what_passes_is_skipped_and_not_red(project: Project) -> None:
    project.measures("return [not_applicable('l0', 'a transcoder'), Estimate('l1', 1.0)]")
    project.thresholds("[metrics.l0]\nmin = 1\n[metrics.l1]\nmin = 0.1\n")
    project.tests(
        """
        import pytest

        @pytest.mark.sae_metric("l0", "l1")
        def test_both(core, metric, gate):
            gate(core[metric])
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == 0
    assert project.report()["verdict"] == "pass"


@pytest.mark.parametrize(
    ("marks", "body", "reason"),
    [
        ("@pytest.mark.skip(reason='no time')", "pass", "skipped: no time"),
        ("@pytest.mark.skipif(True, reason='no GPU')", "pass", "skipped: no GPU"),
        ("", "pytest.skip('no key')", "skipped: no key"),
        ("", "gate(core[metric]); pytest.skip('after all')", "skipped: after all"),
        ("@pytest.mark.xfail(run=False, reason='known')", "gate(core[metric])", "[NOTRUN] known"),
        ("@pytest.mark.xfail(reason='known')", "raise ValueError('x')", "ValueError: x"),
        ("", "pass", "the test never called gate"),
        ("", "gate(core['explained_variance'])", "the test judged explained_variance instead"),
        ("", "assert 0, 'before'", "AssertionError: before"),
    ],
)
def test_a_test_that_does_not_judge_is_red(
    project: Project, marks: str, body: str, reason: str
) -> None:
    one(project, body, marks)
    result = project.run()
    assert result.ret == 1
    row = project.rows()["a l0"]
    assert row["verdict"] == "unmeasured"
    assert reason in row["reason"]
    assert project.report()["verdict"] == "incomplete"
    assert any("l0 unmeasured" in line and reason in line for line in result.outlines)


def test_all_skipped_is_red(project: Project) -> None:
    project.write(
        "evals/conftest.py",
        "import pytest\n@pytest.fixture(autouse=True)\ndef no(): pytest.skip('no')",
    )
    result = project.run()
    assert result.ret == 1
    result.assert_outcomes(skipped=4)
    assert set(project.verdicts().values()) == {"unmeasured"}


def test_a_known_failure_declared_as_xfail_is_shown_and_accepted(project: Project) -> None:
    project.thresholds("[metrics.l0]\nmax = 1")
    one(project, marks="@pytest.mark.xfail(strict=True, reason='dense')")
    result = project.run("-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["a    l0      32.5000     max 1  fail (xfail)"])
    assert project.rows()["a l0"]["outcome"] == "xfailed"
    assert project.report()["verdict"] == "pass"


def test_a_known_failure_that_passes_is_red(project: Project) -> None:
    one(project, marks="@pytest.mark.xfail(strict=True, reason='dense')")
    assert project.run().ret == 1


def test_no_rule_is_red_for_an_sae_that_nothing_else_gates(project: Project) -> None:
    project.thresholds("[metrics.tpp]\nmin = 0.1")
    result = project.run()
    result.assert_outcomes(passed=4)
    assert result.ret == 1
    assert set(project.verdicts().values()) == {"ungated"}
    result.stdout.fnmatch_lines(["tpp of a gates by evals/thresholds.toml:2, and was not judged"])
    assert project.report()["verdict"] == "incomplete"
    assert project.run("--sae-no-gate").ret == 0


def test_sae_without_a_test_that_uses_it_is_red(project: Project) -> None:
    project.tests("def test_plain(): pass")
    result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["pytest-sae: --sae was given, but no test that ran uses an SAE"])
    assert not (project.path / "sae-report").exists()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("RuntimeError('CUDA out of memory')", "failed: RuntimeError: CUDA out of memory"),
        ("DataError('no texts here')", "no texts here"),
    ],
)
def test_an_exception_while_measuring_is_an_error_not_a_failure(
    project: Project, error: str, says: str
) -> None:
    project.measures(f"from pytest_sae.errors import DataError\nraise {error}")
    one(project)
    result = project.run()
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    row = project.rows()["a l0"]
    assert (row["verdict"], row["outcome"]) == ("unmeasured", "error")
    assert row["reason"].endswith(says)
    assert "Traceback" not in result.stdout.str()
    assert ("measure.py" in result.stdout.str()) == ("CUDA" in says)


def test_an_exception_while_measuring_frees_what_was_measured_on(project: Project) -> None:
    project.measures("""
        import weakref
        class Tensor: pass
        big = Tensor()
        pytest.big = weakref.ref(big)
        raise RuntimeError("out of memory")
    """)
    project.tests("""
        import pytest
        @pytest.mark.sae_metric("l0", "mse")
        def test_core(core, gate, metric): pass
        def test_freed(): assert pytest.big() is None
    """)
    project.run().assert_outcomes(errors=2, passed=1)


@pytest.mark.parametrize("where", ["load", "__init__"])
def test_an_sae_that_cannot_be_loaded_is_an_error_with_the_message_alone(
    project: Project, where: str
) -> None:
    source = (project.path / "conftest.py").read_text()
    head, definition, rest = source.partition(f"def {where}(self")
    head, definition, rest = (
        source.rpartition(f"def {where}(self") if where == "__init__" else (head, definition, rest)
    )
    line, _, rest = rest.partition("\n")
    error = "__import__('pytest_sae.errors').errors.DictionaryError('k is missing')"
    body = f"\n        raise {error}\n"
    (project.path / "conftest.py").write_text(head + definition + line + body + rest)
    result = project.run()
    assert result.ret == 1
    result.assert_outcomes(errors=4)
    assert {row["reason"] for row in project.rows().values()} == {"k is missing"}
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("flag", ["-x", "--maxfail=1"])
def test_a_run_that_stops_early_is_incomplete(project: Project, flag: str) -> None:
    project.thresholds("[metrics.explained_variance]\nmin = 0.95")
    result = project.run(flag)
    assert result.ret != 0
    report = project.report()
    assert report["complete"] is False
    assert project.verdicts() == {
        "a explained_variance": "fail", "a l0": "unmeasured", "a scr 5": "unmeasured",
        "a scr 20": "unmeasured",
    }  # fmt: skip
    assert project.rows()["a l0"]["reason"] == "not run: the run was stopped early"


def test_an_interrupted_run_leaves_an_incomplete_report(project: Project) -> None:
    one(project, "raise KeyboardInterrupt")
    result = project.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert project.report()["complete"] is False
    assert project.report()["exit_status"] == 2
    assert project.verdicts() == {"a l0": "unmeasured"}


@pytest.mark.parametrize("flag", ["--collect-only", "--setup-plan", "--setup-only", "--fixtures"])
def test_runs_that_call_no_test_are_green_and_write_nothing(project: Project, flag: str) -> None:
    assert project.run(flag).ret == 0
    assert not (project.path / "sae-report").exists()


def test_deselecting_everything_is_not_green(project: Project) -> None:
    assert project.run("-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_an_error_in_teardown_is_red(project: Project) -> None:
    project.write(
        "evals/conftest.py",
        "import pytest\n@pytest.fixture(autouse=True)\ndef bad():\n    yield\n    assert 0, 'late'",
    )
    one(project)
    result = project.run()
    assert result.ret == 1
    assert project.verdicts() == {"a l0": "pass"}
    assert project.report()["verdict"] != "pass"
    assert [test["outcome"] for test in project.report()["tests"]] == ["error"]


@pytest.mark.parametrize(("optional", "status"), [("", 0), ("optional = false\n", 1)])
def test_a_task_that_the_model_cannot_do_is_red_only_where_a_rule_must_have_it(
    project: Project, optional: str, status: int
) -> None:
    project.measures("return [unable('l0', '2 of 60 are right'), Estimate('l1', 1.0)]")
    project.thresholds(f"[metrics.l0]\nmin = 1\n{optional}[metrics.l1]\nmin = 0.1\n")
    project.tests(
        """
        import pytest

        @pytest.mark.sae_metric("l0", "l1")
        def test_both(core, metric, gate):
            gate(core[metric])
        """
    )
    result = project.run("-rs")
    assert result.ret == status
    row = project.rows()["a l0"]
    assert (row["status"], row["value"]) == ("unable", None)
    assert project.report()["verdict"] == ("incomplete" if status else "pass")
    told = "*the model cannot do this task: 2 of 60 are right*"
    result.stdout.fnmatch_lines([told])


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_family_that_cannot_be_set_up_takes_no_other_with_it(
    project: Project, workers: str
) -> None:
    project.measures(
        """
        if family == "scr":
            raise RuntimeError("no such layer")
        return [Estimate("explained_variance", 0.91), Estimate("l0", 32.5)]
        """
    )
    result = project.run_apart(workers)
    assert result.ret == 1
    result.assert_outcomes(passed=2, errors=2)
    verdicts = project.verdicts()
    assert {verdicts["a explained_variance"], verdicts["a l0"]} == {"pass"}
    assert {verdicts["a scr 5"], verdicts["a scr 20"]} == {"unmeasured"}
    assert project.report()["verdict"] == "incomplete"
