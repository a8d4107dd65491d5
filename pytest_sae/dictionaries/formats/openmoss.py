"""What all dictionaries of OpenMOSS' library share: configuration, factors, selection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.keys import Keys, names
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.content import Content

#: Llama Scope's hyperparams.json, and the configurations that came after it.
KEYS = Keys(
    used=names(
        """
        sae_type hook_point_in hook_point_out hook_points hook_points_in hook_points_out d_model
        d_sae expansion_factor use_decoder_bias apply_decoder_bias_to_pre_encoder use_glu_encoder
        act_fn jump_relu_threshold norm_activation dataset_average_activation_norm
        sparsity_include_decoder_norm top_k model_name
        """
    ),
    harmless=names(
        """
        device dtype seed bias_init_method init_decoder_norm init_encoder_norm
        init_encoder_with_decoder_transpose init_search decoder_exactly_fixed_norm lp
        l1_coefficient l1_coefficient_warmup_steps k_warmup_steps use_batch_norm_mse
        use_ghost_grads tp_size ddp_size jumprelu_threshold_window jumprelu_threshold_grad_scale
        use_triton_kernel sparsity_threshold_for_triton_spmm_kernel strict_loading
        init_cross_layer_decoder_all_zero decode_with_csr sparsity_threshold_for_csr
        sae_pretrained_name_or_path exp_name exp_result_dir run_name
        """
    ),
)
LOG_THRESHOLDS = ("log_jumprelu_threshold", "activation_function.log_jumprelu_threshold")
TOKEN_WISE = "token-wise"
_NORM = "dataset_average_activation_norm"
_NORMS = {
    TOKEN_WISE: "and writes another site than it reads: what is written was scaled by the norm of "
    "what was to be written, token by token, which nobody knows who has what is read alone",
    "batch-wise": "whose factor is the mean norm of the batch that a token was in: its codes of a "
    "token depend on the others. Take the mean norm over many tokens, and declare it: "
    "norm_activation = 'dataset-wise' with dataset_average_activation_norm",
}
_KEYS = frozenset({"d_model", "act_fn", "norm_activation"})
_SEVERAL = ("crosscoder", "clt")  # each has a family of its own


def configured(content: Content) -> bool:
    """Whether the configuration is that of the library."""
    return content.config.keys() >= _KEYS


def reads_several(content: Content) -> bool:
    """Whether it is of a type that reads several sites."""
    return content.config.get("sae_type") in _SEVERAL


def by_token(content: Content) -> bool:
    """Whether each token is scaled to the norm √d by itself, so that no factor can be folded."""
    return content.config.get("norm_activation") == TOKEN_WISE


def activation(content: Content, known: Sequence[str]) -> str:
    """Return the declared activation function.

    Args:
        content: its configuration declares `act_fn`.
        known: names that can be evaluated.

    Raises:
        DictionaryError: it is none of `known`.
    """
    name = str(content.config["act_fn"]).lower()
    if name in known:
        return name
    raise DictionaryError(
        f"{content.source} declares act_fn = {name!r}, whose latents depend on the other tokens "
        f"of a batch or are unknown. Expected {', '.join(known)}: convert it to jumprelu with the "
        "library that trained it, and save it again."
    )


def weights(content: Content) -> dict[str, Tensor]:
    """Return the tensors without the mean norms, and the thresholds as `log_threshold`."""
    tensors = {n: t for n, t in content.tensors.items() if not n.startswith(f"{_NORM}.")}
    for name in LOG_THRESHOLDS:
        if name in tensors:
            tensors["log_threshold"] = tensors.pop(name)
    return tensors


def latents(content: Content, d_in: int) -> int:
    """Return the declared number of latents: `d_sae`, or a multiple of the width.

    Args:
        content: with its configuration.
        d_in: width of what is read.

    Raises:
        DictionaryError: neither is declared.
    """
    config = content.config
    if "d_sae" in config:
        return preflight.count(config, "d_sae", content.source)
    multiple = config.get("expansion_factor")
    if isinstance(multiple, (int, float)) and not isinstance(multiple, bool) and 0 < multiple < 1e6:
        return int(d_in * multiple)
    raise DictionaryError(
        f"{content.source} declares expansion_factor = {multiple!r} and no d_sae. Expected the "
        "number of latents: add it to the configuration."
    )


@dataclass(frozen=True)
class Selection:
    """Which latents of a token are active: by their size times the norm of what they write.

    Args:
        activation: `relu`, `jumprelu` or `topk`.
        score: (..., latent) the norms, on the scale of training; what writes nothing is silent.
        threshold: (..., latent) of JumpReLU, on that scale; None for the others.
        k: of TopK; None for the others.
    """

    activation: str
    score: Tensor
    threshold: Tensor | None = None
    k: int | None = None

    def __call__(self, before: Tensor) -> Tensor:
        """(..., latent) pre-activations to latents."""
        sized = before * self.score
        if self.threshold is not None:
            return before * (sized > self.threshold)
        if self.k is None:
            return before * (sized > 0)
        sizes, places = sized.topk(self.k, dim=-1, sorted=False)
        kept = before.gather(-1, places) * (sizes > 0)
        return torch.zeros_like(before).scatter_(-1, places, kept)


def factor(content: Content, d: int, hook: object, setting: str = "", side: str = "") -> float:
    """Return what activations at a hook were multiplied by in training: √d over their mean norm.

    Args:
        content: with its configuration.
        d: width of the activations.
        hook: that they are of.
        setting: by which the user gives the mean norm, empty for none.
        side: under which the configuration may have it besides the hook's name, empty for none.

    Raises:
        DictionaryError: another normalisation, or a mean norm that is not given.
    """
    normalisation = content.config["norm_activation"]
    if normalisation == "inference":  # folded when it was saved
        return 1.0
    if normalisation != "dataset-wise":
        why = _NORMS.get(str(normalisation), "which is no normalisation that is known here")
        raise DictionaryError(
            f"{content.source} declares norm_activation = {normalisation!r}, {why}. Expected "
            "'dataset-wise' or 'inference', whose factors are numbers."
        )
    return math.sqrt(d) / _norm(content, setting, side, hook)


def _norm(content: Content, setting: str, side: str, hook: object) -> float:
    """A mean norm: set by the user, in the configuration, or among the weights."""
    in_config = content.config.get(_NORM)
    table: Mapping[str, Any] = in_config if isinstance(in_config, dict) else {}
    stored = content.tensors.get(f"{_NORM}.{hook}")
    found = content.settings.get(setting, table.get(side, table.get(str(hook))))
    if found is None and stored is not None and stored.numel() == 1:
        found = float(stored)
    try:
        value = float(found) if not isinstance(found, bool) and found is not None else math.nan
    except (TypeError, ValueError):
        value = math.nan
    # What was never estimated is saved as uninitialised memory: mostly 0 or nearly so.
    if not 1e-4 < value < 1e8:
        raise DictionaryError(
            f"{content.source} was trained on activations that were scaled dataset-wise, and gives "
            f"{found!r} as {_NORM} of {hook} ({side}): every figure would be wrong. Expected the "
            "mean norm of the activations there: add it to the configuration"
            f"{f', or set {setting}=' if setting else ''}."
        )
    return value
