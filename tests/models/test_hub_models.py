"""Models by their hub names: pinned to a commit, from the hub or from its cache, or refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from pytest_sae.errors import ModelError
from pytest_sae.models import embedder, hub
from pytest_sae.models.hub import HubName, parse
from pytest_sae.models.load import load as load_model
from pytest_sae.models.tokenize import batches
from tests.dictionaries.hub.hub_cache_files import COMMIT, Files, cache, files_in
from tests.dictionaries.hub.hub_server import Hub, Repo
from tests.models.test_embedder import tiny_encoder

STEP = "b" * 40
# A process of its own: the hub's client reads its environment once, when it is imported.
CLIENT = """
import json, sys
from pytest_sae.errors import ModelError
from pytest_sae.models.load import load
answers = []
for name in sys.argv[1:]:
    try:
        answers.append(load(name, device="cpu").fingerprint)
    except ModelError as error:
        answers.append(f"refused: {error}")
print("ANSWERS " + json.dumps(answers))
"""


@pytest.fixture(scope="module")
def files(model_dir: Path) -> Files:
    return files_in(model_dir)


@pytest.fixture(scope="module")
def changed(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Another state of the same model: its last norm is twice as strong."""
    weights = load_file(model_dir / "model.safetensors")
    weights["model.norm.weight"] *= 2
    path = tmp_path_factory.mktemp("changed") / "model.safetensors"
    save_file(weights, path, {"format": "pt"})
    return {**files_in(model_dir), "model.safetensors": path.read_bytes()}


def of_commit(repo: str, commit: str) -> str:
    return hashlib.sha256(f"{repo}@{commit}".encode()).hexdigest()


def logits(model: Any) -> torch.Tensor:
    batch = batches(["w0 w1", "w2 w3 w4"], model.tokenizer, 8, True)[0]
    found: torch.Tensor = model.logits(batch)
    return found


def refusal(name: str) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(name, device="cpu")
    return str(caught.value)


def test_a_name_is_the_model_of_the_cache_at_its_commit(
    home: Path, files: Files, model_dir: Path
) -> None:
    cache(home, "lab/tiny", files)
    model = load_model("lab/tiny", device="cpu")
    assert model.fingerprint == of_commit("lab/tiny", COMMIT)
    assert model.name == "lab/tiny"
    local = load_model(str(model_dir), device="cpu")
    assert model.tokenizer_fingerprint == local.tokenizer_fingerprint
    assert torch.equal(logits(model), logits(local))


def test_a_revision_is_another_model_by_branch_or_commit(
    home: Path, files: Files, changed: Files
) -> None:
    cache(home, "lab/tiny", files)
    cache(home, "lab/tiny", changed, commit=STEP, ref="step3000")
    main, step = load_model("lab/tiny", "cpu"), load_model("lab/tiny@step3000", "cpu")
    assert step.fingerprint == of_commit("lab/tiny", STEP) != main.fingerprint
    assert torch.allclose(logits(step), 2 * logits(main), atol=1e-5)
    assert load_model(f"lab/tiny@{STEP}", "cpu").fingerprint == step.fingerprint
    assert load_model("lab/tiny@main", "cpu").fingerprint == main.fingerprint


def test_a_directory_may_have_the_sign_of_a_revision_in_its_name(
    tmp_path: Path, model_dir: Path
) -> None:
    link = tmp_path / "tiny@step1"
    link.symlink_to(model_dir)
    assert load_model(str(link), "cpu").fingerprint == load_model(str(model_dir), "cpu").fingerprint


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lab/tiny", HubName("lab/tiny")),
        ("lab/tiny@step3000", HubName("lab/tiny", "step3000")),
        ("lab/tiny@refs/pr/1", HubName("lab/tiny", "refs/pr/1")),
        ("lab/tiny@", HubName("lab/tiny")),
        ("gpt2", HubName("gpt2")),
        ("gpt2-small", HubName("gpt2")),
        ("pythia-70m-deduped@step0", HubName("EleutherAI/pythia-70m-deduped", "step0")),
        ("gemma-2-2b", HubName("google/gemma-2-2b")),
        ("mistral-7b", HubName("mistralai/Mistral-7B-v0.1")),
    ],
)
def test_a_name_is_a_repository_and_a_revision_of_it(name: str, meant: HubName) -> None:
    assert parse(name) == meant


