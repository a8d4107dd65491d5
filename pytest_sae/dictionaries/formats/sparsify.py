"""EleutherAI's sparsify: TopK and groupmax SAEs, transcoders and skip transcoders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import SkipDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared, switch_setting
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import group_max, signed_top_k, top_k
from pytest_sae.dictionaries.keys import Keys, Refused, names
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

NAME = "sparsify"
SETTINGS = ("transcode",)
_CODER = Keys(
    used=names(
        """
        d_in num_latents expansion_factor k activation signed skip_connection transcode hookpoint
        """
    ),
    harmless=("normalize_decoder", "multi_topk", "init_b_dec_as_zeros"),
    told={"gram_table_hash": "of the table that gram_lookup names"},
    refused={
        "embed_skip": Refused((False,), "it reads the embeddings beside its site"),
        "gram_lookup": Refused((False,), "a table of n-grams is subtracted from what it reads"),
        "batch_topk": Refused((False,), "its latents depend on the other tokens of a batch"),
    },
)
# Of a whole run: its model, and what it was trained on.
_RUN = Keys(
    used=("model", "revision", "ctx_len"),
    harmless=names(
        """
        layers hookpoints dataset split max_examples text_column shuffle_seed data_args hf_token
        resume finetune data_preprocessing_num_proc batch_size grad_acc_steps micro_acc_steps
        loss_fn optimizer lr lr_warmup_steps k_decay_steps auxk_alpha dead_feature_threshold
        init_seeds layer_stride distribute_modules save_every save_best save_dir log_to_wandb
        run_name wandb_log_frequency end_to_end lookup_max_order gram_table_path
        """
    ),
    told={
        "load_in_8bit": "the model's weights were rounded in training, and are not here",
        "exclude_tokens": "tokens that it was not trained on are measured all the same",
    },
    inside={"sae": _CODER},
)
KEYS = _CODER.together(_RUN)
_TENSORS = frozenset({"encoder.weight", "encoder.bias", "W_dec", "b_dec"})
_ACTIVATIONS = ("topk", "groupmax")
# A block or a module in it, as the trainer names directories: layers.3, h.3.mlp.
_HOOKPOINT = re.compile(r"(?:\w+\.)*(?:layers|h|blocks|block)\.(\d+)(?:\.(\w+))*")
_SEED = re.compile(r"seed\d+")


@dataclass(frozen=True)
class _Config:
    """What cfg.json says, checked."""

    d_in: int
    d_sae: int
    k: int
    activation: str
    signed: bool
    transcode: bool
    skip: bool

    def kind(self) -> str:
        return ("skip_" if self.skip else "") + ("transcoder" if self.transcode else "sae")


def recognise(content: Content) -> bool:
    """Whether names of tensors are this family's, and a configuration says k and the rest."""
    names = content.tensors.keys()
    known = names >= _TENSORS and not names & {"decoder.weight", "decoder"}
    return known and bool(content.config)


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return x̂ = select(relu((x - b_dec) W_encᵀ + b_enc)) W_dec + b_dec + x W_skipᵀ.

    Transcoders subtract no b_dec; W_skip comes with skip_connection, and is no latent's. Early
    releases with `signed` keep the k latents that are largest in size, without the relu.

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    check_settings(content, NAME, SETTINGS)
    config = _read(content)
    _check(content, config)
    computing = computing_dtype(content.tensors, dtype)
    w = {name: t.to(device=device, dtype=computing) for name, t in content.tensors.items()}
    options = {"format": NAME, "dtype": str(computing), **asdict(config)}
    return SkipDictionary(
        encode=_encoder(config, w),
        rows=w["W_dec"],
        bias=w["b_dec"],
        encoder_rows=w["encoder.weight"],
        info=_info(content, config),
        fingerprint=fingerprint(content.tensors, options),
        skip=w.get("W_skip"),
    )


def _read(content: Content) -> _Config:
    config, source = content.config, content.source
    preflight.configured(config, NAME, source)
    for name in ("signed", "transcode", "skip_connection"):
        preflight.flag(config, name, source)
    d_in = preflight.count(config, "d_in", source)
    d_sae = _d_sae(content, d_in)
    activation = config.get("activation", "topk")
    signed = config.get("signed", False)
    if activation not in _ACTIVATIONS or (signed and activation != "topk"):
        raise DictionaryError(
            f"{source} declares activation = {activation!r} with signed = {signed}. Expected "
            f"{' or '.join(_ACTIVATIONS)}, signed with topk alone: correct cfg.json."
        )
    k = preflight.count(config, "k", source, most=d_sae)
    if activation == "groupmax" and d_sae % k:
        raise DictionaryError(
            f"{source} declares groupmax with k = {k} for {d_sae} latents. Expected a divisor of "
            f"{d_sae}, one group for each active latent: correct k."
        )
    return _Config(
        d_in=d_in,
        d_sae=d_sae,
        k=k,
        activation=activation,
        signed=signed,
        transcode=_transcodes(content),
        skip=config.get("skip_connection", False),
    )


