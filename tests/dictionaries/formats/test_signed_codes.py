"""WIMHF's signed latents, and HypotheSAEs' two selections under the same names of tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats import signed_codes
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, largest, random, tokens, unit
from tests.dictionaries.formats.upstream import submodule

D_IN, D_SAE, K, THRESHOLD = 12, 40, 5, 2.5
SELECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda before: torch.where(before.abs() > THRESHOLD, before, 0.0),
    "batchtopk": lambda before: torch.where(before > THRESHOLD, before, 0.0),
    "topk": lambda before: largest(before.clamp(min=0), K),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "signed": {"k_active_neurons": K, "m_total_neurons": D_SAE},
    "batchtopk": {"k_active_neurons": K, "use_batch_topk": True},
    "topk": {"k_active_neurons": K, "use_batch_topk": False},
}


def weights(threshold: float = THRESHOLD) -> dict[str, Tensor]:
    return {
        "encoder.weight": random(D_SAE, D_IN, seed=1),
        "decoder.weight": unit(D_SAE, D_IN, seed=2).T.contiguous(),
        "input_bias": random(D_IN, seed=3),
        "neuron_bias": random(D_SAE, seed=4, scale=0.1),
        "threshold": torch.tensor(threshold),
    }


def build(
    tensors: dict[str, Tensor], config: dict[str, Any] | None = None, **settings: str
) -> Dictionary:
    what = content(tensors, config, **settings)
    assert signed_codes.recognise(what)
    return signed_codes.build(what, device="cpu", dtype=None)


@pytest.mark.parametrize("codes", SELECTIONS)
@pytest.mark.parametrize("told", ["by the configuration", "by a setting"])
def test_each_selection_computes_its_formula(codes: str, told: str) -> None:
    w, x = weights(), tokens(d_in=D_IN)
    by_config = told == "by the configuration"
    dictionary = build(w, CONFIGS[codes]) if by_config else build(w, codes=codes, k=str(K))
    before = (x - w["input_bias"]) @ w["encoder.weight"].T + w["neuron_bias"]
    z = SELECTIONS[codes](before)
    behaves(dictionary, x, z, w["decoder.weight"].T, w["input_bias"])
    assert (z < 0).any() == (codes == "signed")
    assert dictionary.info.k == (K if codes == "topk" else None)


@pytest.mark.parametrize("batch", [False, True])
def test_a_saved_model_computes_what_hypothesaes_computes(
    batch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = submodule(monkeypatch, "hypothesaes.sae")
    model = upstream.SparseAutoencoder(D_IN, D_SAE, K, use_batch_topk=batch, device="cpu")
    model.load_state_dict(weights())
    model.save(str(tmp_path / "sae.pt"))
    dictionary, x = load(tmp_path / "sae.pt"), tokens(d_in=D_IN)
    with torch.no_grad():
        reconstructed, info = model.eval()(x)
    torch.testing.assert_close(dictionary.encode(x), info["activations"])
    torch.testing.assert_close(dictionary.reconstruct(x), reconstructed)


def test_an_older_file_without_threshold_keeps_the_k_largest() -> None:
    w = weights()
    del w["threshold"]
    dictionary, x = build(w, {"k_active_neurons": K}), tokens(d_in=D_IN)
    assert ((dictionary.encode(x) != 0).sum(dim=1) == K).all()


REFUSED: list[tuple[dict[str, Tensor], dict[str, Any], dict[str, str], str]] = [
    (weights(), {}, {}, r"codes=nothing, and no configuration .*,codes=signed"),
    (weights(), {}, {"codes": "best"}, r"codes=best.* Expected signed, batchtopk, topk"),
    (weights(), {}, {"codes": "topk"}, r"declares no k"),
    (weights(), {}, {"codes": "topk", "k": "41"}, r"k = 41. Expected a whole number from 1 to 40"),
    (weights(), {"use_batch_topk": "no"}, {}, r"use_batch_topk = 'no'"),
    (weights(0.0), CONFIGS["signed"], {}, r"threshold 0 with signed latents: all 40 are active"),
    (weights(-1.0), CONFIGS["batchtopk"], {}, r"1 of 1 thresholds below 0"),
    (weights(torch.nan), CONFIGS["signed"], {}, r"threshold \(1 NaN"),
    (
        weights() | {"decoder.weight": unit(D_SAE, D_IN)},
        CONFIGS["signed"],
        {},
        r"decoder.weight has the shape \(40, 12\). Expected \(12, 40\)",
    ),
    (weights() | {"decoder.weight": torch.zeros(D_IN, D_SAE)}, CONFIGS["topk"], {}, r"all 40"),
    (
        weights() | {"encoder.weight": random(D_SAE)},
        CONFIGS["topk"],
        {},
        r"Expected two dimensions",
    ),
    (weights(), CONFIGS["topk"], {"threshold": "1"}, r"'threshold', which"),
]


@pytest.mark.parametrize(("tensors", "config", "options", "message"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(
    tensors: dict[str, Tensor], config: dict[str, Any], options: dict[str, str], message: str
) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(tensors, config, **options)


def test_a_transposed_square_decoder_is_noticed_by_its_content() -> None:
    w = weights() | {"encoder.weight": random(20, 20, seed=1), "input_bias": random(20)}
    w |= {"neuron_bias": random(20), "decoder.weight": w["encoder.weight"].T}
    build(w, CONFIGS["signed"])
    w["decoder.weight"] = w["encoder.weight"]
    with pytest.raises(DictionaryError, match="only when it is transposed"):
        build(w, CONFIGS["signed"])
