"""Bussmann's BatchTopK and Matryoshka repositories, and Nanda's, whose form theirs is.

`sae.pt` with `config.json`, or `NAME.pt` with `NAME_cfg.json` (Nanda's one-layer autoencoders,
Kissane's and Conmy's of attention heads); trained on models as TransformerLens processes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats import nested, plain
from pytest_sae.dictionaries.formats.normalise import LayerNorm
from pytest_sae.dictionaries.formats.normalised import Normalised
from pytest_sae.dictionaries.keys import Keys, Refused, names
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

NAME = "batch_topk"
SETTINGS = ("sae_type", "threshold", "prefix")
KEYS = Keys(
    used=names(
        """
        act_size dict_size sae_type top_k input_unit_norm use_encoder_bias tied_weights activation
        group_sizes model_name hook_point act_name seq_len
        """
    ),
    harmless=names(
        """
        seed batch_size lr num_tokens l1_coeff beta1 beta2 max_grad_norm dtype enc_dtype site layer
        device model_batch_size num_batches_in_buffer dataset_path wandb_project perf_log_freq
        checkpoint_freq n_batches_to_dead top_k_aux aux_penalty bandwidth name l1_warmup_frac
        pool_size softmax_aux_penalty quantile quantile_lr buffer_mult buffer_size buffer_batches
        dict_mult remove_rare_dir d_mlp concat_heads head
        """
    ),
    refused={"per_head": Refused((False,), "it reads one attention head alone")},
)
_KEYS = frozenset({"act_size", "dict_size"})
_LOG = "jumprelu.log_threshold"
# HookedTransformer.from_pretrained without arguments, as all of their scripts have it.
_TRAINED_ON = {
    "model_class_name": "HookedTransformer",
    "model_from_pretrained_kwargs": {
        "fold_ln": True,
        "center_writing_weights": True,
        "fold_value_biases": True,
    },
}


@dataclass(frozen=True)
class _Kind:
    """What a class computes: whether with b_enc, of x - b_dec, and by which selection."""

    biased: bool
    centred: bool
    selection: str


_KINDS = {
    "vanilla": _Kind(True, True, "relu"),
    "topk": _Kind(False, True, "topk"),
    "batchtopk": _Kind(False, True, "threshold"),
    "jumprelu": _Kind(True, False, "threshold"),
}


def recognise(content: Content) -> bool:
    """Whether the configuration has the repository's names of the sizes."""
    return content.config.keys() >= _KEYS and "W_enc" in content.tensors


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = select((x - b_dec) W_enc), x̂ = z W_dec + b_dec, of layer-normalised x if it says.

    `vanilla` and `jumprelu` add b_enc, and `jumprelu` subtracts no b_dec. The first repository's
    BatchTopK chooses among the tokens of a batch and stores no threshold: the setting `threshold`
    gives one, `sae_type=topk` takes the k largest of every token. `prefix` gives the first latents
    of a Matryoshka one.

    Raises:
        DictionaryError: anything that `preflight` refuses, or a choice that depends on the batch.
    """
    check_settings(content, NAME, SETTINGS)
    name = _kind(content)
    _check(content)
    prefixes = _prefixes(content)
    kept = slice(None, nested.prefix(content, prefixes))
    weights = _plain(content, _KINDS[name], kept)
    info = replace(_info(content, name), prefixes=prefixes, trained_on=_TRAINED_ON)
    if kept.stop:
        info = replace(info, k=None)
    label = f"{NAME}.{name}" + (".unit_norm" if _normalised(content) else "")
    dictionary = plain.build(label, weights, info, device=device, dtype=dtype)
    return Normalised(dictionary, LayerNorm()) if _normalised(content) else dictionary


def _kind(content: Content) -> str:
    if "threshold" in content.tensors:
        return "batchtopk"
    name = content.settings.get("sae_type", content.config.get("sae_type", "vanilla"))
    if isinstance(name, str) and name in _KINDS:
        return name
    raise DictionaryError(
        f"{content.source} declares sae_type = {name!r}. Expected {', '.join(_KINDS)}, or a "
        "stored threshold: convert it with the code that trained it, to sae_lens' format say."
    )


def _check(content: Content) -> None:
    config, source = content.config, content.source
    preflight.configured(config, NAME, source)
    d_in, d_sae = (preflight.count(config, name, source) for name in ("act_size", "dict_size"))
    computing = {n: t for n, t in content.tensors.items() if n not in ("threshold", _LOG)}
    sizes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_enc": (d_sae,), "b_dec": (d_in,)}
    preflight.shapes(computing, sizes, source)
    for name in ("input_unit_norm", "use_encoder_bias", "tied_weights"):
        preflight.flag(config, name, source)
    old = "use_encoder_bias" in config
    odd = config.get("tied_weights") or config.get("activation", "relu") != "relu"
    if odd or (old and _normalised(content)):
        raise DictionaryError(
            f"{source} has tied_weights = {config.get('tied_weights', False)}, activation = "
            f"{config.get('activation', 'relu')!r} and input_unit_norm = {_normalised(content)} of "
            "the repository's first version, which computes something else with them. Expected "
            "none of these: convert it with the code that trained it."
        )


def _normalised(content: Content) -> bool:
    return content.config.get("input_unit_norm") is True


def _plain(content: Content, kind: _Kind, kept: slice) -> plain.Plain:
    w, config = content.tensors, content.config
    biased = config.get("use_encoder_bias", kind.biased)
    k = preflight.count(config, "top_k", content.source) if kind.selection == "topk" else None
    threshold = _threshold(content) if kind.selection == "threshold" else None
    if threshold is not None and threshold.dim():
        threshold = threshold[kept]
    return plain.Plain(
        reads=w["W_enc"].T[kept],
        writes=w["W_dec"][kept],
        latent=w["b_enc"][kept] if biased else w["b_enc"][kept] * 0,
        output=w["b_dec"],
        centred=kind.centred,
        k=k,
        threshold=threshold,
    )


def _threshold(content: Content) -> Tensor:
    stored = content.tensors.get("threshold")
    if stored is not None:
        return stored
    if _LOG in content.tensors:
        return content.tensors[_LOG].exp()
    text = content.settings.get("threshold", "")
    try:
        return content.tensors["W_enc"].new_tensor(float(text))
    except ValueError:
        raise DictionaryError(
            f"{content.source} is a BatchTopK SAE without a threshold: its latents compete with "
            f"those of the other tokens of a batch. Expected one (given: {text or 'none'}): say "
            f"--sae={NAME},threshold=T:{content.source} with the mean of the least latent that "
            f"batches of training kept, or --sae={NAME},sae_type=topk:{content.source} for the "
            f"{content.config.get('top_k')} largest of every token."
        ) from None


def _prefixes(content: Content) -> tuple[int, ...]:
    """The widths of a Matryoshka SAE; the repository writes its group sizes as a text."""
    sizes = content.config.get("group_sizes")
    if isinstance(sizes, str):
        try:
            sizes = json.loads(sizes)
        except ValueError:
            return ()
    if not isinstance(sizes, list) or not all(type(each) is int for each in sizes):
        return ()
    return nested.widths(list(accumulate(sizes)), len(content.tensors["b_enc"]))


def _info(content: Content, kind: str) -> DictionaryInfo:
    config: Mapping[str, object] = content.config
    k = config.get("top_k") if kind in ("topk", "batchtopk") else None
    return declared(
        content,
        f"{NAME}.{kind}",
        model=config.get("model_name"),
        hook_in=config.get("hook_point", config.get("act_name")),
        context_size=config.get("seq_len"),
        prepend_bos=True,
        k=k if type(k) is int else None,
    )
