"""Controls of one dictionary, made from the activations that it is measured on anyway.

why_not(control, latents) -> str        # by declaration; empty where it can be made
sampled(latents, texts) -> TokenSample
make(control, latents, sample, seed, draws) -> list[Twin] | str       # or why there is none here
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.dictionaries import controls, in_context, references
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Contextual, Dictionary

TOKENS = 8192  # of the texts, at least half as many: enough for a mean, a quantile and components
_KEPT = 8  # one of so many live latents is left of the dictionary (best_k)

_APART = 1_000_003  # of the seeds of two draws: those of two runs are next to each other
_SILENT = "no latent of it fires on these texts: there is no sparsity to match"
_TWO_SITES = "it reads one site and writes another, and there is no such dictionary of both"


@dataclass(frozen=True)
class Twin:
    """A control that is a dictionary, over the same activations.

    Args:
        dictionary: the control.
        latents: of it.
    """

    dictionary: Dictionary
    latents: Latents


@dataclass(frozen=True)
class TokenSample:
    """Some tokens of the texts, and what the dictionary makes of them.

    Args:
        x: (token, d_in), what it reads, in context where it needs that.
        y: (token, d_out), what it has to write: x itself, but for transcoders.
        l0: mean number of active latents.
        alive: latents that fire on any of them.
    """

    x: Tensor
    y: Tensor
    l0: float
    alive: int


Maker = Callable[[Dictionary, TokenSample, int], Dictionary | str]


def why_not(control: str, latents: Latents) -> str:
    """Return why there is no such control of a dictionary, empty where there is one.

    Args:
        control: its name, one of `numbers.control.CONTROLS`.
        latents: of the dictionary that it would be a control of.
    """
    if control in ("random_tied", "identity") and latents.writes_elsewhere:
        return _TWO_SITES
    if control == "permuted_decoder" and latents.dictionary.decoder_rows is None:
        return "its decoder is not affine: it has no fixed rows to permute"
    return ""


def sampled(latents: Latents, texts: Sequence[str]) -> TokenSample:
    """Return evenly spaced tokens of texts whose activations are there.

    Args:
        latents: of the dictionary.
        texts: distinct.
    """
    device, dtype = latents.dictionary.device, latents.dictionary.dtype
    x = _spread(latents.read("sampling tokens", latents.tokens(texts))).to(device, dtype)
    y = _spread(latents.written(texts)).to(device, dtype) if latents.writes_elsewhere else x
    active = torch.zeros(latents.dictionary.d_sae, dtype=torch.int64, device=x.device)
    with torch.no_grad():
        for piece in x.split(chunk_tokens(latents.dictionary)):
            active += torch.count_nonzero(latents.dictionary.encode(piece), dim=0)
    return TokenSample(x, y, float(active.sum()) / max(1, len(x)), int((active > 0).sum()))


def make(
    control: str, latents: Latents, sample: TokenSample, seed: int, draws: int = 1
) -> list[Twin] | str:
    """Return a control that is a dictionary, or why there is none on these texts.

    Args:
        control: a key of `MAKERS`.
        latents: of the dictionary under test.
        sample: from `sampled`.
        seed: of what is random in it.
        draws: how many of it are drawn, where anything in it is random.

    Returns:
        All draws; where that is possible they have the same latents, so that only one is encoded.
    """
    recipe = MAKERS[control]
    found = recipe.make(latents.dictionary, sample, seed)
    if isinstance(found, str):
        return found
    twins = [Twin(found, latents.of_twin(found, recipe.encodes_alike))]
    for each in [seed + _APART * number for number in range(1, draws)] if recipe.random else ():
        other = recipe.again(latents.dictionary, found, sample, each)
        twins.append(Twin(other, twins[0].latents.of_twin(other, recipe.redraw is not None)))
    return twins


def _beside_context(make: Maker) -> Maker:
    """Make a control of what the earlier tokens do not say, where a dictionary reads those."""

    def made(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
        if not isinstance(dictionary, Contextual):
            return make(dictionary, sample, seed)
        rest = in_context.rest(dictionary, sample.x)
        found = make(in_context.like(dictionary), replace(sample, x=rest, y=rest), seed)
        return (
            in_context.OfRest(dictionary, found) if isinstance(found, AffineDictionary) else found
        )

    return made


def _random(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
    if sample.l0 == 0:
        return _SILENT
    return controls.random_matched(dictionary, sample.x, sample.l0, seed, sample.y)


def _random_tied(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
    if sample.l0 == 0:
        return _SILENT
    return controls.random_tied(dictionary, sample.x, sample.l0, seed)


def _best_k(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
    if sample.alive < 2:
        return f"{sample.alive} latents of it fire on these texts: there is none to cut"
    return controls.best_k(dictionary, sample.x, max(1, sample.alive // _KEPT))


def _pca(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
    k = min(dictionary.d_out, max(1, round(sample.l0)))
    return references.pca(dictionary, sample.x, k, sample.y)


def _identity(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
    return references.identity(dictionary)


def _permuted(dictionary: Dictionary, sample: TokenSample, seed: int) -> Dictionary | str:
    return controls.permuted_decoder(dictionary, seed)


def _other_rows(dictionary: Dictionary, drawn: Dictionary, seed: int) -> Dictionary:
    assert isinstance(drawn, AffineDictionary)
    if isinstance(drawn, in_context.OfRest):
        return in_context.OfRest(dictionary, controls.redrawn_decoder(drawn.inner, seed))
    return controls.redrawn_decoder(drawn, seed)


def _other_order(dictionary: Dictionary, _: object, seed: int) -> Dictionary:
    return controls.permuted_decoder(dictionary, seed)


@dataclass(frozen=True)
class Recipe:
    """How a control that is a dictionary is made.

    Args:
        make: it, or say why there is none.
        redraw: another with the latents of the first; None where each draw has its own.
        random: whether there is another to draw.
        encodes_alike: whether its latents are those of the dictionary that it is a control of.
    """

    make: Maker
    redraw: Callable[[Dictionary, Dictionary, int], Dictionary] | None = None
    random: bool = False
    encodes_alike: bool = False

    def again(
        self, dictionary: Dictionary, first: Dictionary, sample: TokenSample, seed: int
    ) -> Dictionary:
        """Return another draw of what could be made once."""
        if self.redraw is not None:
            return self.redraw(dictionary, first, seed)
        other = self.make(dictionary, sample, seed)
        assert not isinstance(other, str)
        return other


#: The controls that are dictionaries, and how they are made.
MAKERS: Mapping[str, Recipe] = {
    "random": Recipe(_beside_context(_random), _other_rows, random=True),
    # It writes where it reads, so that another one is another encode.
    "random_tied": Recipe(_beside_context(_random_tied), random=True),
    "permuted_decoder": Recipe(_permuted, _other_order, random=True, encodes_alike=True),
    "best_k": Recipe(_best_k),
    "pca": Recipe(_beside_context(_pca)),
    "identity": Recipe(_beside_context(_identity)),
}


def _spread(stream: Iterable[ActivationBatch]) -> Tensor:
    """(token, d): every s-th valid token, s doubling as long as there are too many."""
    kept: list[Tensor] = []
    step, seen = 1, 0
    for part in stream:
        x = part.x_valid
        kept.append(x[-seen % step :: step].clone())
        seen += len(x)
        while sum(map(len, kept)) > TOKENS:
            kept, step = [torch.cat(kept)[::2]], 2 * step
    return torch.cat(kept)
