"""Variational SAEs: latents have a mean and a spread; they are evaluated by their mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import (
    Content,
    check_settings,
    declared,
    switch_setting,
    whole_setting,
)
from pytest_sae.dictionaries.formats.dictionary_learning import belonging, module
from pytest_sae.dictionaries.formats.dictionary_learning_keys import BUFFER, TRAINER
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import signed_top_k, top_k
from pytest_sae.dictionaries.formats.state_dict import unwrapped
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import DictionaryInfo


NAME = "variational"
SETTINGS = ("codes", "k", "apply_b_dec_to_input")
# What its trainer has of dictionary_learning's, which it is made from.
_TRAINER = TRAINER.together(
    Keys(used=("apply_b_dec_to_input",), harmless=("var_flag", "kl_coeff", "kl_warmup_steps"))
)
KEYS = _TRAINER.together(Keys(inside={"trainer": _TRAINER, "buffer": BUFFER}))
_CODES = ("relu", "topk", "signed_topk")
_CLAMPED = (-6.0, 2.0)  # the range of log σ² in training
# Names of (weight, bias), and whether the weight is (d_sae, d_in) or lies the other way.
_ENCODERS = (("encoder.weight", "encoder.bias", False), ("W_enc", "b_enc", True))
_SPREADS = (("var_encoder.weight", "var_encoder.bias", False), ("W_log_var", "b_log_var", True))
_DECODERS = (("decoder.weight", True), ("W_dec", False))
_BIASES = ("bias", "b_dec", "decoder.bias")  # of the output; `bias` is that of the input too


@dataclass(frozen=True)
class _Parts:
    """The weights in one orientation; `spread` is the head that gives log σ², if there is one."""

    reads: Tensor
    offset: Tensor
    writes: Tensor
    bias: Tensor
    centred: bool
    spread: tuple[Tensor, Tensor] | None


def recognise(content: Content) -> bool:
    """Whether there is a head for the variance beside an encoder."""
    names = unwrapped(content).tensors.keys()
    return any(weight in names for weight, _, _ in _SPREADS) and any(
        weight in names for weight, _, _ in _ENCODERS
    )


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> VariationalDictionary:
    """Return the dictionary: z = select(μ(x)), μ(x) = (x - b) W_enc + b_enc; x̂ = z W_dec + b.

    Which latents are kept is set by `codes`: relu, topk (of relu(μ)), or signed_topk (the k
    largest in size). Training draws z from N(μ, σ²); the mean is what is deterministic.

    Raises:
        DictionaryError: anything that `preflight` refuses, and settings that are missing.
    """
    check_settings(content, NAME, SETTINGS)
    content = unwrapped(content)
    weights = {name: t for name, t in content.tensors.items() if t.dim() > 0}
    computing = computing_dtype(weights, dtype)
    parts = _parts(content, {n: t.to(device=device, dtype=computing) for n, t in weights.items()})
    codes, k = _codes(content, len(parts.reads))
    options = {"format": NAME, "codes": codes, "k": k, "dtype": str(computing)}
    return VariationalDictionary(
        parts,
        _selection(codes, k or 1),
        _info(content, codes, k),
        fingerprint(weights, options),
    )


class VariationalDictionary(AffineDictionary):
    """A variational SAE with σ left out; `spread` says what σ would have changed."""

    def __init__(
        self,
        parts: _Parts,
        select: Callable[[Tensor], Tensor],
        info: DictionaryInfo,
        fingerprint: str,
    ) -> None:
        super().__init__(
            lambda x: select(self._mean(x)),
            parts.writes,
            parts.bias,
            parts.reads,
            info,
            fingerprint,
        )
        self._parts = parts
        self._select = select

    def spread(self, x: Tensor, samples: int, seed: int) -> Tensor:
        """Return the standard deviation of every latent over draws from its distribution.

        Args:
            x: (token, d_in).
            samples: number of draws, at least 2.
            seed: of the draws.

        Returns:
            (token, d_sae), of select(μ + σ ε) over ε ~ N(0, 1); 0 where training has no σ.

        Raises:
            DictionaryError: fewer than 2 draws.
        """
        if samples < 2:
            raise DictionaryError(
                f"A spread needs at least 2 samples, not {samples}: it divides by samples - 1."
            )
        mean, sigma = self._mean(x), self._sigma(x)
        generator = torch.Generator(device=x.device).manual_seed(seed)
        centre, squares = torch.zeros_like(mean), torch.zeros_like(mean)
        for count in range(1, samples + 1):
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=x.device)
            z = self._select(mean + sigma * noise)
            apart = z - centre
            centre += apart / count
            squares += apart * (z - centre)
        return (squares / (samples - 1)).sqrt()

    def _mean(self, x: Tensor) -> Tensor:
        return linear(self._entered(x), self._parts.reads, self._parts.offset)

    def _sigma(self, x: Tensor) -> Tensor:
        if self._parts.spread is None:
            return x.new_zeros(len(x), self.d_sae)
        log_variance = linear(self._entered(x), *self._parts.spread).clamp(*_CLAMPED)
        return (log_variance / 2).exp()

    def _entered(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        return x - self._bias if self._parts.centred else x


def _info(content: Content, codes: str, k: int | None) -> DictionaryInfo:
    trainer = content.config.get("trainer", content.config)
    trainer = trainer if isinstance(trainer, Mapping) else {}
    reads, writes = belonging(content, module(trainer))
    model = trainer.get("lm_name")
    return declared(content, f"{NAME}.{codes}", model=model, hook_in=reads, hook_out=writes, k=k)


def _selection(codes: str, k: int) -> Callable[[Tensor], Tensor]:
    selections: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": torch.relu,
        "topk": lambda mean: top_k(mean.relu(), k),
        "signed_topk": lambda mean: signed_top_k(mean, k),
    }
    return selections[codes]


def _codes(content: Content, d_sae: int) -> tuple[str, int | None]:
    """How latents are selected, and k; the trainer's `k` alone does not say which sort of top-k."""
    codes = content.settings.get("codes")
    if codes not in _CODES:
        raise DictionaryError(
            f"{content.source} is a variational SAE, which has no standard format, and is given "
            f"codes={codes or 'nothing'}. Expected {', '.join(_CODES)} (the k largest in size, "
            f"with their signs): --sae={NAME},codes=topk,k=32:{content.source}"
        )
    if codes == "relu":
        return codes, None
    stored = content.tensors.get("k")
    trainer = content.config.get("trainer", content.config)
    k = whole_setting(content, "k") or (trainer.get("k") if isinstance(trainer, Mapping) else None)
    if k is None and stored is not None and stored.numel() == 1:
        k = int(stored)
    given = {} if k is None else {"k": k}
    return codes, preflight.count(given, "k", content.source, most=d_sae)


