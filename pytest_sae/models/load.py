"""Loading a language model from a directory or the hub, and refusing what is none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pytest_sae.errors import ModelError
from pytest_sae.models import hub
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.outline import with_norms

WORLD = "pytest-sae/world"

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
_WEIGHTS = ("*.safetensors", "*.bin")


def load(
    name_or_path: str, device: str = "auto", dtype: torch.dtype | None = None
) -> LanguageModel:
    """Return a model with its tokenizer, frozen and in eval mode.

    A masked language model (BERT) or a sentence encoder is loaded as the encoder that it is,
    without a head: it predicts no next token.

    Args:
        name_or_path: a directory in transformers' format, a name on the Hugging Face hub
            (`owner/model` or `owner/model@revision`, used from its local cache where it is
            there), or `pytest-sae/world`, the bundled model.
        device: `auto` (a GPU if there is one), or any of torch's (`cpu`, `cuda:1`).
        dtype: None takes float32 on the CPU, so that numbers are exact, and the checkpoint's own
            type elsewhere.

    Raises:
        ModelError: no such directory or name, no configuration, no tokenizer, damaged or missing
            weights, an unknown device, or code from the repository would have to be run.
    """
    place = device_of(device)
    path = _directory(name_or_path)
    source = hub.HubName(str(path)) if path else hub.pinned(hub.parse(name_or_path))
    wanted = dtype or (torch.float32 if place.type == "cpu" else "auto")
    with _quiet_transformers():
        tokenizer = _tokenizer(source, name_or_path)
        hf, predicts = _weights(source, name_or_path, wanted)
    hf = hf.to(place).eval().requires_grad_(False)
    fingerprint = _of_files(path) if path else _of_commit(source)
    described = _of_tokenizer(tokenizer)
    return LanguageModel(hf, tokenizer, name_or_path, fingerprint, described, predicts)


def outline(name_or_path: str) -> LanguageModel:
    """Return a model of its configuration alone: its modules have sizes, and no weights.

    Its sites can be named, and `outline.width` says how wide they are, whatever its size.

    Args:
        name_or_path: as `load` takes it.

    Raises:
        ModelError: as `load`, but for what only the weights tell.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    path = _directory(name_or_path)
    source = hub.HubName(str(path)) if path else hub.pinned(hub.parse(name_or_path))
    with _quiet_transformers():
        tokenizer = _tokenizer(source, name_or_path)
        try:
            config = AutoConfig.from_pretrained(
                source.repo, revision=source.revision or "main", trust_remote_code=False
            )
            encodes = _is_encoder(config)
            kind: Any = AutoModel if encodes else AutoModelForCausalLM
            with torch.device("meta"):
                hf = kind.from_config(config, trust_remote_code=False)
        except Exception as error:  # as for weights
            raise _cannot_load("model", name_or_path, error) from error
    with_norms(hf)
    described = _of_tokenizer(tokenizer)
    return LanguageModel(hf.eval(), tokenizer, name_or_path, "", described, not encodes)


@cache
def world_fingerprint() -> str:
    """Return the fingerprint of the bundled model, wherever it is loaded from."""
    from pytest_sae import bundled_world

    return _of_files(bundled_world() / "model")


