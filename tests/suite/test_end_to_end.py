"""A model of somebody else, an SAE that sae_lens' own runner trains on it, and README's line.

    export PYTEST_SAE_REAL_MODEL=DIR PYTEST_SAE_REAL_TEXTS=FILE.json
    pytest -m slow tests/suite/test_end_to_end.py

DIR is a causal language model in transformers' format, FILE a JSON list of texts that it knows; the
bundled ones are taken where none is named. The model goes into a hub cache and is known by its hub
name alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pytest_sae import bundled_world
from tests.dictionaries.hub.hub_cache_files import COMMIT, cache, files_in
from tests.suite.running import ROOT, environment
from tests.whole import whole_report

pytestmark = pytest.mark.slow

NAME = "lab/real"
HELD_OUT = 200
CONTEXT = 128

TRAIN = """
import json, sys
from datasets import Dataset
from sae_lens import LanguageModelSAERunnerConfig, LoggingConfig, TopKTrainingSAEConfig
from sae_lens.llm_sae_training_runner import LanguageModelSAETrainingRunner
name, hook, width, tokens, texts, out = sys.argv[1:]
cfg = LanguageModelSAERunnerConfig(
    sae=TopKTrainingSAEConfig(d_in=int(width), d_sae=8 * int(width), k=24),
    model_name=name, model_class_name="AutoModelForCausalLM", hook_name=hook,
    dataset_path="of-this-test", is_dataset_tokenized=False, streaming=False,
    context_size=128, training_tokens=int(tokens), train_batch_size_tokens=1024,
    store_batch_size_prompts=8, n_batches_in_buffer=16, lr=1e-3, lr_warm_up_steps=50,
    device="cpu", exclude_special_tokens=True, logger=LoggingConfig(log_to_wandb=False),
    n_checkpoints=0, checkpoint_path=None, output_path=out, verbose=False, n_eval_batches=1,
)
data = Dataset.from_list([{"text": text} for text in json.load(open(texts))])
LanguageModelSAETrainingRunner(cfg, override_dataset=data).run()
"""


@pytest.fixture(scope="module")
def model() -> Path:
    """The model's directory."""
    directory = os.environ.get("PYTEST_SAE_REAL_MODEL")
    if not directory:
        pytest.skip("PYTEST_SAE_REAL_MODEL names no model directory")
    return Path(directory)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts for training and, the last of them, for measuring."""
    path = os.environ.get("PYTEST_SAE_REAL_TEXTS")
    if path:
        found: list[str] = json.loads(Path(path).read_text())
        return found
    lines = (bundled_world() / "texts" / "stream.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, model: Path, texts: list[str]) -> Path:
    """A hub cache with the model, an SAE that the runner saved, and a task file."""
    directory = tmp_path_factory.mktemp("real")
    cache(directory / "hub", NAME, files_in(model))
    (directory / "train.json").write_text(json.dumps(texts[:-HELD_OUT]))
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts[-HELD_OUT:])
    (directory / "held_out.jsonl").write_text(rows)
    (directory / "tasks.toml").write_text('version = 1\n[corpus]\nfile = "held_out.jsonl"\n')
    config = json.loads((model / "config.json").read_text())
    hook = f"model.layers.{config['num_hidden_layers'] // 2}"
    width = str(config["hidden_size"])
    settings = [NAME, hook, width, "250000", str(directory / "train.json"), str(directory / "sae")]
    run(directory, "-c", TRAIN, *settings)
    return directory


def run(directory: Path, *arguments: str, status: tuple[int, ...] = (0,)) -> str:
    """Run Python where only that hub cache is known, and no network."""
    known = {**environment(), "HF_HUB_CACHE": str(directory / "hub"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=known, capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode in status, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def command(directory: Path, *arguments: str) -> str:
    code = "import sys; from pytest_sae.cli import main; sys.exit(main())"
    data = f"--data={directory / 'tasks.toml'}"
    return run(directory, "-c", code, *arguments, f"--sae={directory / 'sae'}", data)


def test_the_metadata_names_the_model_as_the_hub_does(directory: Path) -> None:
    config = json.loads((directory / "sae" / "cfg.json").read_text())
    assert config["metadata"]["model_name"] == NAME


def test_check_finds_nothing_wrong_without_the_weights(directory: Path) -> None:
    told = command(directory, "check", "--suite=smoke", f"--thresholds={bounds(directory)}")
    assert f"ok   weights of model {NAME}" in told


def test_the_doctor_finds_nothing_wrong(directory: Path) -> None:
    told = command(directory, "doctor")
    assert "suspicion      none" in told
    assert f"{NAME}, " in told


def bounds(directory: Path) -> Path:
    """What an SAE that was trained for a minute must reach."""
    path = directory / "bounds.toml"
    path.write_text("version = 1\n[metrics.explained_variance]\nmin = 0.3\n")
    return path


def test_the_line_of_the_readme_measures_it(directory: Path, model: Path, texts: list[str]) -> None:
    arguments = [f"--sae={directory / 'sae'}", f"--sae-data={directory / 'tasks.toml'}"]
    arguments += ["--sae-suite=smoke", f"--sae-report={directory / 'report'}"]
    arguments += [f"--sae-thresholds={bounds(directory)}", "-p", "no:cacheprovider"]
    run(directory, "-m", "pytest", "evals/", *arguments)
    report = whole_report(directory / "report" / "report.json")
    assert report["complete"]
    assert report["verdict"] == "pass"
    rows = report["measurements"]
    (row,) = (each for each in rows if each["metric"] == "explained_variance")
    assert row["value"] == pytest.approx(witness(directory, model, texts[-HELD_OUT:]), abs=1e-4)
    of_commit = hashlib.sha256(f"{NAME}@{COMMIT}".encode()).hexdigest()
    assert row["fingerprints"]["model"] == of_commit


@torch.no_grad()
def witness(directory: Path, model: Path, held_out: list[str]) -> float:
    """The explained variance by transformers' own hidden states and the formula of a TopK SAE."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    hf = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    parts = []
    for text in held_out:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][: CONTEXT - 1]
        given = torch.tensor([[tokenizer.bos_token_id, *ids]])
        states = hf(given, output_hidden_states=True).hidden_states
        special = torch.tensor([each in tokenizer.all_special_ids for each in ids])
        parts.append(states[hf.config.num_hidden_layers // 2 + 1][0, 1:][~special])
    x = torch.cat(parts)
    sae = load_file(directory / "sae" / "sae_weights.safetensors")
    config = json.loads((directory / "sae" / "cfg.json").read_text())
    norms = sae["W_dec"].norm(dim=1) if config["rescale_acts_by_decoder_norm"] else 1.0
    before = ((x - sae["b_dec"]) @ sae["W_enc"] + sae["b_enc"]) * norms
    values, chosen = before.topk(config["k"], dim=1)
    z = torch.zeros_like(before).scatter(1, chosen, values.relu())
    x_hat = (z / norms) @ sae["W_dec"] + sae["b_dec"]
    return float(1 - (x - x_hat).pow(2).sum() / (x - x.mean(0)).pow(2).sum())
