"""Green where nothing was judged: every way to leave something out of a run, and its verdict.

Each row is a run; the harness holds its exit status, report.json, its JUnit file, and what `merge`
and `compare` make of its report to the verdict that stands first in the row.
"""

from __future__ import annotations

import pytest

from tests.plugin.project import Project
from tests.verdicts.cases import Before, Case, held, table
from tests.verdicts.places import CORE, RULES, everywhere, right

#: Of a part that the user chose: what was kept is no whole, and lacks what the good run has.
PART = {"merged": "incomplete", "compared": "incomplete"}
SKIPPED = "import pytest\npytest.{}\n"
L0 = "l0 of a gates by evals/thresholds.toml:2, and was not judged"
VARIANCE = "explained_variance of a gates by evals/thresholds.toml:4, and was not judged"
ONE = CORE.replace(', "explained_variance"', "")
MORE = CORE.replace('"l0", ', "").replace("test_core", "test_more")
BELOW = {
    "evals/below/test_below.py": ONE,
    "evals/below/thresholds.toml": f"version = 1\n{RULES}",
}
TWENTY = """
if family == "core":
    return [Estimate("l0", 32.5), Estimate("explained_variance", 0.91, se=0.01)]
return [Estimate("scr", 0.5, {"n": n}) for n in range(19)]
"""
SCR = """
import pytest

@pytest.mark.sae_metric("scr", n=list(range(19)))
def test_scr(scr, gate, metric):
    gate(scr[metric])
"""
ONLY_WORSE = RULES.replace("min = 20", "regression = { abs = 1.0 }").replace(
    "min = 0.7", "regression = { abs = 0.01 }"
)
BESIDE = RULES.replace("min = 20", 'regression = { abs = 1.0 }\ngate = "baseline"')
LOWER = 'return [Estimate("l0", 25.0), Estimate("explained_variance", 0.91, se=0.01)]'
# Of two: a baseline of one judges a run of one, whatever both are called.
OTHER = Before(sae="other", beside=("another",))


