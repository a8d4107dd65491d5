"""One small instance of every format that README's table lists, on one tiny model.

Each row writes its files and gives the line to type after `--sae=`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.dictionaries.contents import random, unit
from tests.dictionaries.formats import (
    dictionary_learning_files,
    sae_lens_files,
    several_files,
    temporal_files,
)
from tests.tiny import tiny_sae

D, M, K = 16, 48, 6
STREAM = "blocks.1.hook_resid_post"
MLP = {"site": "blocks.1.mlp.hook_in", "site_out": "blocks.1.hook_mlp_out"}

Row = Callable[[Path, str], str]


def _named(family: str, path: Path, model: str, **settings: Any) -> str:
    given = {"model": model, **({} if "site" in settings else {"site": STREAM}), **settings}
    said = ",".join(f"{name}={value}" for name, value in given.items())
    return f"{family},{said}:{path}"


def _sae_lens(arch: str) -> Row:
    def write(directory: Path, model: str) -> str:
        return str(tiny_sae(directory, arch, D, M, K, STREAM, model))

    return write


def _sae_lens_rare(arch: str) -> Row:
    def write(directory: Path, model: str) -> str:
        pursuit = {"max_iterations": K, "residual_threshold": 1e-2}
        own = pursuit if arch == "matching_pursuit" else {}
        sae_lens_files.write(directory, arch, D, M, **own)
        return f"sae_lens,model={model}:{directory}"

    return write


def _matryoshka(directory: Path, model: str) -> str:
    sae_lens_files.write_matryoshka(directory, d_in=D)
    return f"sae_lens,model={model},prefix=20:{directory}"


def _temporal(directory: Path, model: str) -> str:
    sae_lens_files.write_temporal(directory, D, M)
    return f"sae_lens,model={model}:{directory}"


def _temporal_published(directory: Path, model: str) -> str:
    temporal_files.write_published(directory, D, M, model_hf_name=model)
    return f"site={STREAM}:{directory}"


def _dictionary_learning(kind: str) -> Row:
    def write(directory: Path, model: str) -> str:
        given = {"lm_name": model, "layer": 1, "submodule_name": "resid_post_layer_1"}
        state = dictionary_learning_files.state_dict(kind)
        if "BatchTopK" in kind:  # its threshold lets more through here
            state["k"] = torch.tensor(2 * K)
            given["k"] = 2 * K
        return str(dictionary_learning_files.write(directory, kind, state, **given))

    return write


def _sparsify(**changes: Any) -> Row:
    def write(directory: Path, model: str) -> str:
        transcode = changes.get("transcode", False)
        place = directory / ("layers.1.mlp" if transcode else "layers.1")
        place.mkdir(parents=True)
        w = {
            "encoder.weight": unit(M, D, seed=1),
            "encoder.bias": random(M, seed=2, scale=0.1),
            "W_dec": unit(M, D, seed=1),
            "b_dec": random(D, seed=4, scale=0.1),
        }
        if changes.get("skip_connection"):
            w["W_skip"] = random(D, D, seed=5, scale=0.1)
        save_file(w, place / "sae.safetensors")
        config = {"activation": "topk", "k": K, "d_in": D, "num_latents": M, **changes}
        (place / "cfg.json").write_text(json.dumps(config))
        return f"model={model}:{place}"

    return write


def _gemma_arrays() -> dict[str, torch.Tensor]:
    return {
        "W_enc": unit(M, D, seed=1).T.contiguous(),
        "W_dec": unit(M, D, seed=1),
        "b_enc": random(M, seed=2, scale=0.1),
        "b_dec": random(D, seed=3, scale=0.1),
        "threshold": random(M, seed=4).abs() + 0.2,
    }


def _gemma_scope(directory: Path, model: str) -> str:
    directory.mkdir()
    arrays = {name: tensor.numpy() for name, tensor in _gemma_arrays().items()}
    np.savez(directory / "params.npz", **arrays)
    return _named("gemma_scope", directory, model)


def _gemma_scope_2(directory: Path, model: str) -> str:
    directory.mkdir()
    lower = {name.lower(): tensor for name, tensor in _gemma_arrays().items()}
    lower["affine_skip_connection"] = random(D, D, seed=9, scale=0.1)
    save_file(lower, directory / "params.safetensors")
    return _named("gemma_scope", directory, model, **MLP)


def _llama_scope(directory: Path, model: str) -> str:
    (directory / "checkpoints").mkdir(parents=True)
    w = {
        "encoder.weight": unit(M, D, seed=1),
        "encoder.bias": random(M, seed=2, scale=0.1),
        "decoder.weight": unit(M, D, seed=1).T.contiguous(),
        "decoder.bias": random(D, seed=3, scale=0.1),
    }
    save_file(w, directory / "checkpoints" / "final.safetensors")
    config = {
        "d_model": D,
        "d_sae": M,
        "hook_point_in": STREAM,
        "hook_point_out": STREAM,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.4,
        "norm_activation": "dataset-wise",
        "model_name": model,
    }
    (directory / "hyperparams.json").write_text(json.dumps(config))
    return f"llama_scope,norm_in=5.5:{directory}"


def _openmoss(directory: Path, model: str) -> str:
    directory.mkdir()
    w = {
        "W_E": unit(M, D, seed=1).T.contiguous(),
        "b_E": random(M, seed=2, scale=0.1),
        "W_D": unit(M, D, seed=1),
        "b_D": random(D, seed=3, scale=0.1),
        f"dataset_average_activation_norm.{STREAM}": torch.tensor(5.5),
    }
    save_file(w, directory / "sae_weights.safetensors")
    config = {
        "sae_type": "sae",
        "d_model": D,
        "expansion_factor": M / D,
        "hook_point_in": STREAM,
        "hook_point_out": STREAM,
        "act_fn": "topk",
        "top_k": K,
        "norm_activation": "dataset-wise",
    }
    (directory / "config.json").write_text(json.dumps(config))
    return f"model={model}:{directory}"


def _several(kind: str) -> Row:
    def write(directory: Path, model: str) -> str:
        several_files.write(directory, kind, d=D, model_name=model)
        return f"at=each:{directory}"

    return write


def _openai(directory: Path, model: str) -> str:
    directory.mkdir()
    state = {
        "pre_bias": random(D, seed=1, scale=0.1),
        "latent_bias": random(M, seed=2, scale=0.1),
        "encoder.weight": unit(M, D, seed=3),
        "decoder.weight": unit(M, D, seed=3).T.contiguous(),
        "activation": "TopK",
        "activation_state_dict": {"k": K, "postact_fn": "ReLU"},
    }
    torch.save(state, directory / "autoencoder.pt")
    return _named("openai", directory / "autoencoder.pt", model)


def _switch_sae(directory: Path, model: str) -> str:
    directory.mkdir()
    w = {
        "encoder.weight": unit(M, D, seed=1),
        "router.weight": random(4, D, seed=2, scale=0.3),
        "decoder": unit(M, D, seed=1),
        "b_dec": random(D, seed=4, scale=0.1),
        "b_router": random(D, seed=5, scale=0.1),
    }
    torch.save(w, directory / "ae.pt")
    given = {"k": K, "experts": 4, "heaviside": "false"}
    return _named("switch_sae", directory / "ae.pt", model, **given)


def _overcomplete(codes: str) -> Row:
    def write(directory: Path, model: str) -> str:
        directory.mkdir()
        w = {"dictionary._weights": unit(M, D, seed=1), "dictionary.multiplier": torch.tensor(0.2)}
        if codes != "mp":
            w["encoder.final_block.0.weight"] = unit(M, D, seed=1)
            w["encoder.final_block.0.bias"] = random(M, seed=3, scale=0.1)
        torch.save(w, directory / "sae.pt")
        return _named("overcomplete", directory / "sae.pt", model, codes=codes, k=K)

    return write


def _variational(directory: Path, model: str) -> str:
    directory.mkdir()
    w = {
        "W_enc": unit(M, D, seed=1).T.contiguous(),
        "b_enc": random(M, seed=2, scale=0.1),
        "W_log_var": random(D, M, seed=3, scale=0.1),
        "b_log_var": torch.full((M,), -2.0),
        "W_dec": unit(M, D, seed=1),
        "b_dec": random(D, seed=5, scale=0.1),
    }
    save_file(w, directory / "vsae.safetensors")
    given = {"codes": "topk", "k": K, "apply_b_dec_to_input": "true"}
    return _named("variational", directory / "vsae.safetensors", model, **given)


def _transcoder_circuits(directory: Path, model: str) -> str:
    directory.mkdir()
    w = {
        "W_enc": unit(M, D, seed=1).T.contiguous(),
        "b_enc": random(M, seed=2, scale=0.1),
        "W_dec": unit(M, D, seed=3),
        "b_dec": random(D, seed=4, scale=0.1),
        "b_dec_out": random(D, seed=5, scale=0.1),
    }
    torch.save({"state_dict": w}, directory / "transcoder.pt")
    # Its training processes the model's weights, whose norms then have none.
    reads = {**MLP, "site": "blocks.1.ln2.hook_normalized"}
    return _named("transcoder_circuits", directory / "transcoder.pt", model, **reads)


def _snmf(directory: Path, model: str) -> str:
    directory.mkdir()
    np.savez(directory / "factors.npz", F=random(2 * D, 8, seed=1).numpy())
    return _named("snmf", directory / "factors.npz", model, site="blocks.1.mlp.hook_post")


def _matrices() -> dict[str, torch.Tensor]:
    return {
        "W_enc": unit(M, D, seed=1).T.contiguous(),
        "b_enc": random(M, seed=2, scale=0.1),
        "W_dec": unit(M, D, seed=1),
        "b_dec": random(D, seed=4, scale=0.1),
    }


def _batch_topk(**changes: Any) -> Row:
    def write(directory: Path, model: str) -> str:
        directory.mkdir()
        own = {"threshold": torch.tensor(0.4)} if changes.get("sae_type") == "batchtopk" else {}
        torch.save({**_matrices(), **own}, directory / "sae.pt")
        config = {"act_size": D, "dict_size": M, "top_k": K, "seq_len": 16, **changes}
        config |= {"model_name": model, "hook_point": STREAM}
        (directory / "config.json").write_text(json.dumps(config))
        return str(directory)

    return write


def _attention(directory: Path, model: str) -> str:
    directory.mkdir()
    torch.save(_matrices(), directory / "L1_z.pt")
    about = {"model_name": model, "act_name": "blocks.1.attn.hook_z", "seq_len": 16}
    config = {"act_size": D, "dict_size": M, **about}
    (directory / "L1_z_cfg.json").write_text(json.dumps(config))
    return str(directory / "L1_z.pt")


def _qwen_scope(directory: Path, model: str) -> str:
    repository = directory / f"SAE-Res-Qwen3-Tiny-W1K-L0_{K}"
    repository.mkdir(parents=True)
    turned = {name: tensor.T.contiguous() for name, tensor in _matrices().items()}
    torch.save(turned, repository / "layer1.sae.pt")
    return f"model={model}:{repository / 'layer1.sae.pt'}"


def _weights_only(directory: Path, model: str) -> str:
    directory.mkdir()
    save_file(_matrices(), directory / "sae.safetensors")
    given = {"activation": "topk", "k": K, "apply_b_dec_to_input": "true"}
    return _named("weights_only", directory / "sae.safetensors", model, **given)


ROWS: dict[str, Row] = {
    **{f"sae_lens-{arch}": _sae_lens(arch) for arch in ("standard", "topk", "jumprelu", "gated")},
    "sae_lens-batchtopk": _sae_lens("batchtopk"),
    "sae_lens-matryoshka": _matryoshka,
    "sae_lens-temporal": _temporal,
    "sae_lens-temporal_published": _temporal_published,
    **{f"sae_lens-{arch}": _sae_lens_rare(arch) for arch in sae_lens_files.RARE},
    **{
        f"dictionary_learning-{kind}": _dictionary_learning(kind)
        for kind in dictionary_learning_files.SHAPES
    },
    "sparsify-topk": _sparsify(),
    "sparsify-groupmax": _sparsify(activation="groupmax"),
    "sparsify-transcoder": _sparsify(transcode=True),
    "sparsify-skip_transcoder": _sparsify(transcode=True, skip_connection=True),
    "gemma_scope-1": _gemma_scope,
    "gemma_scope-2": _gemma_scope_2,
    "llama_scope-1": _llama_scope,
    "llama_scope-newer": _openmoss,
    "crosscoder": _several("crosscoder"),
    "clt": _several("clt"),
    "openai": _openai,
    "switch_sae": _switch_sae,
    **{f"overcomplete-{codes}": _overcomplete(codes) for codes in ("relu", "topk", "mp")},
    "variational": _variational,
    "transcoder_circuits": _transcoder_circuits,
    "snmf": _snmf,
    "batch_topk-topk": _batch_topk(sae_type="topk", input_unit_norm=True),
    "batch_topk-batchtopk": _batch_topk(sae_type="batchtopk"),
    "batch_topk-attention": _attention,
    "qwen_scope": _qwen_scope,
    "weights_only": _weights_only,
}
