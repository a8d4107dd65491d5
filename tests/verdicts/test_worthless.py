"""Dictionaries that are worth nothing are red by the shipped rules, whatever one figure says.

The table holds figures that were measured (docs/foreign.md, and the bundled world below) to the
shipped rules, without a model; the last test measures them on the bundled world.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugin.project import Project
from tests.suite.running import SAES, suite
from tests.verdicts.cases import Case, held, table
from tests.verdicts.places import CORE, command, junit
from tests.verdicts.test_values import shipped
from tests.whole import whole_report

SHIPPED = shipped("explained_variance") + shipped("ce_recovered")


def figures(
    variance: float, recovered: float, tied: tuple[float, float], pca: tuple[float, float]
) -> dict[str, object]:
    """What was measured of a dictionary and, on the same texts, of tied random weights and PCA."""
    both = ("explained_variance", variance, 0), ("ce_recovered", recovered, 1)
    return {
        "tests": CORE.replace('"l0"', '"l0", "ce_recovered"'),
        "rules": SHIPPED,
        "measured": "return [Estimate('l0', 32.5), "
        + ", ".join(f"Estimate('{name}', {value}, se=0.002)" for name, value, _ in both)
        + "]",
        "controls": {
            name: {
                "random": ("below", -1.5),
                "permuted_decoder": ("below", -1.5),
                "random_tied": ("reference", tied[place]),
                "pca": ("reference", pca[place]),
            }
            for name, _, place in both
        },
        "flags": ("--sae-controls=all",),
    }


BUNDLED = {"tied": (-0.874, 0.845), "pca": (0.825, 0.987)}
GPT2 = {"tied": (-1.036, 0.9325), "pca": (0.9775, 0.9958)}
NEOX = {"tied": (-0.3979, 0.9029), "pca": (0.9689, 0.9926)}
STORIES = {"tied": (-0.3034, 0.5174), "pca": (0.7707, 0.8695)}


@table(
    a_trained_one=Case("pass", **figures(0.916, 0.9926, **BUNDLED)),
    tied_random_weights=Case("fail", "0.8987 <", **figures(-0.2015, 0.8987, **BUNDLED)),
    untied_random_weights=Case("fail", "-0.0315 <", **figures(-1.2618, -0.0315, **BUNDLED)),
    a_permuted_decoder=Case("fail", "-0.0025 <", **figures(-0.4277, -0.0025, **BUNDLED)),
    tied_on_a_gpt2=Case("fail", "0.9325 <", **figures(-1.036, 0.9325, **GPT2)),
    tied_on_a_neox=Case("fail", "0.9029 <", **figures(-0.3979, 0.9029, **NEOX)),
    tied_on_a_llama_of_stories=Case("fail", "0.5174 <", **figures(-0.3034, 0.5174, **STORIES)),
    tied_where_its_loss_is_that_of_a_trained_one=Case(
        "fail", "0.9840 <", **figures(-0.9, 0.984, tied=(-0.9, 0.984), pca=(0.97, 0.995))
    ),
    an_sae_of_another_model=Case("fail", "0.7205 <", **figures(0.03158, 0.7205, **GPT2)),
    one_percent_of_training=Case("fail", "0.4005 <", **figures(0.01593, 0.4005, **GPT2)),
    two_percent_of_training=Case("fail", "0.4741 <", **figures(0.06935, 0.4741, **GPT2)),
)
def test_by_the_figures_of_worthless_dictionaries(
    case: Case, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(case, project, monkeypatch)


def test_a_figure_by_which_tied_random_weights_are_as_good_gates_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = CORE.replace('"l0", "explained_variance"', '"tpp.rescaled", n="few"')
    case = Case(
        "incomplete",
        "no metric of a was judged",
        tests=alone.replace("core", "tpp"),
        rules=shipped("tpp.rescaled"),
        measured="return [Estimate('tpp.rescaled', 0.169, {'n': 'few'}, se=0.01)]",
    )
    held(case, project, monkeypatch)


def worthless(directory: Path) -> None:
    """Random weights of the bundled SAE's shape, tied and not, and its own decoder permuted."""
    import torch
    from safetensors.torch import load_file, save_file

    good = load_file(SAES / "topk/sae_weights.safetensors")
    draw = torch.Generator().manual_seed(7)
    rows, other = (torch.randn(good["W_dec"].shape, generator=draw) for _ in range(2))
    rows, other = (each / each.norm(dim=1, keepdim=True) for each in (rows, other))
    random = {**good, "W_dec": rows, "b_enc": torch.zeros_like(good["b_enc"])}
    order = torch.randperm(len(rows), generator=draw)
    made = {
        "tied": {**random, "W_enc": rows.T},
        "untied": {**random, "W_enc": other.T},
        "permuted": {**good, "W_dec": good["W_dec"][order]},
    }
    for name, tensors in made.items():
        (directory / name).mkdir()
        shutil.copy(SAES / "topk/cfg.json", directory / name)
        whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(whole, directory / name / "sae_weights.safetensors")


@pytest.mark.whole
def test_on_the_bundled_world_worthless_dictionaries_are_red_and_a_trained_one_is_not(
    tmp_path: Path,
) -> None:
    """Figures that gate and need no task: the bundled suite's others have tests of their own."""
    worthless(tmp_path)
    file = tmp_path / "junit.xml"
    bounds = tmp_path / "bounds.toml"
    bounds.write_text(f"version = 1\n{SHIPPED}{shipped('cosine')}")
    flags = ["-k", "reconstruction", "--sae-suite=smoke", f"--sae-cache={tmp_path / 'cache'}"]
    saes = (f"--sae={tmp_path}/*ed", f"--sae={SAES / 'topk'}")
    run = suite(tmp_path, *saes, *flags, f"--sae-thresholds={bounds}", f"--junitxml={file}")
    assert (run.code, run.report["verdict"]) == (1, "fail")
    assert (junit(file).status, junit(file).verdict) == (1, "fail")
    report = tmp_path / "report"
    merged = command("merge", str(report), f"--output={tmp_path / 'merged'}")
    compared = command("compare", str(report), str(report), f"--output={tmp_path / 'compared'}")
    for place in (merged, compared):
        assert (place.status, place.verdict) == (1, "fail")
    for rows in (run.report, whole_report(tmp_path / "merged/report.json")):
        red = {row["sae"] for row in rows["measurements"] if row["verdict"] == "fail"}
        assert red == {"tied", "untied", "permuted"}
