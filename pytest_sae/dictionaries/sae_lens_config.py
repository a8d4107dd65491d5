"""The `cfg.json` of sae_lens, of all its versions, read strictly; no sae_lens import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.normalise import PER_TOKEN
from pytest_sae.dictionaries.weights import read_json
from pytest_sae.errors import DictionaryError

_BIASED = ("W_enc", "W_dec", "b_enc", "b_dec")
TENSORS: dict[str, tuple[str, ...]] = {
    "standard": _BIASED,
    "topk": _BIASED,
    "jumprelu": (*_BIASED, "threshold"),
    "gated": ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"),
}
# Trained under one name and saved under another; on disk only unfinished training has these.
_TRAINING_ONLY = ("batchtopk", "matryoshka_batchtopk")
# TransformerLens' changes of the weights that change what a site holds.
_PROCESSING = ("center_writing_weights", "fold_ln", "fold_value_biases")
_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


@dataclass(frozen=True)
class Config:
    """What the files of a sae_lens SAE declare, checked.

    Args:
        architecture: a key of `TENSORS`.
        d_in: width of the site.
        d_sae: number of latents.
        normalisation: `none` or a key of `normalise.PER_TOKEN`.
        options: the remaining keys, as they stand; sae_lens knows which of them it needs.
        info: what it says about model, site and training.
    """

    architecture: str
    d_in: int
    d_sae: int
    normalisation: str
    options: Mapping[str, object]
    info: DictionaryInfo


def read(path: Path, source: str) -> Config:
    """Return the checked configuration of a `cfg.json`.

    Raises:
        DictionaryError: no JSON, an unknown architecture, missing or impossible sizes, k or
            normalisation, or processing of the model that cannot be repeated.
    """
    raw = read_json(path)
    config = raw if _is_modern(raw, source) else _modern(raw, source)
    architecture = _architecture(config, source)
    d_in, d_sae = (preflight.count(config, name, source) for name in ("d_in", "d_sae"))
    if architecture == "topk":
        preflight.count(config, "k", source, most=d_sae)
    for name in ("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"):
        preflight.flag(config, name, source)
    normalisation = config.get("normalize_activations", "none")
    preflight.folded(normalisation, tuple(PER_TOKEN), source)
    metadata = _metadata(config, source)
    _refuse_processing(metadata, source)
    info = _info(config, metadata, architecture, source)
    return Config(architecture, d_in, d_sae, str(normalisation), config, info)


def _is_modern(raw: Mapping[str, object], source: str) -> bool:
    version = raw.get("sae_lens_version") or _metadata(raw, source).get("sae_lens_version")
    return bool(version) and not str(version).startswith(("0.", "1.", "2.", "3.", "4.", "5."))


def _modern(raw: Mapping[str, object], source: str) -> dict[str, object]:
    """The 6.0 form of an older configuration, which kept everything in one flat object."""
    config = {_RENAMED.get(name, name): value for name, value in raw.items()}
    activation = config.get("activation_fn", "relu")
    if activation not in ("relu", "topk") or config.get("finetuning_scaling_factor"):
        raise DictionaryError(
            f"{source} was saved before sae_lens 6.0 with activation_fn = {activation!r} and "
            f"finetuning_scaling_factor = {config.get('finetuning_scaling_factor', False)!r}. "
            "Expected relu or topk without a scaling factor, all that sae_lens still computes: "
            "fold it with the version that trained it and save again."
        )
    config.setdefault("architecture", "standard")
    if activation == "topk":
        config["architecture"] = "topk"
        arguments = config.get("activation_fn_kwargs")
        if isinstance(arguments, dict) and "k" in arguments:
            config["k"] = arguments["k"]
    normalisation = config.get("normalize_activations")
    if normalisation is None or isinstance(normalisation, bool):
        config["normalize_activations"] = "expected_average_only_in" if normalisation else "none"
    config.setdefault("prepend_bos", True)
    return {**config, "metadata": {**config, **_metadata(raw, source)}}


def _architecture(config: Mapping[str, object], source: str) -> str:
    architecture = config.get("architecture")
    if isinstance(architecture, str) and architecture in TENSORS:
        return architecture
    if architecture in _TRAINING_ONLY:
        advice = "it is a training checkpoint: save it with save_inference_model()"
    else:
        advice = "correct `architecture`, or save the SAE again"
    raise DictionaryError(
        f"{source} declares the architecture {architecture!r}. Expected one of "
        f"{', '.join(sorted(TENSORS))} (batchtopk and matryoshka are saved as jumprelu): {advice}."
    )


def _metadata(config: Mapping[str, object], source: str) -> Mapping[str, object]:
    metadata = config.get("metadata") or {}
    if isinstance(metadata, dict):
        return metadata
    raise DictionaryError(
        f"{source}: `metadata` is a {type(metadata).__name__}. Expected an object with model_name "
        "and hook_name: correct the configuration."
    )


def _refuse_processing(metadata: Mapping[str, object], source: str) -> None:
    arguments = metadata.get("model_from_pretrained_kwargs") or {}
    processing = [
        name for name in _PROCESSING if isinstance(arguments, dict) and arguments.get(name)
    ]
    if processing:
        raise DictionaryError(
            f"{source} was trained on a model with {' and '.join(processing)}, whose activations "
            "are not those of the Hugging Face model. Expected an SAE of the unprocessed model: "
            "train it without, or fold the processing into its weights."
        )
    head = metadata.get("hook_head_index")
    if head is not None:
        raise DictionaryError(
            f"{source} reads one attention head only (hook_head_index = {head}). Expected an SAE "
            "of all heads of the site."
        )


def _info(
    config: Mapping[str, object], metadata: Mapping[str, object], architecture: str, source: str
) -> DictionaryInfo:
    trained_as = metadata.get("training_architecture")
    trained_as = trained_as if trained_as in _TRAINING_ONLY else architecture
    hook = _text(metadata, "hook_name", source) or _text(metadata, "hf_hook_name", source)
    context, bos = metadata.get("context_size"), metadata.get("prepend_bos")
    return DictionaryInfo(
        source=source,
        family=f"sae_lens.{trained_as}",
        model=_text(metadata, "model_name", source),
        hook_in=hook,
        hook_out=_text(metadata, "hook_name_out", source) or hook,
        context_size=context if isinstance(context, int) and context > 0 else None,
        prepend_bos=bos if isinstance(bos, bool) else None,
        k=_trained_k(config, metadata),
    )


def _trained_k(config: Mapping[str, object], metadata: Mapping[str, object]) -> int | None:
    # BatchTopK keeps k latents per token on average; its k survives only in the training details.
    details = metadata.get("training_architecture_details")
    kept = details.get("k") if isinstance(details, dict) else None
    k = config.get("k", kept)
    return round(k) if isinstance(k, (int, float)) and k >= 1 else None


def _text(metadata: Mapping[str, object], name: str, source: str) -> str | None:
    value = metadata.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise DictionaryError(f"{source}: {name} is {value!r}. Expected a text: correct `metadata`.")
