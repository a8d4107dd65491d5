"""Values that no bound should believe, and good ones that no rule should make red.

As in the other tables each row is a run, and the verdict that is right in all five places.
"""

from __future__ import annotations

import json

import pytest

from pytest_sae.run.run import shipped_thresholds
from tests.plugin.project import Project
from tests.verdicts.cases import Before, Case, held, table
from tests.verdicts.places import CORE, RULES, main

GOOD = 'Estimate("explained_variance", 0.91, se=0.01), Estimate("l0", 32.5)'


def shipped(name: str) -> str:
    """The rule of a metric as the shipped file has it."""
    text = shipped_thresholds().read_text()
    head = f"[metrics.{name}]\n" if "." not in name else f'[metrics."{name}"]\n'
    return head + text.partition(head)[2].partition("\n\n")[0] + "\n"


def judged(family: str, metric: str, **params: object) -> str:
    """Tests of a further metric beside those of `CORE`."""
    setting = "".join(f", {name}={value!r}" for name, value in params.items())
    more = CORE.replace("core", family)
    return CORE + more.replace('"l0", "explained_variance"', f'"{metric}"{setting}')


def measured(estimate: str, good: str = GOOD) -> str:
    """`measure`, with one estimate of another family beside the good ones of `core`."""
    return f'return [{good}] if family == "core" else [{estimate}]'


def beside(rules: str, estimate: str, family: str, metric: str, **params: object) -> dict[str, str]:
    """Tests, rules and measurements of one more metric."""
    return {
        "tests": judged(family, metric, **params),
        "rules": RULES + rules,
        "measured": measured(estimate),
    }


def l0(value: str) -> str:
    return f'return [Estimate("explained_variance", 0.91, se=0.01), Estimate("l0", {value})]'


@table(
    nan=Case("incomplete", "value is nan", measured=l0("float('nan')")),
    infinite=Case("incomplete", "value is inf", measured=l0("float('inf')")),
    none=Case("incomplete", "no value", measured=l0("None")),
    text=Case("incomplete", "value is str", measured=l0("'high'")),
    outside_its_range=Case(
        "incomplete",
        "a defect of the metric: -3.0000 is outside its range",
        rules=RULES.replace("min = 20", "max = 120"),
        measured=l0("-3.0"),
    ),
    error_nan=Case(
        "incomplete",
        "se is nan. Expected a finite number",
        measured=l0("32.5, se=float('nan')"),
    ),
    error_infinite=Case(
        "incomplete",
        "se is inf. Expected a finite number",
        measured=l0("32.5, se=float('inf')"),
    ),
    error_negative=Case(
        "incomplete",
        "a defect of the metric: its standard error is -1.0",
        measured=l0("32.5, se=-1.0"),
    ),
    error_text=Case("incomplete", "se is 'small'", measured=l0("32.5, se='small'")),
    number_of_texts_a_fraction=Case("incomplete", "n.t is 1.5", measured=l0("32.5, n={'t': 1.5}")),
    status_unknown=Case("incomplete", "status is 'OK'", measured=l0("32.5, status='OK'")),
    reason_none=Case("incomplete", "reason is None", measured=l0("32.5, reason=None")),
    three_ends=Case("incomplete", "ci", measured=l0("32.5, ci=(1, 2, 3)")),
    an_end_nan=Case("incomplete", "ci is", measured=l0("32.5, ci=(float('nan'), 40.0)")),
    an_end_infinite=Case("incomplete", "ci is", measured=l0("32.5, ci=(30.0, float('inf'))")),
    seeds_a_fraction=Case("incomplete", "seeds is 1.5", measured=l0("32.5, seeds=1.5")),
    influence_nan=Case("incomplete", "influence", measured=l0("32.5, influence=[float('nan')]")),
)
def test_an_estimate_that_is_none(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("[metrics.explained_variance]\nmax = 1.0\n", "max 1"),
        ("[metrics.explained_variance]\nmin = -1e300\n", "forbids"),
        ("[metrics.explained_variance]\nregression = { sigma = 1e9 }\n", "forbids"),
        ("[metrics.no_such_metric]\nmin = 0.5\n", "no_such_metric"),
    ],
    ids=["max alone", "min far below all", "many standard errors", "no metric"],
)
def test_a_bound_that_forbids_nothing_is_refused_before_anything_is_measured(
    project: Project, capsys: pytest.CaptureFixture[str], rule: str, told: str
) -> None:
    """Of the five places there is one: nothing was run, so no file says anything."""
    assert project.run("--junitxml=junit.xml").ret == 0
    project.thresholds(rule)
    result = project.run("--junitxml=junit.xml", "--sae-report=none")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "evals/thresholds.toml:" in result.stderr.str()
    assert told in result.stderr.str()
    assert not (project.path / "none").exists()
    assert main(["merge", "none", "--output=merged"]) == 2
    assert main(["compare", "sae-report", "none"]) == 2


