"""HypotheSAEs and WIMHF: SAEs of text embeddings, the latter with signed latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared, whole_setting
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import above, signed_above, top_k
from pytest_sae.dictionaries.formats.state_dict import unwrapped
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "signed_codes"
KEYS = Keys(
    used=("k_active_neurons", "use_batch_topk"),
    harmless=(
        *("input_dim", "m_total_neurons", "aux_k", "multi_k", "aux_coef", "multi_coef"),
        *("dead_neuron_threshold_steps", "prefix_lengths"),
    ),
)
SETTINGS = ("codes", "k")
_CODES = ("signed", "batchtopk", "topk")
_TENSORS = frozenset({"encoder.weight", "decoder.weight", "input_bias", "neuron_bias"})


def recognise(content: Content) -> bool:
    """Whether there are biases of input and latents under these names."""
    return unwrapped(content).tensors.keys() >= _TENSORS


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return the dictionary: p = (x - b) W_encᵀ + b_n, z = select(p), x̂ = z W_decᵀ + b.

    WIMHF keeps p where |p| > threshold, with its sign; HypotheSAEs keeps relu(p) where it exceeds
    the threshold (use_batch_topk), or the k largest. Which of them wrote a file is told by its
    configuration: use_batch_topk is HypotheSAEs' alone.

    Raises:
        DictionaryError: anything that `preflight` refuses, and settings that are missing.
    """
    check_settings(content, NAME, SETTINGS)
    content = unwrapped(content)
    codes = _codes(content)
    d_sae = _check(content, codes)
    k = _k(content, d_sae) if codes == "topk" else None
    computing = computing_dtype(content.tensors, dtype)
    w = {name: t.to(device=device, dtype=computing) for name, t in content.tensors.items()}
    select = _selection(codes, k or 1, w.get("threshold"))

    def encode(x: Tensor) -> Tensor:
        x = x.to(computing) - w["input_bias"]
        return select(linear(x, w["encoder.weight"], w["neuron_bias"]))

    options = {"format": NAME, "codes": codes, "k": k, "dtype": str(computing)}
    return AffineDictionary(
        encode=encode,
        rows=w["decoder.weight"].T.contiguous(),
        bias=w["input_bias"],
        encoder_rows=w["encoder.weight"],
        info=declared(content, f"{NAME}.{codes}", k=k),
        fingerprint=fingerprint(content.tensors, options),
    )


def _selection(codes: str, k: int, threshold: Tensor | None) -> Callable[[Tensor], Tensor]:
    if codes == "topk" or threshold is None:
        return lambda before: top_k(before.relu_(), k)
    if codes == "signed":
        return lambda before: signed_above(before, threshold)
    return lambda before: above(before, threshold)


def _codes(content: Content) -> str:
    config = content.config
    given = content.settings.get("codes")
    if given in _CODES:
        return given
    if given is None and "use_batch_topk" in config:
        preflight.flag(config, "use_batch_topk", content.source)
        return "batchtopk" if config["use_batch_topk"] else "topk"
    if given is None and "k_active_neurons" in config:
        return "signed" if "threshold" in content.tensors else "topk"
    raise DictionaryError(
        f"{content.source} is given codes={given or 'nothing'}, and no configuration says how "
        f"latents are selected. Expected {', '.join(_CODES)} (signed is WIMHF's): "
        f"--sae={NAME},codes=signed:{content.source}"
    )


def _k(content: Content, d_sae: int) -> int:
    k = whole_setting(content, "k") or content.config.get("k_active_neurons")
    return preflight.count({} if k is None else {"k": k}, "k", content.source, most=d_sae)


def _check(content: Content, codes: str) -> int:
    w, source = content.tensors, content.source
    d_sae, d_in = preflight.matrix(w, "encoder.weight", source)
    expected: dict[str, tuple[int, ...]] = {
        "encoder.weight": (d_sae, d_in),
        "decoder.weight": (d_in, d_sae),
        "input_bias": (d_in,),
        "neuron_bias": (d_sae,),
    }
    if "threshold" in w or codes != "topk":
        expected["threshold"] = ()
    preflight.shapes(w, expected, source)
    preflight.finite(w, source)
    preflight.decoder(w["decoder.weight"].T, source)
    if codes != "topk":
        preflight.thresholds(w["threshold"], source)
    if codes == "signed" and not w["threshold"] > 0:
        raise DictionaryError(
            f"{source} has the threshold 0 with signed latents: all {d_sae} are active on every "
            "text. Expected more than 0: training stopped before it was estimated, or the file is "
            "HypotheSAEs' (codes=topk)."
        )
    upright(w["encoder.weight"], w["decoder.weight"].T, "decoder.weight", source)
    return d_sae
