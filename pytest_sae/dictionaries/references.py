"""Dictionaries that are better than any sparse one: what a reconstruction could reach at most."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import DictionaryError

_RIDGE = 1e-8  # of the mean variance of a coordinate


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


def pca(like: Dictionary, x: Tensor, k: int, y: Tensor | None = None) -> AffineDictionary:
    """Return the principal components of x with the k largest coefficients of each token.

    `z = topk_|.|(V (x - mean))`, `x_hat = mean + z V`. It is fitted on the very tokens that it is
    measured on, for it is a reference and not a result. Of a transcoder they are the components of
    the linear map of x that comes nearest to y.

    Args:
        like: the dictionary whose site it takes.
        x: (token, d_in) activations of the site.
        k: active components per token, 1 to d_out.
        y: (token, d_out) what a transcoder writes in place of; x itself by default.

    Raises:
        DictionaryError: a transcoder without y, or a k that d_out components cannot have.
    """
    y = None if y is x else y
    if y is None:
        _require_one_site(like, "components of what it reads say nothing about what it writes")
    if not 1 <= k <= like.d_out:
        raise DictionaryError(f"{like.d_out} principal components cannot have {k} active ones.")
    centre, bias, reads, axes = (each.to(like.dtype) for each in _mapped(x.to(like.device), y))

    def encode(tokens: Tensor) -> Tensor:
        coefficients = (tokens.to(axes.dtype) - centre) @ reads.T
        chosen = coefficients.abs().topk(k, dim=1).indices
        return torch.zeros_like(coefficients).scatter(1, chosen, coefficients.gather(1, chosen))

    info = replace(like.info, family="control.pca", k=None, prefixes=())
    digest = hashlib.sha256(f"pca {k}".encode())
    for part in (bias, axes) if y is None else (bias, axes, centre, reads):
        digest.update(part.double().cpu().numpy().tobytes())
    return AffineDictionary(encode, axes, bias, reads, info, digest.hexdigest())


def _mapped(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(d_in,) centre, (d_out,) bias, (component, d_in) read and (component, d_out) written."""
    mean, axes = _components(x)
    if y is None:
        return mean, mean, axes, axes
    inputs, outputs = x.double() - mean, y.to(x.device).double()
    bias = outputs.mean(0)
    gram = inputs.T @ inputs
    # What hardly varies is not divided by.
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
    linear = torch.linalg.solve(gram, inputs.T @ (outputs - bias))
    _, axes = _components(inputs @ linear)
    return mean, bias, axes @ linear.T, axes


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
