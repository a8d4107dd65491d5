"""Sentence embeddings by an encoder of transformers, with the pooling that its files declare.

    load(name_or_path, device) -> Embedder
    embedder(texts) -> (text, d)

A directory that sentence-transformers wrote says in `modules.json` what comes after the encoder:
pooling (the first token, the mean or the maximum over tokens) and perhaps a normalisation. What is
declared is done, and whatever is not one of these is refused: another pooling gives vectors that
look as good and mean nothing. A directory without that file is pooled by the mean over tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pytest_sae.errors import ModelError
from pytest_sae.models import hub
from pytest_sae.models.load import _directory, _quiet_transformers, _tokenizer, device_of
from pytest_sae.models.tokenize import grouped
from pytest_sae.numbers.bootstrap import Floats

Pooling = Literal["cls", "mean", "max"]

_TOKENS = 8192  # of a batch, padding included
_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True)
class EmbeddingRecipe:
    """What is done with a text before and with its token vectors after the encoder.

    Args:
        pooling: from token vectors to one vector.
        normalise: whether it is scaled to length 1 (a cosine does not see it).
        lower: whether texts are written in lower case first.
        longest: most tokens of a text, None for the encoder's own limit.
    """

    pooling: Pooling = "mean"
    normalise: bool = False
    lower: bool = False
    longest: int | None = None


@dataclass(frozen=True, eq=False)
class Embedder:
    """A frozen encoder with its tokenizer; calling it embeds texts.

    Args:
        hf: the encoder, in eval mode.
        tokenizer: its tokenizer.
        name: as the user wrote it.
        recipe: what its files declare.
    """

    hf: Any
    tokenizer: Any
    name: str
    recipe: EmbeddingRecipe

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Return (text, d) float64, one row per text; longer texts are cut at the limit."""
        if not texts:
            return np.zeros((0, int(self.hf.config.hidden_size)))
        given = [text.lower() for text in texts] if self.recipe.lower else list(texts)
        ids = self._ids(sorted(set(given)))
        found: dict[str, Floats] = {}
        ordered = sorted(ids, key=lambda text: (len(ids[text]), text))
        for batch in grouped(ordered, lambda text: len(ids[text]), _TOKENS):
            rows = self._embed([ids[text] for text in batch])
            found.update(zip(batch, rows.double().cpu().numpy(), strict=True))
        return np.stack([found[text] for text in given])

    def _ids(self, texts: list[str]) -> dict[str, list[int]]:
        limits = (
            self.recipe.longest,
            self.tokenizer.model_max_length,
            getattr(self.hf.config, "max_position_embeddings", None),
        )
        longest = min(limit for limit in limits if limit is not None)
        encoded = self.tokenizer(texts, truncation=True, max_length=longest, verbose=False)
        return dict(zip(texts, encoded["input_ids"], strict=True))

    @torch.no_grad()
    def _embed(self, rows: Sequence[Sequence[int]]) -> Tensor:
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.full(mask.shape, self.tokenizer.pad_token_id)
        ids[mask] = torch.tensor([token for row in rows for token in row])
        device = next(self.hf.parameters()).device
        ids, mask = ids.to(device), mask.to(device)
        hidden = self.hf(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        pooled = pool(hidden.float(), mask, self.recipe.pooling)
        return torch.nn.functional.normalize(pooled, dim=1) if self.recipe.normalise else pooled


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector per text, (text, d).

    Args:
        hidden: (text, pos, d).
        mask: (text, pos) bool, False at padding.
        pooling: the first token that is no padding, or mean or maximum over those tokens.
    """
    if pooling == "cls":
        return hidden[torch.arange(len(hidden)), mask.int().argmax(1)]
    if pooling == "max":
        return hidden.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def load(name_or_path: str, device: str = "auto") -> Embedder:
    """Return an encoder, frozen, in float32.

    Args:
        name_or_path: a directory in transformers' or sentence-transformers' format, or a name on
            the hub, `owner/model` or `owner/model@revision`.
        device: as for `models.load`.

    Raises:
        ModelError: no such encoder, weights missing, or a pooling that is not known here.
    """
    place = device_of(device)
    path = _directory(name_or_path) or _fetched(name_or_path)
    recipe = _recipe(path)
    with _quiet_transformers():
        tokenizer = _tokenizer(hub.HubName(str(path)), name_or_path)
        hf = _encoder(path, name_or_path)
    if tokenizer.pad_token_id is None or hf.config.is_encoder_decoder:
        what = "has a decoder" if hf.config.is_encoder_decoder else "has no padding token"
        raise ModelError(f"the embedder {name_or_path} {what}. Expected an encoder, like BERT")
    return Embedder(hf.to(place).eval().requires_grad_(False), tokenizer, name_or_path, recipe)


def _fetched(name: str) -> Path:
    """Download what an encoder needs, or find it in the hub's cache; nothing that is code."""
    from huggingface_hub import snapshot_download

    named = hub.parse(name)
    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*/config.json"]
    try:
        found = snapshot_download(
            named.repo, revision=named.revision, allow_patterns=wanted, ignore_patterns=["onnx/*"]
        )
        return Path(found)
    except Exception as error:  # the hub client raises its own, requests' and OS errors
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"the embedder {name} is neither a directory here nor to be had from the hub "
            f"({type(error).__name__}: {reason}): pass a directory, or fetch it first "
            f"({hub.download_command(named)})"
        ) from error


