"""`pytest-sae doctor`: what it prints, as JSON too, and its exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_sae.cli import main
from tests.doctor import spoiled as spoil
from tests.doctor.spoiled import spoiled

SUBJECTS = (
    "format", "architecture", "site", "model", "normalisation", "processing", "BOS", "context",
    "dtype", "texts",
)  # fmt: skip


def test_one_screen_says_what_was_understood(
    saes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", f"--sae={saes / 'topk'}", "--device=cpu"]) == 0
    told = capsys.readouterr().out
    lines = {line[:17].strip(): line[17:] for line in told.splitlines()}
    assert set(SUBJECTS) < lines.keys()
    assert lines["format"] == "sae_lens.topk, recognised by its content"
    assert lines["site"] == "blocks.2.hook_resid_post (model.layers.2, output)"
    assert lines["normalisation"] == "normalize_activations = none (its configuration)"
    assert lines["L0"] == "24.0 on a token, 24 declared"
    of_sae, of_components = re.findall(r"(?:^|components )(0\.\d+)", lines["explained"])
    assert float(of_sae) > float(of_components) > 0.5
    assert lines["suspicion"].startswith("none")
    assert len(told.splitlines()) < 24


def test_what_smells_is_told_with_the_line_to_type(
    saes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = spoiled(saes / "topk", tmp_path / "bad", spoil.at("blocks.4.hook_resid_post"))
    assert main(["doctor", f"--sae={bad}", f"--sae={saes / 'topk'}", "--device=cpu"]) == 1
    told = capsys.readouterr().out
    assert "suspicion      wrong layer. As it stands it explains" in told
    assert f"try: --sae=site=blocks.2.hook_resid_post:{bad}" in told
    assert "suspicion      none" in told


def test_programs_read_the_same_as_json(
    saes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = spoiled(saes / "relu", tmp_path / "bad", spoil.mislabelled_bits)
    assert main(["doctor", f"--sae={bad}", "--json", "--device=cpu"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["doctor_version"] == 1
    (sae,) = told["saes"]
    assert [each["cause"] for each in sae["findings"]] == ["wrong dtype"]
    assert sae["measured"]["ev"] < -1000
    assert {"cause", "what", "measured", "line", "advice"} == set(sae["tried"][0])


def test_what_cannot_be_used_is_a_finding_and_no_traceback(
    tmp_path: Path, saes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "lost": spoil.at("blocks.17.hook_resid_post"),
        "unnamed": spoil.on(""),
        "absent": spoil.on(str(tmp_path / "nowhere")),
    }
    arguments = [f"--sae={spoiled(saes / 'topk', tmp_path / n, s)}" for n, s in cases.items()]
    assert main(["doctor", *arguments, "--device=cpu"]) == 1
    lost, unnamed, absent = capsys.readouterr().out.split("\n\n")
    assert "refused. blocks.17.hook_resid_post: LlamaForCausalLM has 5 blocks" in lost
    assert "try: --sae=site=blocks.2.hook_resid_post:" in lost
    assert "does not declare model_name" in unnamed
    assert f"no model at {tmp_path / 'nowhere'}" in absent


def test_a_model_that_is_tried_makes_up_for_one_that_is_absent(
    tmp_path: Path, saes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = spoiled(saes / "topk", tmp_path / "bad", spoil.on(str(tmp_path / "nowhere")))
    world = str(saes.parent / "model")
    assert main(["doctor", f"--sae={bad}", f"--try-model={world}", "--device=cpu"]) == 1
    assert f"try: --sae-model={world}" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["--sae=nowhere", "--data=nowhere.toml"])
def test_wrong_usage_has_a_status_of_its_own(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", wrong]) == 4
    assert "nowhere" in capsys.readouterr().err
