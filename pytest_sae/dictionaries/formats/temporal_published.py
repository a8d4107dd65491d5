"""Temporal SAEs as their authors publish them, `conf.yaml` and `latest_ckpt.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries.keys import Keys, names

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.content import Content

_MOST = 2**31
_SHARED = names("n_heads n_attn_layers bottleneck_factor sae_diff_type kval_topk tied_weights")
KEYS = Keys(
    harmless=names("deploy tag seed device_id optimizer eval log defaults hydra"),
    inside={
        "llm": Keys(used=("model_hf_name", "dimin"), harmless=("tokenizer_hf_name",)),
        "sae": Keys(
            used=(*_SHARED, "exp_factor", "scaling_factor"),
            # Where it was trained, `block_id` is 1 of all layers.
            harmless=names("sae_type block_id gamma_reg"),
        ),
        "data": Keys(
            used=("context_length",),
            harmless=names("epochs num_total_steps batch_size dtype hf_name num_workers cache_dir"),
        ),
    },
)


def recognise(content: Content) -> bool:
    """Whether weights and configuration have the names that the authors' code gives them."""
    return content.tensors.keys() >= {"D", "b"} and content.config.keys() >= {"llm", "sae"}


def converted(content: Content) -> Content:
    """Return the content in the form that sae_lens gives it, any other as it is.

    Their code multiplies activations by `scaling_factor` before it, and reads a module of the model
    as transformers loads it, from BOS on; which layer, the file does not say.

    Args:
        content: of any dictionary of the family.
    """
    if not recognise(content):
        return content
    llm, sae, data = (_object(content.config, name) for name in ("llm", "sae", "data"))
    metadata = {
        "sae_lens_version": "6.0.0",  # whose form this is
        "model_name": llm.get("model_hf_name"),
        "model_class_name": "AutoModelForCausalLM",
        "context_size": data.get("context_length"),
        "prepend_bos": True,
    }
    config = {
        "architecture": "temporal",
        "d_in": llm.get("dimin"),
        "d_sae": _latents(llm.get("dimin"), sae.get("exp_factor")),
        **{name: sae[name] for name in _SHARED if name in sae},
        "normalize_activations": "constant_scalar_rescale",
        "activation_normalization_factor": sae.get("scaling_factor"),
        "apply_b_dec_to_input": True,
        "metadata": metadata,
    }
    return replace(content, config=config, tensors=_renamed(content.tensors))


def _object(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def _latents(width: object, factor: object) -> int | None:
    """How many there are, None where that is not said, which whoever counts them refuses."""
    if not isinstance(width, int) or not isinstance(factor, (int, float)):
        return None
    return int(width * factor) if 0 < width < _MOST and 0 < factor < _MOST else None


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs = {"D": "W_dec", "b": "b_dec", "E": "W_enc"}
    named = {theirs.get(name, name): tensor for name, tensor in tensors.items()}
    return {**named, "b_dec": named["b_dec"].flatten()}  # (1, d) in their module