KEPT = {"before": Before(measured=f"return [{GOOD}]"), "flags": ("--sae-baseline-update",)}
WORSE = 'return [Estimate("explained_variance", 0.75, se=0.01), Estimate("l0", 32.5)]'
REFUSED = "the baseline was not updated: in CI worse values are accepted only if"


@table(
    at_a_desk=Case(
        "pass",
        "accepted as worse: explained_variance 0.7500 regressed from 0.9100",
        measured=WORSE,
        compared="fail",
        **KEPT,
    ),
    in_ci=Case(
        "incomplete",
        REFUSED,
        measured=WORSE,
        variables={"TF_BUILD": "True"},
        compared="fail",
        **KEPT,
    ),
    in_ci_where_it_is_accepted=Case(
        "pass",
        "accepted as worse: explained_variance 0.7500 regressed from 0.9100",
        measured=WORSE,
        variables={"TF_BUILD": "True"},
        before=KEPT["before"],
        flags=("--sae-baseline-update", "--sae-accept-regressions"),
        compared="fail",
    ),
    of_a_part=Case(
        "incomplete",
        "the baseline was not updated: only a part was run (-k)",
        measured=f"return [{GOOD}]",
        before=KEPT["before"],
        flags=("--sae-baseline-update", "-k", "l0"),
    ),
)
def test_an_update_of_the_baseline(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)
    kept = json.loads((project.path / "kept/a.json").read_text())["values"]
    values = {each["metric"]: each["value"] for each in kept}
    assert values["explained_variance"] == (0.75 if case.right == "pass" else 0.91)


PROBES = "sparse_probing.last_token.auc"
ABSENT = "the extra probes is not installed: pip install 'pytest-sae[probes]'"
NO_PROBES = {
    "tests": judged("last_token_probing", PROBES, k=[1, 2, 5, 10, 16]),
    "measured": measured(
        f'not_applicable("{PROBES}", {ABSENT!r}, {{"k": k}}) for k in (1, 2, 5, 10, 16)'
    ),
}
NO_JUDGE = {
    "tests": judged("shift", "shift.margin", n=20)
    + judged("judge_calibration", "judge_calibration.score").removeprefix(CORE),
    "rules": f'{RULES}[metrics."shift.margin"]\nmin = 0.05\n',
    "measured": f"""
if family == "core":
    return [{GOOD}]
name = "judge_calibration.score" if family == "judge_calibration" else "shift.margin"
return [not_applicable(name, "no judge: name one", {{"n": 20}} if family == "shift" else {{}})]
""",
}  # fmt: skip