@table(
    no_test_calls_gate=Case(
        "incomplete", L0, tests="def test_core(core): assert core['l0'].estimate.value > 0"
    ),
    no_test_calls_gate_in_two_workers=Case(
        "incomplete",
        L0,
        tests="def test_core(core): assert core['l0'].estimate.value > 0",
        flags=("-n2",),
    ),
    gate_is_called_in_a_teardown=Case(
        "incomplete",
        L0,
        tests="""
        import pytest

        @pytest.fixture
        def late(core, gate):
            yield
            gate(core["l0"])
            gate(core["explained_variance"])

        def test_core(late): pass
        """,
    ),
    a_skip_after_gate_was_called=Case(
        "incomplete",
        "skipped: after all",
        tests=CORE.replace("gate(core[metric])", "gate(core[metric]); pytest.skip('after all')"),
    ),
    a_test_that_never_comes_to_its_gate=Case(
        "incomplete",
        "the test never called gate",
        tests=CORE.replace("gate(core[metric])", "pass"),
    ),
    a_test_that_judges_something_else=Case(
        "incomplete",
        "the test judged explained_variance instead",
        tests=CORE.replace("core[metric]", "core['explained_variance']"),
    ),
    one_of_two_saes_left_out_by_a_keyword=Case(
        "partial", "-k", flags=("-k", "a-",), saes=("a", "b"), **PART
    ),
    one_of_two_saes_left_out_by_a_conftest=Case(
        "incomplete",
        "l0 of b gates by",
        saes=("a", "b"),
        files={
            "evals/conftest.py": """
            def pytest_collection_modifyitems(items):
                items[:] = [item for item in items if "[b-" not in item.nodeid]
            """
        },
    ),
    rules_that_gate_nothing=Case(
        "incomplete",
        "no metric of a was judged",
        rules="".join(
            f"[metrics.{name}]\ngate = false\nreason = 'so'\n"
            for name in ("l0", "explained_variance")
        ),
    ),
    no_rules=Case("incomplete", "no metric of a was judged", rules=""),
    a_test_that_ends_the_run_as_if_all_were_well=Case(
        "incomplete",
        "collected tests left no record",
        tests=CORE.replace("gate(core[metric])", "pytest.exit('done', returncode=0)"),
    ),
    all_that_gates_is_declared_not_to_exist=Case(
        "incomplete",
        "no metric of a was judged",
        measured="return [not_applicable(n, 'by make') for n in ('l0', 'explained_variance')]",
    ),
)  # fmt: skip
def test_an_sae_that_nothing_judges(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


BASELINE = {
    "2_of_21_values_in_ci": Case(
        "incomplete",
        "19 values of a in kept/a.json were not measured: scr:n=0, scr:n=1, scr:n=2, ...",
        before=Before(files={"evals/test_scr.py": SCR}, measured=TWENTY),
        variables={"CI": "true"},
    ),
    "2_of_21_values_at_a_desk": Case(
        "incomplete",
        "19 values of a in kept/a.json were not measured",
        before=Before(files={"evals/test_scr.py": SCR}, measured=TWENTY),
    ),
    "a_file_of_tests_that_is_gone": Case(
        "incomplete",
        "1 value of a in kept/a.json was not measured: explained_variance",
        tests=ONE,
        rules="[metrics.l0]\nmin = 20\n",
        before=Before(tests=ONE, files={"evals/test_more.py": MORE}),
    ),
}


GONE = """
if family == "core":
    return [Estimate("l0", 32.5), Estimate("explained_variance", 0.91, se=0.01)]
return [{}("scr", "no such extra", {{"n": n}}) for n in range(19)]
"""
ABSENT = {
    f"values_that_are_{how}_now": Case(
        "incomplete",
        "19 values of a in kept/a.json were not measured",
        tests=CORE + SCR,
        measured=GONE.format(how),
        before=Before(tests=CORE + SCR, measured=TWENTY),
    )
    for how in ("not_applicable", "no_data", "unable")
}


@table(**BASELINE, **ABSENT)
def test_values_of_a_baseline_that_are_not_measured(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


@table(
    a_metric=Case("incomplete", VARIANCE, tests=ONE),
    a_metric_where_pytest_is_called_from_above=Case(
        "incomplete", VARIANCE, tests=ONE, flags=(".",)
    ),
    a_metric_of_bounds_further_below=Case(
        "incomplete",
        "explained_variance of a gates by evals/below/thresholds.toml:4, and was not judged",
        tests=ONE,
        rules="[metrics.l0]\nmin = 20\n",
        files=BELOW,
    ),
    a_metric_of_bounds_further_below_in_two_workers=Case(
        "incomplete",
        "explained_variance of a gates by evals/below/thresholds.toml:4, and was not judged",
        tests=ONE,
        rules="[metrics.l0]\nmin = 20\n",
        files=BELOW,
        flags=("-n2",),
    ),
    a_setting_that_no_test_measures=Case(
        "incomplete",
        "tpp:n=999 of a gates by evals/thresholds.toml:6, and was not judged",
        rules=f'{RULES}[metrics."tpp:n=999"]\nmin = 0.9\n',
    ),
    a_setting_beside_others_that_are_measured=Case(
        "incomplete",
        "scr:n=999 of a gates by evals/thresholds.toml:6, and was not judged",
        rules=f'{RULES}[metrics."scr:n=999"]\nmin = 0.9\n',
        files={"evals/test_scr.py": SCR},
        measured=TWENTY,
    ),
    an_override_of_what_is_not_measured=Case(
        "incomplete",
        "ce_recovered of a gates by evals/thresholds.toml:6, and was not judged",
        rules=f"""{RULES}[[override]]
sae = "a"
metric = "ce_recovered"
min = 0.5
reason = "so"
expires = 2100-01-01
""",
    ),
)
def test_a_rule_that_matches_nothing_that_was_measured(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


@table(
    importorskip=Case(
        "incomplete",
        "could not import 'no_such_dependency'",
        tests=ONE,
        files={"evals/test_more.py": SKIPPED.format("importorskip('no_such_dependency')") + MORE},
    ),
    a_skip_of_the_module=Case(
        "incomplete",
        "no time",
        tests=ONE,
        files={
            "evals/test_more.py": SKIPPED.format("skip('no time', allow_module_level=True)") + MORE
        },
    ),
    an_error=Case(
        "incomplete",
        "evals/test_more.py could not be collected: ",
        tests=ONE,
        files={"evals/test_more.py": f"import no_such_dependency\n{MORE}"},
        flags=("--continue-on-collection-errors",),
    ),
    an_error_in_a_file_without_rules=Case(
        "incomplete",
        "evals/test_plain.py could not be collected: ",
        files={"evals/test_plain.py": "import no_such_dependency"},
        flags=("--continue-on-collection-errors",),
    ),
    a_file_that_a_conftest_ignores=Case(
        "incomplete",
        VARIANCE,
        tests=ONE,
        files={
            "evals/test_more.py": MORE,
            "evals/conftest.py": "collect_ignore = ['test_more.py']",
        },
    ),
)  # fmt: skip
def test_a_module_that_is_not_collected(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


def in_ci(name: str) -> Case:
    return Case("fail", L0, rules=ONLY_WORSE, before=OTHER, variables={name: "1"})


@table(
    a_baseline_of_other_saes=Case("incomplete", L0, rules=ONLY_WORSE, before=OTHER),
    no_baseline=Case("incomplete", L0, rules=ONLY_WORSE),
    on_jenkins=in_ci("BUILD_NUMBER"),
    on_azure=in_ci("TF_BUILD"),
    on_teamcity=in_ci("TEAMCITY_VERSION"),
)
def test_rules_about_regressions_alone(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


@table(
    no_baseline=Case("pass", rules=BESIDE),
    no_baseline_in_ci=Case("pass", rules=BESIDE, variables={"CI": "1"}),
    a_baseline_with_the_same_value=Case("pass", rules=BESIDE, before=Before(rules=BESIDE)),
    what_the_baseline_has_and_no_test_asks_for=Case(
        "incomplete",
        "1 value of a in kept/a.json was not measured: l0",
        tests=CORE.replace('"l0", ', ""),
        rules=BESIDE,
        before=Before(rules=BESIDE),
        compared="incomplete",
    ),
    a_value_that_is_worse=Case(
        "fail",
        "25.0000 regressed from 32.5000",
        rules=BESIDE,
        measured=LOWER,
        before=Before(rules=BESIDE),
    ),
)
def test_rules_that_decide_beside_a_baseline_alone(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


MARKED = CORE.replace("@pytest", "@pytest.mark.slow\n@pytest", 1)
INI = "[pytest]\naddopts = -p no:cacheprovider\nmarkers = slow\npythonpath = .\n"


@table(
    by_a_keyword=Case("partial", "-k", flags=("-k", "l0"), **PART),
    by_a_mark=Case(
        "partial",
        "-m",
        tests=ONE,
        files={
            "pytest.ini": INI,
            "evals/test_more.py": MORE.replace("@pytest", "@pytest.mark.slow\n@pytest", 1),
        },
        flags=("-m", "not slow"),
        **PART,
    ),
    by_deselecting=Case(
        "partial",
        "--deselect",
        flags=("--deselect=evals/test_evals.py::test_core[a-l0]",),
        **PART,
    ),
    by_ignoring_a_file=Case(
        "partial",
        "--ignore",
        tests=ONE,
        files={"evals/test_more.py": MORE},
        flags=("--ignore=evals/test_more.py",),
        **PART,
    ),
    by_an_id=Case(
        "partial",
        "evals/test_evals.py::test_core[a-l0]",
        flags=("evals/test_evals.py::test_core[a-l0]",),
        **PART,
    ),
    by_a_file=Case(
        "partial",
        "evals/test_evals.py",
        tests=ONE,
        files={"evals/test_more.py": MORE},
        flags=("evals/test_evals.py",),
        **PART,
    ),
    by_a_shard=Case(
        "pass", flags=("--sae-shard=1/2",), saes=("a", "b"), merged="incomplete",
        compared="incomplete",
    ),
    that_leaves_nothing_out=Case("pass", flags=("-k", "core")),
)  # fmt: skip
def test_a_part_that_the_user_chose(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


def test_the_last_failures_alone_are_a_part(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\npythonpath = .\n")
    project.tests(CORE)
    project.thresholds(RULES.replace("min = 20", "min = 200"))
    assert project.run().ret == 1
    project.thresholds(RULES)
    _, places = everywhere(project, "--lf")
    right(places, "partial", "--lf", **PART)


@pytest.mark.parametrize(("flag", "status"), [("--sae-ci", 1), ("--sae-partial", 0)])
def test_a_part_is_red_in_ci_unless_it_was_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch, flag: str, status: int
) -> None:
    project.tests(CORE)
    project.thresholds(RULES)
    monkeypatch.setenv("CI", "true")
    _, places = everywhere(project, "-k", "l0", flag)
    for place in (places.run, places.junit):
        assert (place.status, place.verdict, place.complete) == (status, "partial", False), place
    assert ("1 of 2 gated values judged (-k)" in places.junit.text) == bool(status)
    for place in (places.merged, places.compared):
        assert (place.status, place.verdict) == (1, "incomplete"), place


DIES = CORE.replace("gate(core", "import os\n    os._exit(1) if metric == 'l0' else gate(core")
FAILS = "return [Estimate('l0', 2.5), Estimate('explained_variance', 0.91)]"


@table(
    a_worker_dies=Case(
        "incomplete",
        "while running",
        tests=DIES,
        flags=("-n1",),
        apart=True,
    ),
    a_worker_dies_where_groups_are_kept_together=Case(
        "incomplete",
        "while running",
        tests=DIES,
        flags=("-n2", "--dist=loadgroup"),
        apart=True,
    ),
    the_first_failure_ends_it=Case(
        "fail", "not run: the run was stopped early", measured=FAILS, flags=("-x",)
    ),
    half_a_character_in_a_reason=Case(
        "incomplete",
        r"half \ud800 of a pair",
        measured="return [undefined('l0', 'half \\ud800 of a pair'), "
        "Estimate('explained_variance', 0.91, se=0.01)]",
    ),
    a_name_that_is_not_utf_8=Case("pass", saes=("a", "b\udcff")),
)
def test_what_happens_on_the_way(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)
