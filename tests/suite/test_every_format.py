"""Every format of README's table, evaluated by the line to type for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pytest_sae.activations.recorder import record_vectors
from pytest_sae.dictionaries.formats import registry
from pytest_sae.dictionaries.spec import resolve
from tests.dictionaries.contents import random, unit
from tests.dictionaries.formats.every_format import ROWS, D
from tests.labelled import labelled_data
from tests.suite.running import ROOT, Run, ran, suite
from tests.tiny import tiny_model

WITHOUT_MODEL = "signed_codes"
MEASURED = (
    ("explained_variance", {}),
    ("l0", {}),
    ("kl", {}),
    ("tpp.canonical", {"n": 20}),
)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The line to type for each row."""
    directory = tmp_path_factory.mktemp("formats")
    model = str(tiny_model(directory / "model", d=D))
    return {name: write(directory / name, model) for name, write in ROWS.items()}


@pytest.fixture(scope="module")
def run(lines: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of the suite over all of them."""
    directory = tmp_path_factory.mktemp("run")
    data = f"--sae-data={labelled_data(directory, per_cell=40)}"
    given = [f"--sae={line}" for line in lines.values()]
    few = ["-k", " or ".join(name for name, _ in MEASURED)]
    return suite(
        directory, *given, data, *few, "--sae-suite=smoke", "--sae-no-gate", "--sae-cache=off"
    )


def test_there_is_a_row_for_every_family() -> None:
    assert {name.partition("-")[0] for name in ROWS} == {*registry.NAMES} - {WITHOUT_MODEL}


@pytest.mark.parametrize("row", ROWS)
def test_the_line_to_type_loads_checks_and_evaluates(
    row: str, run: Run, lines: dict[str, str]
) -> None:
    assert run.code == 0, run.output[-3000:]
    listed = [each["id"] for each in run.report["saes"]]
    for line in resolve(list(lines.values())):
        if line.text == lines[row]:
            assert line.id in listed
            for metric, params in MEASURED:
                assert run.row(line.id, metric, **params)["status"] == "ok"


def test_signed_codes_are_evaluated_on_recorded_embeddings(tmp_path: Path) -> None:
    x = random(60, D, seed=1)
    texts = [f"review number {number}" for number in range(len(x))]
    record_vectors(tmp_path / "rec", texts, x, model="an embedder")
    rows = unit(3 * D, D, seed=2)
    weights = {
        "encoder.weight": rows,
        "decoder.weight": rows.T.contiguous(),
        "input_bias": torch.zeros(D),
        "neuron_bias": torch.zeros(3 * D),
        "threshold": torch.tensor(1.5),
    }
    torch.save(weights, tmp_path / "codes.pt")
    line = f"--sae={WITHOUT_MODEL},codes=signed,site=embedding:{tmp_path / 'codes.pt'}"
    given = (f"--sae-activations={tmp_path / 'rec'}", "--sae-suite=smoke", "--sae-no-gate")
    run = suite(tmp_path, line, *given, "--sae-cache=off", "-k", "l0 or ce_recovered")
    assert run.code == 0, run.output
    before = x @ rows.T
    z = torch.where(before.abs() > 1.5, before, 0.0)
    l0 = float((z != 0).sum(1).double().mean())
    assert run.row("codes.pt", "l0")["value"] == pytest.approx(l0)
    assert run.row("codes.pt", "ce_recovered")["status"] == "not_applicable"


CONFTEST = """
import torch
from pytest_sae import register_format
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo


def load(path, device, dtype):
    rows = torch.kron(torch.eye({d}), torch.tensor([[1.0], [-1.0]]))
    info = DictionaryInfo(path, "mine", {model!r}, "layers.1", None)
    return AffineDictionary(lambda x: (x @ rows.T).relu(), rows, rows[0] * 0, rows, info, "mine")


register_format("mine", load)
"""


def test_a_dictionary_of_the_users_conftest_is_evaluated(tmp_path: Path) -> None:
    model = str(tiny_model(tmp_path / "model", d=D))
    (tmp_path / "conftest.py").write_text(CONFTEST.format(d=D, model=model))
    for name in ("test_reconstruction.py", "thresholds.toml"):
        shutil.copy(ROOT / "evals" / name, tmp_path)
    arguments = ["test_reconstruction.py", "--sae=mine:as it is", "--sae-suite=smoke"]
    arguments += [f"--sae-data={labelled_data(tmp_path)}", "--sae-cache=off"]
    arguments += ["--rootdir=.", "-k", "explained_variance", "-p", "no:cacheprovider"]
    code, output = ran(arguments, tmp_path / "output.txt", cwd=tmp_path)
    assert code == 0, output
    assert "as_it_is" in output or "as it is" in output
