"""Dictionaries that are better than any sparse one: what a reconstruction could reach at most."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import DictionaryError


def identity(like: Dictionary) -> AffineDictionary:
    """Return the activations themselves as a dictionary: a latent for every coordinate.

    Args:
        like: the dictionary whose width and site it takes.

    Raises:
        DictionaryError: a transcoder.
    """
    _require_one_site(like, "the activations that it reads are not those that it writes")
    axes = torch.eye(like.d_in, device=like.device, dtype=like.dtype)
    none = torch.zeros(like.d_in, device=like.device, dtype=like.dtype)
    info = replace(like.info, family="control.identity", k=None, prefixes=())
    name = hashlib.sha256(f"identity {like.d_in}".encode()).hexdigest()
    return AffineDictionary(lambda x: x.to(axes.dtype), axes, none, axes, info, name)


def pca(like: Dictionary, x: Tensor, k: int) -> AffineDictionary:
    """Return the principal components of x with the k largest coefficients of each token.

    `z = topk_|.|(V (x - mean))`, `x_hat = mean + z V`. It is fitted on the very tokens that it is
    measured on, for it is a reference and not a result.

    Args:
        like: the dictionary whose site it takes.
        x: (token, d_in) activations of the site.
        k: active components per token, 1 to d_in.

    Raises:
        DictionaryError: a transcoder, or a k that d_in components cannot have.
    """
    _require_one_site(like, "components of what it reads say nothing about what it writes")
    if not 1 <= k <= like.d_in:
        raise DictionaryError(f"{like.d_in} principal components cannot have {k} active ones.")
    mean, axes = _components(x.to(like.device))
    mean, axes = mean.to(like.dtype), axes.to(like.dtype)

    def encode(tokens: Tensor) -> Tensor:
        coefficients = (tokens.to(axes.dtype) - mean) @ axes.T
        chosen = coefficients.abs().topk(k, dim=1).indices
        return torch.zeros_like(coefficients).scatter(1, chosen, coefficients.gather(1, chosen))

    info = replace(like.info, family="control.pca", k=None, prefixes=())
    digest = hashlib.sha256(f"pca {k}".encode())
    for part in (mean, axes):
        digest.update(part.double().cpu().numpy().tobytes())
    return AffineDictionary(encode, axes, mean, axes, info, digest.hexdigest())


def _components(x: Tensor) -> tuple[Tensor, Tensor]:
    """(d,) mean and (component, d) principal directions, the largest entry of each positive."""
    wide = x.double()
    mean = wide.mean(0)
    _, vectors = torch.linalg.eigh((wide - mean).T @ (wide - mean))
    axes = vectors.T.flip(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return mean, axes * torch.where(largest < 0, -1.0, 1.0)


def _require_one_site(like: Dictionary, why: str) -> None:
    if like.info.hook_out not in (None, like.info.hook_in):
        raise DictionaryError(
            f"{like.info.source} reads {like.info.hook_in} and writes {like.info.hook_out}: {why}. "
            "Expected a dictionary of one site: leave this control out for it."
        )
