"""Tiny stand-ins for published dictionaries, as each of sae_lens' loaders expects its files.

What the files of a release say that its names and the table do not say is from its loader or from
its authors' own code; weights are as small as they can be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_sae.dictionaries.hub.releases import Release
from tests.dictionaries.contents import random, unit
from tests.dictionaries.formats import dictionary_learning_files

D, M, K = 8, 16, 4


@dataclass(frozen=True)
class Stored:
    """What lies in a release's folder.

    Args:
        weights: path of the weights file, from the folder; the folder itself where it is a file.
        config: name of the configuration file, empty where there is none.
        content: what the configuration says.
        tensors: what the weights file has.
    """

    weights: str
    config: str
    content: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def stored(release: Release, name: str, key: str) -> Stored:
    """The files of an entry of the table.

    Args:
        release: what the table says of it.
        name: of its release.
        key: its id there.
    """
    return _LOADERS[release.loader](release, name, key)


def layer(release: Release, key: str) -> int:
    """The layer that an entry's names say; the first reads embeddings."""
    if release.folder.startswith("embedding/"):
        return 0
    match = re.search(r"(?:layer_?|blocks\.|/L|-L)(\d+)", f"{key} {release.folder}")
    assert match is not None, (release, key)
    return int(match[1])


def _plain(lower: bool = False) -> dict[str, Tensor]:
    w = {"W_enc": unit(M, D, seed=1).T, "W_dec": unit(M, D, seed=1)}
    w |= {"b_enc": torch.zeros(M), "b_dec": torch.zeros(D)}
    return {n.lower(): t for n, t in w.items()} if lower else w


def _jumping(lower: bool = False) -> dict[str, Tensor]:
    return {**_plain(lower), "threshold": torch.full((M,), 0.1)}


def _sae_lens(release: Release, name: str, key: str) -> Stored:
    hook = re.match(r"blocks\.\d+\.[a-z_]*[a-z]", key)
    assert hook is not None, key
    about = {"model_name": release.model, "prepend_bos": True, "context_size": 128}
    sizes = {"d_in": D, "d_sae": M}
    if "matryoshka" in name:
        about |= {"hook_name": hook[0], "sae_lens_version": "6.0.0"}
        config = {"architecture": "jumprelu", "normalize_activations": "none", **sizes}
        tensors = _jumping()
        config["metadata"] = about
    else:
        tensors = _plain()
        config = {**about, **sizes, "hook_point": hook[0], "activation_fn_str": "relu"}
        if "-v5-" in name:  # OpenAI's, converted
            given = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
            config |= {**given, "normalize_activations": "layer_norm"}
        elif release.factor is not None:
            config["normalize_activations"] = "expected_average_only_in"
    return Stored("sae_weights.safetensors", "cfg.json", config, tensors)


def _gemma_2(release: Release, name: str, key: str) -> Stored:
    return Stored("params.npz", "", {}, _jumping())


def _gemma_3(release: Release, name: str, key: str) -> Stored:
    block = f"model.layers.{layer(release, key)}"
    before, after = (f"{block}.{each}_feedforward_layernorm.output" for each in ("pre", "post"))
    points = {
        "transcoder": (before, after),
        "resid_post": (f"{block}.output", f"{block}.output"),
        "attn_out": (f"{block}.self_attn.o_proj.input",) * 2,
        "mlp_out": (after, after),
    }
    reads, writes = next(both for kind, both in points.items() if release.folder.startswith(kind))
    model = release.repo.removeprefix("google/").replace("gemma-scope-2", "gemma-v3")
    affine = release.folder.endswith("affine")
    config = {
        "architecture": "jump_relu",
        "model_name": model,
        "hf_hook_point_in": reads,
        "hf_hook_point_out": writes,
        "affine_connection": affine,
    }
    tensors = _jumping(lower=True)
    if affine:
        tensors["affine_skip_connection"] = random(D, D, seed=5, scale=0.1)
    return Stored("params.safetensors", "config.json", config, tensors)


