"""A session on recorded activations, beside the same session with the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pytest_sae import bundled_world
from pytest_sae.activations.recording import record_vectors
from pytest_sae.cli import main
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DataError, ModelError, SiteError
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session import session as sessions
from pytest_sae.session.session import EvalSession
from tests.labelled import labelled_data
from tests.sessions import loaded, options
from tests.tiny import tiny_model, tiny_sae

HOOK = "blocks.1.hook_resid_post"
ABSENT = "recorded activations: no model"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    tiny_model(directory / "model")
    labelled_data(directory)
    for arch in ("topk", "jumprelu"):
        tiny_sae(directory / arch, arch=arch, model=str(directory / "model"))
    command = ["record", f"--model={directory / 'model'}", f"--site={HOOK}", "--suite=smoke"]
    command += [f"--data={directory / 'tasks.toml'}", f"--out={directory / 'rec'}"]
    assert main([*command, "--device=cpu"]) == 0
    return directory


def measured(sae: Path, families: Sequence[str], **changes: object) -> dict[str, Estimate]:
    session, own = loaded(sae, **changes)
    return {m.key: m.estimate for family in families for m in session.measure(family, own)}


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model fails."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(sessions, "load_model", refuse)


BEHAVIOUR = ("ce_", "kl")


@pytest.mark.parametrize("arch", ["topk", "jumprelu"])
def test_every_figure_that_needs_no_model_is_that_of_a_run_with_it_to_the_bit(
    world: Path, arch: str, request: pytest.FixtureRequest
) -> None:
    families, data = ("core", "scr", "tpp"), str(world / "tasks.toml")
    live = measured(world / arch, families, data=data)
    request.getfixturevalue("no_model")
    found = measured(world / arch, families, data=data, activations=str(world / "rec"))
    assert live.keys() == found.keys()
    for key, estimate in found.items():
        if key.startswith(BEHAVIOUR):
            assert (estimate.status, estimate.reason) == ("not_applicable", ABSENT), key
        else:
            assert estimate == live[key], key
    assert sum(each.value is not None for each in found.values()) > 15


def test_controls_are_made_of_recorded_activations_to_the_bit(
    world: Path, request: pytest.FixtureRequest
) -> None:
    data, rec = str(world / "tasks.toml"), str(world / "rec")
    session, sae = loaded(world / "topk", data=data, controls="all")
    live = {each.key: each for name in ("core", "scr") for each in session.measure(name, sae)}
    request.getfixturevalue("no_model")
    session, sae = loaded(world / "topk", data=data, controls="all", activations=rec)
    found = {each.key: each for name in ("core", "scr") for each in session.measure(name, sae)}
    for key, measurement in found.items():
        if measurement.estimate.status == "ok":
            assert measurement.controls == live[key].controls, key
    assert len(found["explained_variance"].controls) == 6


@pytest.mark.slow
def test_the_bundled_world_is_the_same_to_the_bit_on_recorded_activations(tmp_path: Path) -> None:
    families = ("core", "scr", "tpp", "shift", "autointerp")
    sae = bundled_world() / "saes" / "topk"
    command = ["record", "--model=pytest-sae/world", "--site=blocks.2.hook_resid_post"]
    assert main([*command, "--suite=smoke", f"--out={tmp_path / 'rec'}", "--device=cpu"]) == 0
    live = measured(sae, families)
    tasks = str(bundled_world() / "tasks.toml")
    found = measured(sae, families, data=tasks, activations=str(tmp_path / "rec"))
    for key, estimate in found.items():
        if key.startswith((*BEHAVIOUR, "autointerp.intervention")):
            assert estimate.reason == ABSENT, key
        elif not key.startswith(("shift", "autointerp")):
            assert estimate == live[key], key
    shown = [each["shift:n=20"].details for each in (live, found)]
    assert shown[1]["left_out"] == {"promoted tokens": ABSENT}
    for selection in ("none", "effect", "words"):
        assert shown[0]["table"][selection] == shown[1]["table"][selection]


@pytest.mark.usefixtures("no_model")
def test_without_words_that_were_recorded_shift_leaves_their_row_out(
    world: Path, tmp_path: Path
) -> None:
    directory = without_part(world / "rec", tmp_path / "rec", "without words")
    as_bundled(directory)
    name = "pytest-sae/world"
    tiny_sae(tmp_path / "sae", model=name)
    data = str(world / "tasks.toml")
    found = measured(tmp_path / "sae", ["shift"], data=data, activations=str(directory))
    details = found["shift:n=20"].details
    assert details["left_out"] == {"promoted tokens": ABSENT, "words": ABSENT}
    assert "words" not in details["by_task"]["baker_judge"]["table"]
    assert "effect" in details["by_task"]["baker_judge"]["table"]


@pytest.mark.usefixtures("no_model")
def test_without_data_the_recorded_corpus_is_measured_and_there_are_no_tasks(world: Path) -> None:
    recording = str(world / "rec")
    with_data = measured(
        world / "topk", ["core"], data=str(world / "tasks.toml"), activations=recording
    )
    found = measured(world / "topk", ["core", "scr", "tpp"], activations=recording)
    assert {key: found[key] for key in with_data} == with_data
    for key in ("scr.canonical:n=20", "tpp:n=20"):
        assert found[key].status == "no_data"
        assert found[key].reason.startswith("the recording has no tasks")


@pytest.mark.usefixtures("no_model")
def test_the_model_of_the_session_is_a_clear_error(world: Path) -> None:
    session, sae = loaded(world / "topk", activations=str(world / "rec"))
    with pytest.raises(ModelError, match=r"recorded activations: no model: .*leave that flag out"):
        session.model(sae)
    told = session.describe()["activations"]
    assert isinstance(told, dict)
    assert told["model"]["name"] == str(world / "model")
    assert sae.fingerprints["activations"] == told["sha256"]


def test_apart_from_the_recording_the_fingerprints_are_those_of_a_run_with_the_model(
    world: Path,
) -> None:
    data = str(world / "tasks.toml")
    _, live = loaded(world / "topk", data=data)
    _, found = loaded(world / "topk", data=data, activations=str(world / "rec"))
    assert {**live.fingerprints, "activations": found.fingerprints["activations"]} == dict(
        found.fingerprints
    )


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"model": "gpt2"}, ModelError, r"belongs to the model gpt2, but .*--sae-model="),
        ({"hook": "blocks.0.hook_resid_post"}, SiteError, r"reads blocks.0.*say --sae=site="),
        ({"d_in": 48}, ModelError, r"d_in 48, but the vectors x of .* are 32 wide"),
    ],
)
def test_a_dictionary_of_something_else_is_refused(
    world: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    tiny_sae(tmp_path / "sae", **{"model": str(world / "model"), **changes})
    with pytest.raises(error, match=says):
        loaded(tmp_path / "sae", activations=str(world / "rec"))


def test_another_name_of_the_model_is_accepted_if_it_is_said(world: Path, tmp_path: Path) -> None:
    tiny_sae(tmp_path / "sae", model="gpt2")
    recording = str(world / "rec")
    _, sae = loaded(tmp_path / "sae", activations=recording, model=str(world / "model"))
    assert sae.model.name == str(world / "model")


def test_a_task_text_that_was_not_recorded_is_a_data_error(world: Path, tmp_path: Path) -> None:
    data = labelled_data(tmp_path, seed=1)
    session, sae = loaded(world / "topk", data=str(data), activations=str(world / "rec"))
    with pytest.raises(DataError, match=r"lacks \d+ of \d+ texts, such as '"):
        session.measure("tpp", sae)


@pytest.mark.usefixtures("no_model")
def test_signed_codes_of_embeddings_are_measured_from_two_files(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    d, d_sae, count = 8, 24, 60
    x = torch.randn(count, d, generator=generator)
    texts = [f"review number {number}" for number in range(count)]
    record_vectors(tmp_path / "rec", texts, x, model="an embedder")
    rows = torch.nn.functional.normalize(torch.randn(d_sae, d, generator=generator), dim=1)
    weights = {
        "encoder.weight": rows.clone(),
        "decoder.weight": rows.T.contiguous(),
        "input_bias": torch.zeros(d),
        "neuron_bias": torch.zeros(d_sae),
        "threshold": torch.tensor(1.5),
    }
    (tmp_path / "codes").mkdir()
    save_file(weights, tmp_path / "codes" / "model.safetensors")
    spec = f"signed_codes,codes=signed:{tmp_path / 'codes' / 'model.safetensors'}"
    session = EvalSession(options(activations=str(tmp_path / "rec")))
    sae = session.load(resolve([spec])[0])
    found = {m.key: m.estimate for m in session.measure("core", sae)}
    before = x @ rows.T
    z = torch.where(before.abs() > 1.5, before, 0.0)
    assert (z < 0).any()
    residual = (x - z @ rows).double().square().sum()
    total = (x - x.mean(0)).double().square().sum()
    assert found["l0"].value == pytest.approx(float((z != 0).sum(1).double().mean()))
    assert found["explained_variance"].value == pytest.approx(float(1 - residual / total), rel=1e-5)
    assert found["ce_recovered"].reason == ABSENT
    assert session.measure("tpp", sae)[0].estimate.status == "no_data"


def without_part(source: Path, directory: Path, part: str) -> Path:
    """Record again from a recording, but for one part."""
    from pytest_sae.activations.recording import Recorder, Recording
    from pytest_sae.activations.store import Store

    recording = Recording.open(source)
    about = recording.about
    with Recorder(
        directory, about.model, about.site, None, about.context, about.prepend_bos
    ) as writer:
        for name in ("corpus", "tasks"):
            texts = [each.text for each in recording.lines if each.part == name]
            stream = recording.stream(texts, Store(None))
            for seen in stream:
                for place, row in enumerate(seen.batch.rows.tolist()):
                    there = seen.batch.attention[place]
                    writer.add(
                        texts[row],
                        seen.x[place][there],
                        valid=seen.batch.valid[place][there],
                        pieces=stream.pieces([row])[0],
                        part=name,
                    )
    return directory


def as_bundled(directory: Path) -> None:
    """Let a recording say that it is of the bundled model, whose rules judge then."""
    from pytest_sae.models.load import world_fingerprint

    path = directory / "activations.json"
    about = json.loads(path.read_text())
    about["model"] = {"name": "pytest-sae/world", "fingerprint": world_fingerprint()}
    path.write_text(json.dumps(about))
