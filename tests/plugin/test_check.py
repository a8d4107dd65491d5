"""`pytest-sae check`: all that a run would use is looked at, and nothing is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_sae import bundled_world
from pytest_sae.cli import main
from tests.dictionaries.hub.hub_cache_files import cache, files_in
from tests.labelled import labelled_data
from tests.tiny import tiny_sae

BASELINE = '{"baseline_version": 1, "saes": {}, "made": {}, "values": []}'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_dir: Path) -> Path:
    """A directory with an SAE, texts, bounds and a baseline, each of them usable."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").symlink_to(model_dir)
    tiny_sae(tmp_path / "good")
    labelled_data(tmp_path)
    (tmp_path / "bounds.toml").write_text("version = 1\n[metrics.l0]\nmax = 50\n")
    (tmp_path / "kept.json").write_text(BASELINE)
    return tmp_path


GOOD = ["--sae=good", "--thresholds=bounds.toml", "--data=tasks.toml", "--baseline=kept.json"]
Told = Callable[..., list[str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The lines that begin with a word, of the command with these arguments."""

    def lines(*arguments: str, beginning: str = "bad", status: int = 1) -> list[str]:
        assert main(["check", "--suite=smoke", *arguments]) == status
        found = capsys.readouterr().out.splitlines()
        return [line for line in found if line.startswith(beginning)]

    return lines


def test_what_a_run_will_cost_is_told_stage_by_stage(here: Path, told: Told) -> None:
    lines = told(*GOOD, "--estimate", beginning="     ", status=0)
    assert lines[0].split() == ["stage", "seconds", "memory", "disk"]
    stages = [line[:20].strip() for line in lines[1:]]
    assert stages[:4] == ["load", "model", "encode", "core"]
    assert stages[-1] == "in all"
    (whole,) = told(*GOOD, "--estimate", beginning="ok   estimate", status=0)
    assert "for 1 SAE one after the other" in whole


def test_what_is_good_is_said_to_be(here: Path, told: Told) -> None:
    assert told(*GOOD, beginning="ok", status=0) == [
        "ok   thresholds bounds.toml: 1 rule, of which 1 gate",
        "ok   baseline kept.json: 0 values of 0 SAEs",
        "ok   data tasks.toml: 60 held-out texts of the 200 that smoke takes, 1 SCR and 1 TPP "
        "tasks",
        "ok   SAE good: sae_lens.topk, 96 latents of 32 inputs, blocks.1.hook_resid_post of tiny",
        "ok   model tiny of good: LlamaForCausalLM of 3 blocks, has blocks.1.hook_resid_post "
        "(output)",
    ]


def test_the_bundled_world_is_good(told: Told) -> None:
    lines = told(beginning="ok", status=0)
    assert len(lines) == 4
    assert "SAE topk: sae_lens.topk, 1024 latents of 128 inputs" in lines[2]


def test_a_hook_that_no_such_model_has_is_bad(here: Path, told: Told) -> None:
    tiny_sae(here / "deep", hook="blocks.7.hook_resid_post")
    tiny_sae(here / "odd", hook="blocks.1.hook_resid_poost")
    tiny_sae(here / "wide", d_in=48)
    deep, odd, wide = told(*GOOD, "--sae=deep", "--sae=odd", "--sae=wide")
    assert "LlamaForCausalLM has 3 blocks, 0 to 2" in deep
    assert "no module of LlamaForCausalLM emits hook_resid_poost" in odd
    assert "is 32 wide there, and the SAE has d_in 48" in wide


def test_a_model_that_is_not_cached_is_bad(here: Path, told: Told, home: Path) -> None:
    tiny_sae(here / "absent", model="lab/absent")
    tiny_sae(here / "revision", model="lab/tiny@step9")
    files = files_in(here / "tiny")
    cache(home, "lab/tiny", files)
    del files["model.safetensors"]
    cache(home, "lab/weightless", files)
    tiny_sae(here / "weightless", model="lab/weightless")
    (here / "bounds.toml").rename(here / "kept.toml")
    bounds = "--thresholds=kept.toml"
    saes = [f"--sae={here / name}" for name in ("absent", "revision", "weightless")]
    absent, revision, weightless = told(bounds, f"--data={here / 'tasks.toml'}", *saes)
    assert "hf download lab/absent" in absent
    assert "hf download lab/tiny --revision step9" in revision
    assert "weights of model lab/weightless" in weightless
    assert "HF_HUB_OFFLINE is set" in weightless


def test_the_model_of_the_command_line_counts(here: Path, told: Told) -> None:
    tiny_sae(here / "absent", model="lab/absent")
    assert told("--sae=absent", *GOOD[1:], "--model=tiny", status=0) == []


def test_a_rule_without_its_table_is_bad_unless_it_is_optional(here: Path, told: Told) -> None:
    bounds = "[metrics.{}]\nmin = 0.1\n"
    needs = [bounds.format(name) for name in ("ravel", '"tpp.rescaled"', "explained_variance")]
    (here / "bounds.toml").write_text("version = 1\n" + "".join(needs))
    (ravel,) = told(*GOOD)
    assert ravel == (
        "bad  rule ravel (bounds.toml:2): tasks.toml has no [[ravel]] table. Expected one, or "
        "optional = true in the rule, or gate = false with a reason"
    )
    (here / "bounds.toml").write_text("version = 1\n[metrics.ravel]\nmin = 0.1\noptional = true\n")
    (note,) = (line for line in told(*GOOD, beginning="note", status=0) if "ravel" in line)
    assert "not judged: tasks.toml has no [[ravel]] table" in note


def test_held_out_texts_that_a_rule_needs_are_missed(here: Path, told: Told) -> None:
    tasks = (here / "tasks.toml").read_text()
    (here / "tasks.toml").write_text(
        tasks.replace('[corpus]\nfile = "corpus.jsonl"\ntext = "text"', "")
    )
    (line,) = told(*GOOD)
    assert "rule l0 (bounds.toml:2): tasks.toml has no [corpus] table" in line


def test_every_task_with_too_few_texts_is_named(here: Path, told: Told) -> None:
    rows = [json.loads(line) for line in (here / "test.jsonl").read_text().splitlines()]
    bakers = [row for row in rows if row["job"] == "baker"]
    kept = [row for row in rows if row["job"] != "baker"] + bakers[:4]
    (here / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    scr, tpp = told(*GOOD)
    assert "[[scr]] baker_judge" in scr
    assert "[[tpp]] jobs" in tpp
    for line in (scr, tpp):
        assert "4 usable texts with job=baker" in line
        assert "Expected at least 10" in line


@pytest.mark.parametrize(("gates", "beginning"), [(True, "bad"), (False, "note")])
def test_letters_that_a_vocabulary_lacks_are_counted(
    here: Path, told: Told, gates: bool, beginning: str
) -> None:
    rule = "version = 1\n[metrics.absorption]\nmax = 0.5\n"
    recorded = "" if gates else 'gate = false\nreason = "shown"\n'
    (here / "bounds.toml").write_text(rule + recorded)
    lines = told(*GOOD, beginning=beginning, status=1 if gates else 0)
    (line,) = (line for line in lines if "absorption" in line)
    assert "0 letters begin" in line
    assert "Expected 20 or more" in line


def test_the_key_of_a_judge_is_looked_for(
    here: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (line,) = told(*GOOD, "--judge=openai/gpt-4o-mini")
    assert line.startswith("bad  judge openai/gpt-4o-mini: OPENAI_API_KEY not set.")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    (line,) = told(*GOOD, "--judge=openai/gpt-4o-mini", beginning="ok   judge", status=0)
    assert "sk-of-a-test" not in line
    monkeypatch.delenv("OPENAI_API_KEY")
    own = "--judge-api-base=http://localhost:8000/v1"
    assert told(*GOOD, "--judge=openai/mine", own, status=0) == []


def test_what_nobody_judges_is_said(here: Path, told: Told) -> None:
    lines = told(*GOOD, beginning="note judge", status=0)
    assert len(lines) == 1
    assert "figures of shift, autointerp, judge_calibration" in lines[0]


def test_what_an_absent_extra_leaves_out_is_said(
    here: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = "sae_probes not installed: pip install 'pytest-sae[probes]'"
    monkeypatch.setattr("pytest_sae.data.sae_probes.missing", lambda: lacking)
    lines = told(*GOOD, beginning="note extra probes", status=0)
    assert lines == [
        f"note extra probes: 33 figures of last_token_probing are not measured: {lacking}"
    ]
    monkeypatch.setattr("pytest_sae.data.sae_probes.missing", lambda: None)
    assert told(*GOOD, beginning="note extra probes", status=0) == []


def test_all_that_is_bad_is_said_at_once(
    here: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (here / "bounds.toml").write_text("version = 1\n[metrics.l0]\nmaks = 50\n")
    (here / "kept.json").write_text("{}")
    (here / "corpus.jsonl").unlink()
    (here / "good" / "sae_weights.safetensors").write_bytes(b"no weights")
    tiny_sae(here / "deep", hook="blocks.7.hook_resid_post")
    for line, says in zip(
        told(*GOOD, "--sae=deep", "--sae=nowhere", "--judge=openai/gpt-4o-mini"),
        (
            "bounds.toml:3: unknown key 'maks'",
            "is no baseline",
            "corpus.jsonl",
            "OPENAI_API_KEY",
            "SAE good",
            "has 3 blocks, 0 to 2",
            "SAE nowhere",
        ),
        strict=True,
    ):
        assert says.lower() in line.lower()


@pytest.mark.parametrize("flag", ["thresholds", "data", "baseline"])
def test_a_file_that_is_not_there_is_bad(
    here: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert main(["check", "--sae=good", f"--{flag}=nowhere.file"]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("bad"))
    assert f"{flag} nowhere.file: " in line
    assert "Traceback" not in line


def notes(told: Told, *arguments: str) -> list[str]:
    """What is noted of dictionaries."""
    return [line for line in told(*arguments, beginning="note", status=0) if "note SAE" in line]


def test_what_is_said_of_a_configuration_is_noted(here: Path, told: Told) -> None:
    (context,) = notes(told, *GOOD)
    assert "trained on texts of 32 tokens, and is measured on texts of up to 128" in context
    config = json.loads((here / "good/cfg.json").read_text())
    config["metadata"] |= {"context_size": 128, "my_note": "seed two"}
    (here / "good/cfg.json").write_text(json.dumps(config))
    (key,) = notes(told, *GOOD)
    assert "my_note" in key


def test_what_nothing_says_is_noted(here: Path, told: Told) -> None:
    config = {"model_name": "tiny", "hook_name": "blocks.1.hook_resid_post", "d_in": 32}
    config |= {"d_sae": 96, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 6}}
    (here / "good/cfg.json").write_text(json.dumps(config))
    (note,) = (line for line in notes(told, *GOOD) if "nothing says" in line)
    assert "center_writing_weights" in note
    assert "the run tries both" in note


@pytest.fixture
def recording(here: Path) -> str:
    """The flag of recorded activations of the run that GOOD is of."""
    site = "--site=blocks.1.hook_resid_post"
    arguments = ["--model=tiny", site, "--data=tasks.toml", "--suite=smoke", "--out=recorded"]
    assert main(["record", *arguments]) == 0
    (here / "tiny").unlink()  # nobody needs it from here on
    return "--activations=recorded"


def test_recorded_activations_take_the_place_of_the_model(told: Told, recording: str) -> None:
    lines = told(*GOOD, recording, beginning="ok", status=0)
    assert not any(line.startswith("ok   model") for line in lines)
    whole, texts, fits = (line for line in lines if line.startswith("ok   activations"))
    assert "texts of tiny at blocks.1.hook_resid_post, 32 wide" in whole
    assert "of the data are there" in texts
    assert fits == (
        "ok   activations of good: recorded at blocks.1.hook_resid_post, which is what it reads"
    )


def test_recorded_activations_of_another_site_or_width_are_bad(
    here: Path, told: Told, recording: str
) -> None:
    tiny_sae(here / "wide", d_in=48)
    tiny_sae(here / "above", hook="blocks.2.hook_resid_post")
    wide, above = told(*GOOD, "--sae=wide", "--sae=above", recording)
    assert "has d_in 48" in wide
    assert "blocks.2.hook_resid_post" in above


def test_texts_that_were_not_recorded_are_bad(here: Path, told: Told, recording: str) -> None:
    lines = (here / "corpus.jsonl").read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), "text": "w9 w8 w7"})
    (here / "corpus.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (line,) = told(*GOOD, recording)
    assert "lacks 1 of" in line


def test_a_recording_that_is_not_whole_is_bad(here: Path, told: Told, recording: str) -> None:
    (here / "recorded/texts.jsonl").write_text("")
    (line,) = told(*GOOD, recording)
    assert line.startswith("bad  activations recorded")
    assert "no activations.json" in told(*GOOD, "--activations=tiny")[0]


def test_the_command_exits_as_main_returns(here: Path) -> None:
    script = "import sys; from pytest_sae.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "check", f"--sae={bundled_world() / 'saes'}/topk*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok   SAE topk") == 3