def _encoder(path: Path, name: str) -> Any:
    from transformers import AutoModel

    try:
        loaded: Any = AutoModel.from_pretrained(
            path, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # transformers and safetensors raise anything
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"cannot load the embedder {name}: {type(error).__name__}: {reason}. Expected an "
            "encoder of transformers, whole and without code of its own"
        ) from error
    hf, info = loaded
    # A pooler on top of the first token is never used here, and often not in the files.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing or info["mismatched_keys"]:
        raise ModelError(
            f"the embedder {name}: weights are missing from its files or have another shape "
            f"({[*missing, *info['mismatched_keys']][0]}): is the directory incomplete?"
        )
    return hf


def _recipe(path: Path) -> EmbeddingRecipe:
    """Read what sentence-transformers wrote beside the encoder."""
    listed = path / "modules.json"
    if not listed.exists():
        return EmbeddingRecipe()
    kinds = [(str(each.get("type", "")).rsplit(".", 1)[-1], each) for each in _modules(listed)]
    names = [kind for kind, _ in kinds]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelError(
            f"{listed} declares {' > '.join(names) or 'nothing'}; only Transformer > Pooling and "
            "Transformer > Pooling > Normalize are known: pick another embedder"
        )
    if kinds[0][1].get("path"):
        raise ModelError(f"{listed} keeps its encoder in {kinds[0][1]['path']}/: pass its copy")
    _refuse_prompts(path / "config_sentence_transformers.json")
    texts = _object(path / "sentence_bert_config.json")
    longest = texts.get("max_seq_length")
    return EmbeddingRecipe(
        _pooling(path / str(kinds[1][1].get("path", "")) / "config.json"),
        "Normalize" in names,
        texts.get("do_lower_case") is True,
        longest if isinstance(longest, int) else None,
    )


def _modules(path: Path) -> list[Mapping[str, Any]]:
    found = _json(path)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ModelError(f"{path} is no list of modules: is it from sentence-transformers?")
    return found


def _pooling(path: Path) -> Pooling:
    config = _object(path)
    modes = [name for name, value in config.items() if name.startswith("pooling_mode") and value]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelError(
            f"{path} asks for {', '.join(modes) or 'no pooling'}; known is exactly one of "
            f"{', '.join(_POOLINGS)}: pick another embedder"
        )
    return _POOLINGS[modes[0]]


def _refuse_prompts(path: Path) -> None:
    prompt = _object(path).get("default_prompt_name")
    if prompt is not None:
        raise ModelError(
            f"{path} puts its prompt {prompt!r} before every text, which is not done here: pick "
            "another embedder"
        )


def _object(path: Path) -> Mapping[str, Any]:
    found = _json(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise ModelError(f"{path} is no JSON object: is it from sentence-transformers?")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