@table(
    an_extra=Case("pass", ABSENT, **NO_PROBES),
    an_extra_that_is_required=Case(
        "incomplete",
        f"last_token_probing of a is required (--sae-require), and was not measured: "
        f"not applicable: {ABSENT}",
        flags=("--sae-require=probes",),
        **NO_PROBES,
    ),
    a_judge=Case("pass", "no judge: name one", **NO_JUDGE),
    a_judge_that_is_required=Case(
        "incomplete",
        "shift of a is required (--sae-require), and was not measured",
        flags=("--sae-require=judge",),
        **NO_JUDGE,
    ),
)
def test_what_is_absent(case: Case, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    held(case, project, monkeypatch)


def recorded(family: str, metric: str, value: str) -> Case:
    return Case(
        "pass", "no rule in", **beside("", f'Estimate("{metric}", {value})', family, metric)
    )


def without_a_value(family: str, metric: str) -> Case:
    estimate = f'undefined("{metric}", "no letter is split")'
    return Case("pass", "no letter is split", **beside("", estimate, family, metric))


@table(
    split_latents=recorded("absorption", "absorption.split_latents", "1.5"),
    split_latents_undefined=without_a_value("absorption", "absorption.split_latents"),
    f1_nan=recorded("principled", "principled.f1", "float('nan')"),
    f1_undefined=without_a_value("principled", "principled.f1"),
)
def test_a_metric_without_a_rule_is_never_red(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


CANNOT = 'unable("ravel", "3 of 60 prompts (5 %) are answered rightly")'
OF_THE_MODEL = "the model cannot do this task: 3 of 60 prompts (5 %) are answered rightly"
NO_GAP = 'no_data("scr", "the clean and the confounded probe have no gap", {"n": 20})'
F1 = '[metrics."principled.f1"]\ngate = false\nreason = "so"\n'


@table(
    f1_is_nan_and_does_not_gate=Case(
        "pass",
        "value is nan",
        **beside(F1, 'Estimate("principled.f1", float("nan"))', "principled", "principled.f1"),
    ),
    what_the_model_cannot_do=Case(
        "pass", OF_THE_MODEL, **beside("[metrics.ravel]\nmin = 0.1\n", CANNOT, "ravel", "ravel")
    ),
    what_the_model_cannot_do_and_has_to=Case(
        "incomplete",
        OF_THE_MODEL,
        **beside("[metrics.ravel]\nmin = 0.1\noptional = false\n", CANNOT, "ravel", "ravel"),
    ),
    no_gap_to_remove=Case(
        "pass",
        "have no gap",
        **beside("[metrics.scr]\nmin = 0.1\noptional = true\n", NO_GAP, "scr", "scr", n=20),
    ),
    a_figure_in_the_noise=Case(
        "incomplete",
        "but not surely",
        **beside(
            "[metrics.scr]\nmin = -0.5\n",
            'Estimate("scr", -0.31, {"n": 20}, se=0.51, n={"texts": 40})',
            "scr",
            "scr",
            n=20,
        ),
    ),
    a_trained_one_in_few_texts=Case(
        "pass",
        **beside(
            "[metrics.ravel]\nmin = 0.1\nmax_se = '25 %'\n",
            'Estimate("ravel", 0.235, se=0.038, n={"texts": 40})',
            "ravel",
            "ravel",
        ),
    ),
    an_untrained_one_in_few_texts=Case(
        "fail",
        "0.0200 < min 0.1000",
        **beside(
            "[metrics.ravel]\nmin = 0.1\nmax_se = '25 %'\n",
            'Estimate("ravel", 0.02, se=0.01996, n={"texts": 40})',
            "ravel",
            "ravel",
        ),
    ),
    near_a_bound=Case(
        "incomplete",
        "times as many texts or seeds would tell",
        **beside(
            "[metrics.ravel]\nmin = 0.1\n",
            'Estimate("ravel", 0.054, se=0.038, n={"texts": 40})',
            "ravel",
            "ravel",
        ),
    ),
    near_a_bound_of_the_shipped_rules=Case(
        "pass",
        'let pass by undecided = "pass"',
        **beside(
            shipped("autointerp.failed"),
            'Estimate("autointerp.failed", 0.12, se=0.02, n={"answers": 40})',
            "autointerp",
            "autointerp.failed",
        ),
    ),
    a_task_that_cannot_be_used=Case(
        "incomplete",
        "scr was measured without hair, which was left out: 4 texts of a cell, 10 are needed",
        **beside(
            "[metrics.scr]\nmin = 0.1\n",
            'Estimate("scr", 0.5, {"n": 20}, se=0.01, details={"unusable_tasks": '
            '{"hair": "4 texts of a cell, 10 are needed"}})',
            "scr",
            "scr",
            n=20,
        ),
    ),
    few_latents_that_have_to_be_dense=Case(
        "pass",
        tests=CORE.replace('"l0"', '"l0", "dense_share_10pct"'),
        rules=RULES + shipped("dense_share_10pct"),
        measured=f'return [{GOOD}, Estimate("dense_share_10pct", 0.38, se=0.01)]',
        controls={"dense_share_10pct": {"random": ("reference", 0.36)}},
    ),
    latents_that_are_dense_without_need=Case(
        "fail",
        "dense_share_10pct",
        tests=CORE.replace('"l0"', '"l0", "dense_share_10pct"'),
        rules=RULES + shipped("dense_share_10pct"),
        measured=f'return [{GOOD}, Estimate("dense_share_10pct", 0.7, se=0.01)]',
        controls={"dense_share_10pct": {"random": ("reference", 0.36)}},
    ),
    another_seed_of_the_recipe=Case(
        "pass",
        **beside(
            shipped("tpp.rescaled"),
            'Estimate("tpp.rescaled", 0.2259, {"n": "few"}, se=0.005)',
            "tpp",
            "tpp.rescaled",
            n="few",
        ),
        before=Before(
            tests=judged("tpp", "tpp.rescaled", n="few"),
            measured=measured('Estimate("tpp.rescaled", 0.2625, {"n": "few"}, se=0.005)'),
        ),
    ),
)
def test_what_is_red_only_for_the_sae(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)
