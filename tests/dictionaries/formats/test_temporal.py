"""Temporal SAEs: what a token's text predicts of it is read with it, and no latent writes that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Contextual, site_width
from pytest_sae.dictionaries.formats.temporal import TemporalDictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.dictionaries.conftest import edit_config
from tests.dictionaries.contents import behaves
from tests.dictionaries.formats.sae_lens_files import write_temporal
from tests.labelled import labelled_data
from tests.sessions import options
from tests.tiny import tiny_model

D, M = 16, 48
VARIANTS: list[dict[str, Any]] = [
    {},
    {"tied_weights": False},
    {"sae_diff_type": "relu"},
    {"apply_b_dec_to_input": False},
    {"apply_b_dec_to_input": False, "tied_weights": False, "n_attn_layers": 1},
    {"normalize_activations": "constant_scalar_rescale", "activation_normalization_factor": 0.4},
]


def loaded(directory: Path, **config: Any) -> tuple[TemporalDictionary, Any]:
    """The dictionary, and sae_lens' own module of the same files."""
    from sae_lens import SAE

    write_temporal(directory, D, M, **config)
    dictionary = load(directory)
    assert isinstance(dictionary, TemporalDictionary)
    return dictionary, SAE.load_from_disk(str(directory)).eval()


def texts(seed: int = 3) -> Tensor:
    return 2 * torch.randn(4, 7, D, generator=torch.Generator().manual_seed(seed)) + 0.3


@pytest.mark.parametrize("config", VARIANTS, ids=str)
def test_it_computes_what_sae_lens_computes(config: dict[str, Any], tmp_path: Path) -> None:
    dictionary, theirs = loaded(tmp_path / "sae", **config)
    x = texts()
    with torch.no_grad():
        z, y = theirs.encode(x).flatten(0, 1), theirs(x).flatten(0, 1)
    read = dictionary.in_context(x).flatten(0, 1)
    rows, bias = dictionary.decoder_rows, dictionary.const(read)
    behaves(dictionary, read, z, rows, bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.reconstruct(read), y, rtol=1e-4, atol=1e-4)
    assert (dictionary.d_site, dictionary.d_in, dictionary.d_out) == (D, 2 * D, D)


def test_only_earlier_tokens_count_and_padding_does_not(tmp_path: Path) -> None:
    dictionary, _ = loaded(tmp_path / "sae")
    x = texts()
    whole = dictionary.in_context(x)
    torch.testing.assert_close(dictionary.in_context(x[:, :4]), whole[:, :4], rtol=1e-5, atol=1e-5)
    changed = x.clone()
    changed[:, 2] += 1
    other = dictionary.in_context(changed)
    assert torch.equal(other[:, :2], whole[:, :2])
    assert not torch.allclose(other[:, 3:, D:], whole[:, 3:, D:], atol=1e-3)


def test_few_texts_at_a_time_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_sae.dictionaries.formats import temporal

    dictionary, _ = loaded(tmp_path / "sae")
    whole = dictionary.in_context(texts())
    monkeypatch.setattr(temporal, "BLOCK", 1)
    torch.testing.assert_close(dictionary.in_context(texts()), whole)


SPOILED: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "k": ("declares no kval_topk", lambda c: c.pop("kval_topk")),
    "k of none": ("kval_topk = None", lambda c: c.update(kval_topk=None)),
    "kind": ("sae_diff_type = 'batch'", lambda c: c.update(sae_diff_type="batch")),
    "heads": ("a multiple of that", lambda c: c.update(n_heads=5)),
    "heads gone": ("declares no n_heads", lambda c: c.pop("n_heads")),
    "layers": ("missing none", lambda c: c.update(n_attn_layers=1)),
    "scale": (
        "activation_normalization_factor = None",
        lambda c: c.update(
            normalize_activations="constant_scalar_rescale", activation_normalization_factor=None
        ),
    ),
    "norm": ("'layer_norm'", lambda c: c.update(normalize_activations="layer_norm")),
}


@pytest.mark.parametrize("case", SPOILED.values(), ids=SPOILED.keys())
def test_what_is_not_said_is_refused(
    case: tuple[str, Callable[[dict[str, Any]], object]], tmp_path: Path
) -> None:
    said, spoil = case
    directory = edit_config(write_temporal(tmp_path / "sae", D, M), spoil)
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(directory)
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvalSession, LoadedSAE]:
    world = tmp_path_factory.mktemp("world")
    tiny_model(world / "model", d=D)
    (world / "data").mkdir()
    labelled_data(world / "data", per_cell=40)
    write_temporal(world / "sae", D, M)
    session = EvalSession(options(world))
    return session, session.load(resolve([f"model={world / 'model'}:{world / 'sae'}"])[0])


def one_text(sae: LoadedSAE, text: str) -> tuple[Tensor, Tensor]:
    """What is at the site, and in context: one text alone, by the model's own hidden states."""
    ids = torch.tensor([sae.model.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        x = sae.model.hf(ids, output_hidden_states=True).hidden_states[2]
    assert isinstance(sae.dictionary, Contextual)
    return x[0, 1:], sae.dictionary.in_context(x)[0, 1:]


def test_a_session_reads_each_text_in_context(opened: tuple[EvalSession, LoadedSAE]) -> None:
    session, sae = opened
    assert site_width(sae.dictionary) == D
    several = session.tasks.scr[0].test.texts
    found = session.latents(sae).pooled(several)
    for row, text in enumerate(several):
        x, read = one_text(sae, text)
        np.testing.assert_allclose(found.x[row], x.mean(0), rtol=1e-4, atol=1e-4)
        z = sae.dictionary.encode(read).mean(0)
        np.testing.assert_allclose(found.z[[row]].toarray()[0], z, rtol=1e-3, atol=1e-3)


def test_its_reconstruction_is_measured_at_the_site(
    opened: tuple[EvalSession, LoadedSAE],
) -> None:
    session, sae = opened
    found = {m.estimate.metric: m.estimate for m in session.measure("core", sae)}
    pairs = [one_text(sae, text) for text in session.tasks.corpus.texts]
    x = torch.cat([x for x, _ in pairs]).double()
    y = torch.cat([sae.dictionary.reconstruct(read) for _, read in pairs]).double()
    explained = 1 - (x - y).square().sum() / (x - x.mean(0)).square().sum()
    assert found["explained_variance"].value == pytest.approx(float(explained), rel=1e-3)
    assert found["encoder_decoder_cosine"].status == "not_applicable"
    for family in ("scr", "tpp"):
        statuses = [m.estimate.status for m in session.measure(family, sae)]
        assert "not_applicable" not in statuses
        assert "ok" in statuses
