"""A baseline dictionary fitted to recorded MLP activations, from the command to its figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae.activations.recording import Recording
from pytest_sae.activations.store import Store
from pytest_sae.cli import main
from pytest_sae.dictionaries.factorisation import factorise
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.session.session import EvalSession
from tests.dictionaries.contents import random
from tests.labelled import labelled_data
from tests.sessions import options
from tests.tiny import tiny_model

SITE, RANK = "blocks.1.mlp.hook_post", 8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, texts to measure on, and a recording of other texts."""
    directory = tmp_path_factory.mktemp("world")
    tiny_model(directory / "model", d=16)
    for name, seed in (("data", 0), ("training", 1)):
        (directory / name).mkdir()
        labelled_data(directory / name, per_cell=40, seed=seed)
    command = ["record", f"--model={directory / 'model'}", f"--site={SITE}", "--suite=smoke"]
    command += [f"--data={directory / 'training' / 'tasks.toml'}", f"--out={directory / 'rec'}"]
    assert main([*command, "--device=cpu"]) == 0
    return directory


def explained(world: Path, line: str) -> float:
    session = EvalSession(options(world))
    found = session.measure("core", session.load(resolve([line])[0]))
    value = next(m.estimate.value for m in found if m.estimate.metric == "explained_variance")
    assert value is not None
    return value


def test_what_is_fitted_explains_other_texts_better_than_chance(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "fitted.safetensors"
    assert main(["fit-snmf", str(world / "rec"), f"--rank={RANK}", f"--out={path}"]) == 0
    line = capsys.readouterr().out.split("--sae=")[1].strip()
    assert line == f"snmf,model={world / 'model'},site={SITE}:{path}"
    chance = tmp_path / "chance.safetensors"
    save_file({"F": random(*load_file(path)["F"].shape, seed=1)}, chance)
    other = f"snmf,model={world / 'model'},site={SITE}:{chance}"
    assert explained(world, line) > 0.2 + max(0.0, explained(world, other))


@pytest.mark.parametrize("tokens", [100, 10_000])
def test_the_matrix_is_that_of_every_nth_recorded_token(
    tokens: int, world: Path, tmp_path: Path
) -> None:
    path = tmp_path / "fitted.safetensors"
    command = ["fit-snmf", str(world / "rec"), "--rank=3", "--seed=4", f"--out={path}"]
    assert main([*command, f"--tokens={tokens}"]) == 0
    recording = Recording.open(world / "rec")
    x = torch.cat([part.x_valid for part in recording.stream(recording.texts, Store(None))])
    there = recording.places.length[recording.lines_of(recording.texts)].sum()
    few = x[:: -(-int(there) // tokens)]
    assert len(few) <= tokens
    rows = factorise(few, 3, 4).rows
    torch.testing.assert_close(load_file(path)["F"].T, rows.float())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--out={}/there.safetensors"], "is there already"),
        (["--out={}/fitted.npz"], "is no .safetensors file"),
        (["--out={}/fitted.safetensors", "--rank=0"], "cannot have rank 0"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    changes: list[str],
    said: str,
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there.safetensors").touch()
    given = ["--rank=3", *(each.format(tmp_path) for each in changes)]
    assert main(["fit-snmf", str(world / "rec"), *given]) == 2
    assert said in capsys.readouterr().err