def test_a_short_name_is_the_same_model_as_its_long_one(home: Path, files: Files) -> None:
    cache(home, "EleutherAI/pythia-70m-deduped", files)
    short = load_model("pythia-70m-deduped", "cpu")
    assert short.fingerprint == load_model("EleutherAI/pythia-70m-deduped", "cpu").fingerprint


def test_what_the_cache_has_not_is_told_with_the_command_that_fetches_it(
    home: Path, files: Files
) -> None:
    cache(home, "lab/tiny", files)
    message = refusal("lab/tiny@step9")
    assert "the hub cannot be reached" in message
    assert "hf download lab/tiny --revision step9" in message
    cache(home, "lab/part", {"config.json": files["config.json"]})
    assert "hf download lab/part" in refusal("lab/part")
    assert "neither a directory here nor a model on the hub" in refusal("no/such/place")


def test_every_answer_of_the_hub_is_a_sentence() -> None:
    import httpx

    answer = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
    named = HubName("lab/tiny", "step9")
    for error, said in (
        (errors.GatedRepoError("x", response=answer), "accept its terms"),
        (errors.RepositoryNotFoundError("x", response=answer), "owner/model@revision"),
        (errors.RevisionNotFoundError("x", response=answer), "no revision 'step9'"),
        (errors.EntryNotFoundError("x"), "has no config.json"),
        (errors.LocalEntryNotFoundError("x"), "cannot be reached"),
        (errors.OfflineModeIsEnabled("x"), "cannot be reached"),
    ):
        assert said in hub.explain(error, named)


def test_a_file_outside_a_commit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: "/cache/x/config.json")
    assert "Expected it in the directory of a commit" in refusal("lab/tiny")


def test_an_embedder_has_a_name_and_a_revision_too(home: Path, tmp_path: Path) -> None:
    own = tiny_encoder(tmp_path / "encoder")
    cache(home, "lab/encoder", files_in(own), commit=STEP, ref="v1")
    found, local = embedder.load("lab/encoder@v1", "cpu"), embedder.load(str(own), "cpu")
    assert (found(["w1 w2"]) == local(["w1 w2"])).all()
    with pytest.raises(ModelError, match="hf download lab/encoder --revision v2"):
        embedder.load("lab/encoder@v2", "cpu")


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Hub]:
    repos = {
        "lab/tiny": Repo(files, refs=("main", "step3000")),
        "lab/gated": Repo(files, fault="gated"),
        "lab/bare": Repo({"README.md": b"-"}),
    }
    with Hub(repos) as running:
        yield running


def ask(url: str, home: Path, *names: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *names],
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    assert lines, done.stderr
    answers: list[str] = json.loads(lines[0].removeprefix("ANSWERS "))
    return answers


def test_a_model_comes_from_the_hub_and_then_from_its_cache(server: Hub, tmp_path: Path) -> None:
    expected = of_commit("lab/tiny", COMMIT)
    names = ("lab/tiny", "lab/tiny@step3000", f"lab/tiny@{COMMIT}")
    assert ask(server.url, tmp_path, *names) == [expected] * 3
    assert ask(server.url, tmp_path, *names, HF_HUB_OFFLINE="1") == [expected] * 3
    assert ask("http://127.0.0.1:9", tmp_path, *names) == [expected] * 3


def test_what_the_hub_refuses_is_told(server: Hub, tmp_path: Path) -> None:
    gated, bare, nobody, step = ask(
        server.url, tmp_path, "lab/gated", "lab/bare", "lab/nobody", "lab/tiny@step9"
    )
    assert "is gated" in gated
    assert "has no config.json" in bare
    assert "neither a directory here nor a model on the hub" in nobody
    assert "no revision 'step9'" in step