def _parts(content: Content, w: Mapping[str, Tensor]) -> _Parts:
    source = content.source
    encoder = _linear(w, _ENCODERS)
    decoder = next((_turned(w[n], turn) for n, turn in _DECODERS if n in w), None)
    if encoder is None or decoder is None:
        raise DictionaryError(
            f"{source} has the tensors {', '.join(sorted(w)) or 'none'}. Expected an encoder and a "
            "decoder: encoder.weight, encoder.bias and decoder.weight, or W_enc, b_enc and W_dec."
        )
    reads, offset = encoder
    _check(content, w, reads, decoder)
    name = next((name for name in _BIASES if name in w), None)
    return _Parts(
        reads=reads,
        offset=offset,
        writes=decoder,
        bias=decoder.new_zeros(decoder.shape[1]) if name is None else w[name],
        centred=_centred(content, name),
        spread=_linear(w, _SPREADS),
    )


def _centred(content: Content, bias: str | None) -> bool:
    """Whether the output's bias is subtracted from the input."""
    if bias != "b_dec":
        return bias == "bias"
    chosen = switch_setting(content, "apply_b_dec_to_input")
    chosen = content.config.get("apply_b_dec_to_input") if chosen is None else chosen
    if isinstance(chosen, bool):
        return chosen
    raise DictionaryError(
        f"{content.source} has a b_dec and does not say whether it is subtracted from the input. "
        "Expected the setting apply_b_dec_to_input=true or false."
    )


def _check(content: Content, w: Mapping[str, Tensor], reads: Tensor, writes: Tensor) -> None:
    d_sae, d_in = reads.shape if reads.dim() == 2 else (0, 0)
    turned, latents = (d_in, d_sae), (d_sae,)
    known: dict[str, tuple[int, ...]] = {
        "encoder.weight": (d_sae, d_in),
        "var_encoder.weight": (d_sae, d_in),
        "W_dec": (d_sae, d_in),
        "W_enc": turned,
        "W_log_var": turned,
        "decoder.weight": turned,
        **dict.fromkeys(("encoder.bias", "var_encoder.bias", "b_enc", "b_log_var"), latents),
        **dict.fromkeys(_BIASES, (d_in,)),
    }
    expected = {name: known[name] for name in w if name in known}
    preflight.shapes(w, expected, content.source)
    preflight.finite(w, content.source)
    preflight.decoder(writes, content.source)
    upright(reads, writes, "the decoder", content.source)


def _linear(
    w: Mapping[str, Tensor], names: tuple[tuple[str, str, bool], ...]
) -> tuple[Tensor, Tensor] | None:
    """The first of these layers that is there, its weight as (d_sae, d_in)."""
    for weight, bias, turn in names:
        if weight in w and bias in w:
            return _turned(w[weight], turn), w[bias]
    return None


def _turned(matrix: Tensor, turn: bool) -> Tensor:
    return matrix.T if turn and matrix.dim() == 2 else matrix
