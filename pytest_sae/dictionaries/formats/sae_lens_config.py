"""The `cfg.json` of sae_lens, of all its versions, read strictly; no sae_lens import."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.content import Content, declared
from pytest_sae.dictionaries.formats import (
    nested,
    sae_lens_model,
    sae_lens_settings,
    sae_lens_unfolded,
)
from pytest_sae.dictionaries.formats.normalise import PER_TOKEN
from pytest_sae.errors import DictionaryError

_BIASED = ("W_enc", "W_dec", "b_enc", "b_dec")
TENSORS: dict[str, tuple[str, ...]] = {
    "standard": _BIASED,
    "topk": _BIASED,
    "abstopk": _BIASED,
    "jumprelu": (*_BIASED, "threshold"),
    "gated": ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"),
    "matching_pursuit": ("W_dec", "b_dec"),
    "transcoder": _BIASED,
    "skip_transcoder": (*_BIASED, "W_skip"),
    "jumprelu_transcoder": (*_BIASED, "threshold"),
    "jumprelu_skip_transcoder": (*_BIASED, "threshold", "W_skip"),
}
TEMPORAL = "temporal"  # its tensors depend on its layers: `temporal` knows them
TRANSCODERS = tuple(name for name in TENSORS if name.endswith("transcoder"))
_SELECTING = ("topk", "abstopk")
# A pursuit takes rows of length 1 for granted, and a temporal SAE has a factor of its own.
_UNSCALED = ("matching_pursuit", TEMPORAL)
# Trained under one name and saved under another; on disk only unfinished training has these.
_TRAINING_ONLY = ("batchtopk", "matryoshka_batchtopk")
_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


@dataclass(frozen=True)
class Config:
    """What the files of a sae_lens SAE declare, checked.

    Args:
        architecture: a key of `TENSORS`, or `TEMPORAL`.
        d_in: width of the site that is read.
        d_out: width of what is reconstructed; another one for some transcoders.
        d_sae: number of latents.
        normalisation: `none`, a key of `normalise.PER_TOKEN`, or of a temporal SAE
            `constant_scalar_rescale`.
        factor: what activations were multiplied by in training and the weights have not folded
            in, None where there is no such number.
        options: the remaining keys, as they stand; sae_lens knows which of them it needs.
        info: what it says about model, site and training.
    """

    architecture: str
    d_in: int
    d_out: int
    d_sae: int
    normalisation: str
    factor: float | None
    options: Mapping[str, object]
    info: DictionaryInfo


def read(content: Content) -> Config:
    """Return the checked configuration of a `cfg.json`.

    Raises:
        DictionaryError: an unknown architecture, or missing or impossible sizes, k, head or
            normalisation.
    """
    raw, source = content.config, content.source
    preflight.configured(raw, "sae_lens", source)
    config = raw if _is_modern(raw, source) else _modern(raw, source)
    config = sae_lens_settings.corrected(config, content)
    architecture = _architecture(config, source)
    d_in, d_sae = (preflight.count(config, name, source) for name in ("d_in", "d_sae"))
    d_out = preflight.count(config, "d_out", source) if architecture in TRANSCODERS else d_in
    if architecture in _SELECTING:
        preflight.count(config, "k", source, most=d_sae)
    for name in ("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"):
        preflight.flag(config, name, source)
    factor = _factor(content, config, architecture)
    normalisation = "none" if factor else _normalisation(config, architecture, content)
    metadata = _metadata(config, source)
    _refuse_pursuit(config, architecture, max(d_in, d_sae), source)
    info = _info(content, config, metadata, architecture, d_sae)
    return Config(architecture, d_in, d_out, d_sae, normalisation, factor, config, info)


def _factor(content: Content, config: Mapping[str, object], architecture: str) -> float | None:
    """The factor that is to be folded, where there is one and it can be."""
    factor = sae_lens_settings.norm_factor(content)
    if factor is None:
        return None
    declared = config.get("normalize_activations", "none")
    if declared != sae_lens_settings.SCALED:
        raise DictionaryError(
            f"{content.source} is given norm_factor={factor:g} and has normalize_activations = "
            f"{declared!r}. Expected {sae_lens_settings.SCALED}, whose factor it is: leave it out, "
            f"or say normalize_activations={sae_lens_settings.SCALED} beside it."
        )
    if architecture in _UNSCALED or architecture in TRANSCODERS:
        raise DictionaryError(
            f"{content.source} is given norm_factor={factor:g}, which cannot be folded into the "
            f"weights of the architecture {architecture}. Expected one whose input and output are "
            "of one scale and whose rows may have any length: save it for activations as they are."
        )
    return factor


def _normalisation(config: Mapping[str, object], architecture: str, content: Content) -> str:
    normalisation, source = config.get("normalize_activations", "none"), content.source
    known = ("constant_scalar_rescale",) if architecture == TEMPORAL else tuple(PER_TOKEN)
    if normalisation not in ("none", *known):
        raise DictionaryError(sae_lens_unfolded.explain(content, normalisation, known))
    if architecture not in TRANSCODERS:
        return str(normalisation)
    # sae_lens normalises what a transcoder reads and leaves what it writes and skips as it is.
    if normalisation != "none" or config.get("apply_b_dec_to_input", True):
        raise DictionaryError(
            f"{source} is a transcoder with normalize_activations = {normalisation!r} and "
            f"apply_b_dec_to_input = {config.get('apply_b_dec_to_input', True)!r}. Expected none "
            "and false: its bias belongs to the site that it writes."
        )
    return "none"


def _refuse_pursuit(
    config: Mapping[str, object], architecture: str, most: int, source: str
) -> None:
    """Refuse stopping rules of matching pursuit that are missing, or under which it never stops."""
    if architecture != "matching_pursuit":
        return
    preflight.flag(config, "stop_on_duplicate_support", source)
    if config.get("max_iterations") is not None:
        preflight.count(config, "max_iterations", source, most=most)
    threshold = config.get("residual_threshold")
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not number or not math.isfinite(threshold):  # type: ignore[arg-type]
        raise DictionaryError(
            f"{source} declares residual_threshold = {threshold!r}. Expected the number at which "
            "its pursuit stops: add it as it was in training."
        )


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
    if "topk" in (activation, config["architecture"]):
        config["architecture"] = "topk"
        arguments = config.get("activation_fn_kwargs")
        if isinstance(arguments, Mapping) and "k" in arguments:
            config["k"] = arguments["k"]
    normalisation = config.get("normalize_activations")
    if normalisation is None or isinstance(normalisation, bool):
        config["normalize_activations"] = "expected_average_only_in" if normalisation else "none"
    config.setdefault("prepend_bos", True)
    return {**config, "metadata": {**config, **_metadata(raw, source)}}


def _architecture(config: Mapping[str, object], source: str) -> str:
    architecture = config.get("architecture")
    if isinstance(architecture, str) and architecture in (*TENSORS, TEMPORAL):
        return architecture
    if architecture in _TRAINING_ONLY:
        advice = "it is a training checkpoint: save it with save_inference_model()"
    else:
        advice = "correct `architecture`, or save the SAE again"
    raise DictionaryError(
        f"{source} declares the architecture {architecture!r}. Expected one of "
        f"{', '.join(sorted((*TENSORS, TEMPORAL)))} (batchtopk and matryoshka are saved as "
        f"jumprelu): {advice}."
    )


def _metadata(config: Mapping[str, object], source: str) -> Mapping[str, object]:
    metadata = config.get("metadata") or {}
    if isinstance(metadata, dict):
        return metadata
    raise DictionaryError(
        f"{source}: `metadata` is a {type(metadata).__name__}. Expected an object with model_name "
        "and hook_name: correct the configuration."
    )


def _head(metadata: Mapping[str, object], source: str) -> int | None:
    head = metadata.get("hook_head_index")
    if head is None or (isinstance(head, int) and not isinstance(head, bool) and head >= 0):
        return head
    raise DictionaryError(
        f"{source} declares hook_head_index = {head!r}. Expected the index of one attention head, "
        "from 0, or null for all of them: correct the configuration."
    )


def _hook(metadata: Mapping[str, object], end: str = "") -> object:
    """Return the hook that is read (or, with `_out`, written).

    sae_lens calls what a norm gives `hook_mlp_in`, which is the stream before the norm elsewhere;
    the module's own path is not mistaken.
    """
    name, path = metadata.get(f"hook_name{end}"), metadata.get(f"hf_hook_name{end}")
    return path if path and (not name or str(name).endswith("hook_mlp_in")) else name


def _info(
    content: Content,
    config: Mapping[str, object],
    metadata: Mapping[str, object],
    architecture: str,
    d_sae: int,
) -> DictionaryInfo:
    trained_as = metadata.get("training_architecture")
    trained_as = trained_as if trained_as in _TRAINING_ONLY else architecture
    trained, model = sae_lens_model.trained(config, metadata), metadata.get("model_name")
    info = declared(
        content,
        f"sae_lens.{trained_as}",
        model=model,
        revision=_revision(content, model, metadata),
        hook_in=_hook(metadata),
        hook_out=_hook(metadata, "_out"),
        context_size=metadata.get("context_size"),
        prepend_bos=metadata.get("prepend_bos"),
        k=_trained_k(config, metadata),
    )
    return replace(
        info,
        prefixes=nested.widths(_details(metadata).get("matryoshka_widths"), d_sae),
        head=_head(metadata, content.source),
        trained_on=trained.on,
        perhaps=trained.perhaps,
        remarks=trained.remarks,
    )


def _revision(content: Content, model: object, metadata: Mapping[str, object]) -> str | None:
    """The model's revision; what the user calls the model says it itself."""
    if "model" in content.settings:
        return None
    return sae_lens_model.revision(model, metadata, content.source)


def _details(metadata: Mapping[str, object]) -> Mapping[str, object]:
    details = metadata.get("training_architecture_details")
    return details if isinstance(details, dict) else {}


def _trained_k(config: Mapping[str, object], metadata: Mapping[str, object]) -> int | None:
    # BatchTopK keeps k latents per token on average; its k survives only in the training details.
    k = config.get("k", config.get("kval_topk", _details(metadata).get("k")))
    return round(k) if isinstance(k, (int, float)) and 1 <= k < math.inf else None
