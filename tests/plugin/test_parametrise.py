"""Which tests are made of an eval test, what they are called, and what is refused."""

from __future__ import annotations

import pytest

from pytest_sae.run.nodeids import key_of_nodeid, sae_of_nodeid
from tests.plugin.project import Project


def collected(project: Project, *args: str, sae: str = "saes/a") -> list[str]:
    result = project.run("--collect-only", "-q", *args, sae=sae)
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_there_is_one_test_per_sae_metric_and_setting(project: Project) -> None:
    project.sae("b-2")
    assert collected(project, sae="saes/*") == [
        "test_core[a-explained_variance]",
        "test_core[a-l0]",
        "test_scr[a-scr:n:5]",
        "test_scr[a-scr:n:20]",
        "test_core[b_2-explained_variance]",
        "test_core[b_2-l0]",
        "test_scr[b_2-scr:n:5]",
        "test_scr[b_2-scr:n:20]",
    ]


def test_several_settings_are_combined_and_markers_add_up(project: Project) -> None:
    project.tests("""
        import pytest
        @pytest.mark.sae_metric("l0")
        @pytest.mark.sae_metric("scr", "tpp", task=["x y", "z"], n=5)
        @pytest.mark.parametrize("other", [1, 2])
        def test_it(sae, metric, other): pass
    """)
    assert collected(project) == [
        f"test_it[a-{metric}-{other}]"
        for metric in (
            "l0", "scr:n:5+task:x_y", "scr:n:5+task:z", "tpp:n:5+task:x_y", "tpp:n:5+task:z",
        )
        for other in (1, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "selected"),
    [("scr:n:20", 1), ("scr", 2), ("l0 or scr:n:5", 2), ("a-l0", 1), ("b", 0)],
)
def test_k_selects_by_sae_metric_and_setting(
    project: Project, expression: str, selected: int
) -> None:
    assert len(collected(project, "-k", expression)) == selected


def test_a_selected_test_runs_alone(project: Project) -> None:
    result = project.run("evals/test_evals.py::test_core[a-l0]")
    result.assert_outcomes(passed=1)
    assert set(project.verdicts()) == {"a l0"}


def test_an_sae_test_needs_no_metric(project: Project) -> None:
    project.write(
        "evals/test_more.py",
        """
        def test_more(sae, model, latents, sae_spec):
            assert (sae.id, model, latents) == ("a", "model", "latents")
            assert sae_spec.path.endswith("saes/a")
        """,
    )
    assert project.run().ret == 0
    assert project.report()["tests"] == [
        {
            "nodeid": "evals/test_more.py::test_more[a]",
            "sae": "a",
            "outcome": "passed",
            "reason": "",
        }
    ]


@pytest.mark.parametrize(
    ("marker", "arguments", "says"),
    [
        ("'explained_varience'", "core, metric", "Did you mean 'explained_variance'?"),
        ("3", "core, metric", "unknown metric 3"),
        ("'l0'", "core", "the test must take an argument named metric"),
        ("'l0'", "metric", "it must use an SAE"),
        ("n=3", "core, metric", "it names no metric"),
    ],
)
def test_a_marker_that_cannot_be_used_is_a_collection_error(
    project: Project, marker: str, arguments: str, says: str
) -> None:
    project.tests(f"""
        import pytest
        @pytest.mark.sae_metric({marker})
        def test_it({arguments}): pass
    """)
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert says in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_metrics_of_a_conftest_are_known(project: Project) -> None:
    project.write(
        "evals/conftest.py",
        """
        from pytest_sae import MetricSpec, register
        register(MetricSpec("shiny", "higher", "", 0.0, 1.0, "how it shines"))
        """,
    )
    project.measures("return [Estimate('shiny', 0.3)]")
    project.thresholds("[metrics.shiny]\nmin = 0.5")
    project.tests("""
        import pytest
        @pytest.mark.sae_metric("shiny")
        def test_it(core, metric, gate):
            gate(core[metric])
    """)
    result = project.run("-v")
    result.stdout.fnmatch_lines(["shiny 0.3000 < min 0.5000 [[]a[]]", "*how it shines"])


def test_what_was_not_measured_is_named_with_what_was(project: Project) -> None:
    project.tests("""
        import pytest
        @pytest.mark.sae_metric("tpp", n=3)
        def test_it(tpp, metric, gate):
            gate(tpp[metric])
    """)
    result = project.run()
    result.assert_outcomes(failed=1)
    reason = "tpp:n=3 was not measured. tpp measured tpp:n=5, tpp:n=20."
    assert reason in result.stdout.str()
    assert project.rows()["a tpp 3"]["reason"] == f"NotMeasuredError: {reason}"


@pytest.mark.parametrize(
    ("nodeid", "sae", "key"),
    [
        ("t.py::test_it[topk-scr:n:20]", "topk", "scr:n=20"),
        ("t.py::test_it[topk_1-l0-x]", "topk_1", "l0"),
        ("t.py::test_it[topk-other]", "topk", None),
        ("t.py::test_it[topk]", "topk", None),
        ("t.py::test_it[topkk-l0]", None, None),
        ("t.py::test_it", None, None),
        ("t.py::test_it[topk.a-tpp:n:5+task:z]", "topk.a", "tpp:n=5,task=z"),
    ],
)
def test_sae_and_metric_are_read_from_a_test_id(
    nodeid: str, sae: str | None, key: str | None
) -> None:
    found = sae_of_nodeid(nodeid, ["topk", "topk_1", "topk.a"])
    assert found == sae
    assert (key_of_nodeid(nodeid, found) if found else None) == key


def test_a_family_is_tested_in_all_that_no_other_test_of_the_module_names(
    project: Project,
) -> None:
    project.tests("""
    import pytest

    @pytest.mark.sae_metric("tpp.canonical")
    def test_published(tpp, gate, metric):
        gate(tpp[metric])

    class TestRest:
        @pytest.mark.sae_metric("tpp", n=[5, 20])
        def test_named(self, tpp, gate, metric):
            gate(tpp[metric])

    @pytest.mark.sae_family("tpp")
    def test_rest(tpp, gate, metric):
        gate(tpp[metric])
    """)
    result = project.run("--collect-only", "-q")
    found = [line for line in result.outlines if "test_rest" in line]
    assert [line.partition("[a-")[2].rstrip("]") for line in found] == [
        "tpp.margin:n:20",
        "tpp.rescaled:n:few",
    ]


def test_a_metric_of_a_family_that_never_comes_to_its_gate_is_unmeasured(project: Project) -> None:
    project.tests("""
    import pytest

    @pytest.mark.sae_family("ravel")
    def test_ravel(ravel, gate, metric):
        pass
    """)
    assert project.run().ret == 1
    assert set(project.verdicts().values()) == {"unmeasured"}
    assert len(project.verdicts()) == 4


def test_an_unknown_family_is_refused_with_the_nearest_name(project: Project) -> None:
    project.tests("""
    import pytest

    @pytest.mark.sae_family("ravle")
    def test_ravel(ravel, gate, metric):
        gate(ravel[metric])
    """)
    result = project.run()
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*@pytest.mark.sae_family: unknown family 'ravle'*'ravel'*"])