def _transcodes(content: Content) -> bool:
    """Whether it predicts a module's output from its input.

    Configurations of before there was the key say it of none: those with a skip connection, which
    an autoencoder has no use for, were mostly transcoders.
    """
    given = switch_setting(content, "transcode")
    if given is not None:
        return given
    if content.config.get("skip_connection") and "transcode" not in content.config:
        raise DictionaryError(
            f"{content.source} declares a skip connection and does not say whether it is a "
            "transcoder, which read the module's input. Expected transcode: say "
            f"--sae={NAME},transcode=true:{content.source}, or false for an autoencoder"
        )
    return bool(content.config.get("transcode", False))


def _d_sae(content: Content, d_in: int) -> int:
    """The number of latents; `num_latents` 0 or absent means a multiple of d_in."""
    config = content.config
    if config.get("num_latents"):
        return preflight.count(config, "num_latents", content.source)
    if "expansion_factor" in config:
        return d_in * preflight.count(config, "expansion_factor", content.source)
    return preflight.matrix(content.tensors, "encoder.weight", content.source)[0]


def _check(content: Content, config: _Config) -> None:
    latents = (config.d_sae, config.d_in)
    expected: dict[str, tuple[int, ...]] = {
        "encoder.weight": latents,
        "encoder.bias": latents[:1],
        "W_dec": latents,
        "b_dec": latents[1:],
    }
    if config.skip:
        expected["W_skip"] = (config.d_in, config.d_in)
    preflight.shapes(content.tensors, expected, content.source)
    preflight.finite(content.tensors, content.source)
    preflight.decoder(content.tensors["W_dec"], content.source)
    if not config.transcode:
        reads, writes = content.tensors["encoder.weight"], content.tensors["W_dec"]
        upright(reads, writes, "W_dec", content.source)


def _encoder(config: _Config, w: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    weight, bias = w["encoder.weight"], w["encoder.bias"]
    centre = None if config.transcode else w["b_dec"]
    select = group_max if config.activation == "groupmax" else top_k

    def encode(x: Tensor) -> Tensor:
        x = x.to(weight.dtype)
        before = linear(x if centre is None else x - centre, weight, bias)
        if config.signed:
            return signed_top_k(before, config.k)
        return select(before.relu_(), config.k)

    return encode


def _info(content: Content, config: _Config) -> DictionaryInfo:
    """The trainer says where an SAE belongs by its directory's name alone, its model for all."""
    about = content.config if content.config.get("model") else _run(content)
    named = content.config.get("hookpoint") or _directory(content.weights)
    reads, writes = _sites(named, config.transcode) if isinstance(named, str) else (None, None)
    return declared(
        content,
        f"{NAME}.{config.kind()}",
        model=about.get("model"),
        revision=about.get("revision"),
        hook_in=reads,
        hook_out=writes,
        context_size=about.get("ctx_len"),
        k=config.k,
    )


def _run(content: Content) -> Mapping[str, object]:
    """The configuration of the training run, in one of the directories above; empty if none is."""
    runs = (each for each in content.beside.values() if each.keys() >= {"sae", "model"})
    return next(runs, {})


def _directory(weights: Path) -> str:
    """What the trainer calls the directory of a hookpoint; several seeds lie in it."""
    directory = weights.absolute().parent
    return (directory.parent if _SEED.fullmatch(directory.name) else directory).name


def _sites(hookpoint: str, transcode: bool) -> tuple[str | None, str | None]:
    """Where it reads and writes: a module's output, or from its input to its output.

    An input has no name among module paths; that of an MLP or a block has one among hook names.
    """
    match = _HOOKPOINT.fullmatch(hookpoint)
    if match is None:
        return None, None
    if not transcode:
        return hookpoint, None
    part = hookpoint.split(f".{match[1]}", 1)[1]
    inputs = {"": "hook_resid_pre", ".mlp": "mlp.hook_in"}
    reads = inputs.get(part)
    return (f"blocks.{match[1]}.{reads}" if reads else None), hookpoint