def device_of(name: str) -> torch.device:
    """Return the device of this name.

    Args:
        name: `auto` (a GPU if there is one), or any of torch's.

    Raises:
        ModelError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"--sae-device={name} is not there: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} GPUs. Expected auto or cpu, or a torch built for the GPU."
        )
    return device


def _directory(name_or_path: str) -> Path | None:
    if name_or_path == WORLD:
        from pytest_sae import bundled_world

        path = Path(bundled_world()) / "model"
    else:
        path = Path(name_or_path).expanduser()
    if path.is_dir():
        _require_files(path)
        return path
    if path.exists():
        raise ModelError(f"{path} is a file; a model is a directory with a config.json")
    if name_or_path == WORLD or name_or_path.startswith((".", "/", "~")):
        raise ModelError(
            f"no model at {path}: expected a directory with config.json, weights and a tokenizer"
        )
    return None


def _require_files(path: Path) -> None:
    there = sorted(item.name for item in path.iterdir())
    listing = ", ".join(there[:8]) or "nothing"
    if "config.json" not in there:
        raise ModelError(f"{path} has no config.json (there: {listing}): is it a model directory?")
    if not set(there).intersection(_TOKENIZER_FILES):
        raise ModelError(
            f"{path} has no tokenizer (there: {listing}): save it there with "
            "tokenizer.save_pretrained"
        )
    if not any(any(path.glob(pattern)) for pattern in _WEIGHTS):
        raise ModelError(f"{path} has no weights (there: {listing}): expected *.safetensors")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging as log

    logging: Any = log
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _tokenizer(source: hub.HubName, name: str) -> Any:
    from transformers import AutoTokenizer

    place, revision = source.repo, source.revision or "main"
    try:
        return AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise anything, even bare Exception
        raise _cannot_load("tokenizer", name, error) from error


def _weights(source: hub.HubName, name: str, dtype: torch.dtype | str) -> tuple[Any, bool]:
    """Return the model and whether it predicts next tokens."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    place = source.repo
    options: dict[str, Any] = {"revision": source.revision or "main", "trust_remote_code": False}
    try:
        encodes = _is_encoder(AutoConfig.from_pretrained(place, **options))
        loaded: Any = (AutoModel if encodes else AutoModelForCausalLM).from_pretrained(
            place, dtype=dtype, output_loading_info=True, **options
        )
    except Exception as error:  # as above; safetensors' own error has no common base with others
        raise _cannot_load("model", name, error) from error
    hf, info = loaded
    missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    # A pooler stands behind the last hidden state, where nothing is read; few checkpoints have it.
    missing = [key for key in missing if not (encodes and key.startswith("pooler."))]
    if missing:
        # transformers fills these with random numbers and only logs it.
        raise ModelError(
            f"{name}: {len(missing)} weights are missing from its files ({missing[0]}, ...): "
            "is config.json that of another model, or the directory incomplete?"
        )
    return hf, not encodes


def _is_encoder(config: Any) -> bool:
    """Whether a configuration is that of an encoder alone, trained to fill masks."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    whole = not getattr(config, "is_encoder_decoder", False)
    return masked and whole and not getattr(config, "is_decoder", False)


def _cannot_load(what: str, name: str, error: Exception) -> ModelError:
    reason = str(error).strip().split("\n")[0]
    if "connect" in reason or "offline" in str(error) or "Connection" in type(error).__name__:
        return ModelError(hub.unreachable(hub.parse(name)))
    return ModelError(
        f"cannot load the {what} {name}: {type(error).__name__}: {reason}. Expected a causal "
        "language model or an encoder of transformers, whole and without code of its own"
        f"{_perhaps_not_whole(name)}"
    )


def _perhaps_not_whole(name: str) -> str:
    """What to add offline, where transformers does not tell absent files from damaged ones."""
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE or Path(name).expanduser().exists() or name == WORLD:
        return ""
    command = hub.download_command(hub.parse(name))
    return f" (HF_HUB_OFFLINE is set: does the hub's cache have all of its files? {command})"


def _of_files(path: Path) -> str:
    digest = hashlib.sha256()
    files = [path / "config.json"]
    for pattern in _WEIGHTS:
        files += sorted(path.glob(pattern))
    for file in files:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{file.name} {content}\n".encode())
    return digest.hexdigest()


def _of_commit(named: hub.HubName) -> str:
    # A hub commit names its content, so gigabytes of weights need not be read again.
    return hashlib.sha256(str(named).encode()).hexdigest()


def _of_tokenizer(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend else repr(sorted(tokenizer.get_vocab().items()))
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return hashlib.sha256(f"{content}\n{special}".encode()).hexdigest()