def _openmoss(release: Release, key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    block, sublayer = layer(release, key), re.search(r"/?L\d+([RAM])", release.folder)
    assert sublayer is not None, release
    ends = {"R": "hook_resid_post", "A": "hook_attn_out", "M": "hook_mlp_out"}
    hook = f"blocks.{block}.{ends[sublayer[1]]}"
    config = {
        "d_model": D,
        "hook_point_in": hook,
        "hook_point_out": hook,
        "act_fn": "jumprelu",
        "norm_activation": "dataset-wise",
        "expansion_factor": M / D,
    }
    tensors = {
        "encoder.weight": unit(M, D, seed=1),
        "encoder.bias": torch.zeros(M),
        "decoder.weight": unit(M, D, seed=1).T,
        "decoder.bias": torch.zeros(D),
    }
    return config, tensors


def _llama_scope(release: Release, name: str, key: str) -> Stored:
    config, tensors = _openmoss(release, key)
    config |= {"d_sae": M, "jump_relu_threshold": 0.1}
    config["dataset_average_activation_norm"] = {"in": 2.0, "out": 2.0}
    return Stored("checkpoints/final.safetensors", "hyperparams.json", config, tensors)


def _llama_scope_r1(release: Release, name: str, key: str) -> Stored:
    config, tensors = _openmoss(release, key)
    tensors["log_jumprelu_threshold"] = torch.full((M,), -2.0)
    return Stored("sae_weights.safetensors", "config.json", config, tensors)


def _dictionary_learning(release: Release, name: str, key: str) -> Stored:
    models = {
        "gemma-2-2b": "google/gemma-2-2b",
        "pythia-70m-deduped": "EleutherAI/pythia-70m-deduped",
    }
    kinds = {
        "atryoshka": "MatryoshkaBatchTopKSAE",
        "andyrdt": "BatchTopKSAE",
        "_topk": "AutoEncoderTopK",
        "gated": "GatedAutoEncoder",
        "": "AutoEncoder",
    }
    told = f"{name} {release.folder}"
    kind = next(each for sign, each in kinds.items() if sign in told)
    block = layer(release, key)
    trainer = {
        "dict_class": kind,
        "lm_name": models.get(release.model, release.model),
        "layer": block,
        "submodule_name": f"resid_post_layer_{block}",
        **({"k": dictionary_learning_files.K} if "TopK" in kind else {}),
    }
    config = {"trainer": trainer, "buffer": {"ctx_len": 128}}
    return Stored("ae.pt", "config.json", config, dictionary_learning_files.state_dict(kind))


def _qwen_scope(release: Release, name: str, key: str) -> Stored:
    k = int(release.repo.rpartition("_")[2])
    w = {"W_enc": unit(2 * k, D, seed=1), "W_dec": unit(2 * k, D, seed=1).T}
    tensors = {**w, "b_enc": torch.zeros(2 * k), "b_dec": torch.zeros(D)}
    return Stored(release.folder, "", {}, tensors)


def _attention(release: Release, name: str, key: str) -> Stored:
    hook = key.replace("hook_z", "attn.hook_z")
    config = {"act_size": D, "dict_size": M, "act_name": hook, "seq_len": 128}
    return Stored(release.folder, release.folder.replace(".pt", "_cfg.json"), config, _plain())


def _alone(release: Release, name: str, key: str) -> Stored:
    middle = "_linear" if release.loader == "goodfire" else ""
    w = _plain()
    tensors = {f"encoder{middle}.weight": w["W_enc"].T, f"decoder{middle}.weight": w["W_dec"].T}
    tensors |= {f"encoder{middle}.bias": w["b_enc"], f"decoder{middle}.bias": w["b_dec"]}
    return Stored(release.folder, "", {}, tensors)


def _transcoder(release: Release, name: str, key: str) -> Stored:
    return Stored(release.folder, "", {}, {**_plain(), "W_enc": unit(M, D, seed=1)})


def _temporal(release: Release, name: str, key: str) -> Stored:
    """One layer of attention that is as wide as two of its heads."""
    sizes = {"n_heads": 2, "n_attn_layers": 1, "bottleneck_factor": 1}
    sae = {**sizes, "exp_factor": M / D, "kval_topk": K, "sae_diff_type": "topk"}
    config = {
        "llm": {"model_hf_name": release.model, "dimin": D},
        "sae": {**sae, "tied_weights": True, "scaling_factor": release.factor},
        "data": {"context_length": 500},
    }
    attention = {
        f"attn_layers.0.{each}.{part}": random(M, *([M] if part == "weight" else []), seed=seed)
        for seed, each in enumerate(("k_ctx", "q_target", "v_ctx", "c_proj"))
        for part in ("weight", "bias")
    }
    tensors = {"D": unit(M, D, seed=1), "b": torch.zeros(1, D), **attention}
    return Stored("latest_ckpt.safetensors", "conf.yaml", config, tensors)


_LOADERS: dict[str, Callable[[Release, str, str], Stored]] = {
    "sae_lens": _sae_lens,
    "gemma_2": _gemma_2,
    "gemma_2_transcoder": _gemma_2,
    "gemma_3": _gemma_3,
    "llama_scope": _llama_scope,
    "llama_scope_r1_distill": _llama_scope_r1,
    "dictionary_learning_1": _dictionary_learning,
    "qwen_scope": _qwen_scope,
    "connor_rob_hook_z": _attention,
    "goodfire": _alone,
    "deepseek_r1": _alone,
    "mwhanna_transcoder": _transcoder,
    "temporal": _temporal,
}
