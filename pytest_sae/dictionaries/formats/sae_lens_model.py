"""Which model a sae_lens SAE was trained on: its checkpoint, and what was done to its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_sae.dictionaries.formats.sae_lens_settings import ARGUMENTS, PROCESSED
from pytest_sae.dictionaries.keys import Keys, names
from pytest_sae.errors import DictionaryError

#: What `HookedTransformer.from_pretrained` and transformers' take, as `ARGUMENTS` has it.
ARGUMENT_KEYS = Keys(
    used=(
        *PROCESSED,
        "refactor_factored_attn_matrices",
        "revision",
        "checkpoint_index",
        "checkpoint_value",
        "checkpoint_label",
    ),
    harmless=names(
        """
        center_unembed device n_devices move_to_device device_map max_memory low_cpu_mem_usage
        offload_folder dtype torch_dtype default_padding_side default_prepend_bos first_n_layers
        n_ctx attn_implementation use_cache trust_remote_code cache_dir token use_auth_token
        local_files_only force_download use_safetensors verbose
        """
    ),
    told=dict.fromkeys(
        ("load_in_8bit", "load_in_4bit", "quantization_config"),
        "the model's weights were rounded in training, and are not here",
    ),
    strict=True,
)
_CLASS = "model_class_name"
_VERSION, _TRAINING_VERSION = "sae_lens_version", "sae_lens_training_version"
# Until then HookedTransformer.from_pretrained was called, and from_pretrained_no_processing since;
# what was switched on is written only since then too.
_UNPROCESSED_SINCE = (3, 19, 2)
_PYTHIA_V0 = tuple(range(1000, 143_001, 1000))
_PYTHIA = (0, *(2**power for power in range(10)), *_PYTHIA_V0)
_STANFORD = (
    *range(0, 100, 10),
    *range(100, 2000, 50),
    *range(2000, 20_000, 100),
    *range(20_000, 400_001, 1000),
)


@dataclass(frozen=True)
class Trained:
    """The model's class and arguments.

    Args:
        on: as `models.processing` reads them, with the defaults of the version.
        perhaps: processing of which it is not known whether it was done.
        remarks: what was taken for granted.
    """

    on: Mapping[str, object] = field(default_factory=dict)
    perhaps: Mapping[str, bool] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def trained(config: Mapping[str, object], metadata: Mapping[str, object]) -> Trained:
    """Return what the SAE was trained on, by its configuration or by the version that trained it.

    Args:
        config: of the 6.0 form.
        metadata: of it.
    """
    on = {name: metadata[name] for name in (_CLASS, ARGUMENTS) if name in metadata}
    stated = metadata.get(ARGUMENTS) or {}
    hooked = metadata.get(_CLASS) in (None, "HookedTransformer")
    if not hooked or not isinstance(stated, Mapping):
        return Trained(on)
    silent = {name: True for name in PROCESSED if name not in stated}
    version = _training_version(config, metadata)
    if version is None:
        return Trained(on, perhaps=silent)
    if version >= _UNPROCESSED_SINCE or not silent:
        return Trained(on)
    remark = (
        f"sae_lens {'.'.join(map(str, version))} trained on processed weights, and nothing else is "
        f"said: {', '.join(silent)} are taken for true"
    )
    return Trained({**on, ARGUMENTS: {**silent, **stated}}, remarks=(remark,))


def revision(model: object, metadata: Mapping[str, object], source: str) -> str | None:
    """Return the revision of the model on the hub that its arguments name, None for none.

    Args:
        model: its name.
        metadata: of a configuration of the 6.0 form.
        source: what messages call the dictionary.

    Raises:
        DictionaryError: a checkpoint of TransformerLens that is no revision on the hub.
    """
    stated = metadata.get(ARGUMENTS)
    arguments = stated if isinstance(stated, Mapping) else {}
    if arguments.get("revision") is not None:
        return str(arguments["revision"])
    names = ("checkpoint_index", "checkpoint_value", "checkpoint_label")
    given = {name: arguments[name] for name in names if arguments.get(name) is not None}
    if not given:
        return None
    form, labels = _checkpoints(str(model))
    name, value = next(iter(given.items()))
    found = _labelled(labels, name, value)
    if found is not None:
        return form.format(found)
    raise DictionaryError(
        f"{source} declares the checkpoint {name} = {value!r} of {model}. Expected one of Pythia's "
        "or Stanford's, whose revisions on the hub are known: say "
        f"--sae=sae_lens,model=owner/model@revision:{source}"
    )


def _labelled(labels: tuple[int, ...], name: str, value: object) -> int | None:
    """The step of training that a checkpoint's index or label means."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if name == "checkpoint_index":
        return labels[value] if -len(labels) <= value < len(labels) else None
    return value if value in labels else None


def _checkpoints(model: str) -> tuple[str, tuple[int, ...]]:
    """How the hub calls a model's checkpoints, and which TransformerLens knows of them."""
    if "pythia" in model:
        return "step{}", _PYTHIA_V0 if "v0" in model else _PYTHIA
    if "stanford" in model:
        return "checkpoint-{}", _STANFORD
    return "", ()


def _training_version(
    config: Mapping[str, object], metadata: Mapping[str, object]
) -> tuple[int, ...] | None:
    """The version that trained it; one that only saved it again says null for that."""
    stated = next((each for each in (metadata, config) if _TRAINING_VERSION in each), None)
    if stated is not None:
        return _parsed(stated[_TRAINING_VERSION])
    return _parsed(metadata.get(_VERSION) or config.get(_VERSION))


def _parsed(version: object) -> tuple[int, ...] | None:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", str(version))
    return tuple(map(int, match.groups())) if match else None
