"""What a site's tensor is made of, and how it is put back: the views of `Site`, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_sae.models import norms
from pytest_sae.models.site import Side, Site


@dataclass(frozen=True)
class SiteView:
    """How a site is read and written.

    Args:
        side: of the module, where the tensor is read; it is written on the site's own side.
        see: (text, pos, _) at the module to (text, pos, d) at the site.
        put: (new (text, pos, d), what the module has (text, pos, _)) to what it gets instead.
    """

    side: Side
    see: Callable[[Tensor], Tensor]
    put: Callable[[Tensor, Tensor], Tensor]


def view_of(site: Site, module: nn.Module, value_bias: Callable[[Site], Tensor]) -> SiteView:
    """Return the view of a site.

    Args:
        site: with its view and columns.
        module: that it names.
        value_bias: gives what the biases of the heads' values add to a site, (d,).
    """
    whole = _whole(site, module, value_bias)
    if site.columns is None:
        return whole
    first, end = site.columns

    def put(new: Tensor, hidden: Tensor) -> Tensor:
        full = whole.see(hidden).clone()
        full[..., first:end] = new
        return whole.put(full, hidden)

    return SiteView(whole.side, lambda hidden: whole.see(hidden)[..., first:end], put)


def _whole(site: Site, module: nn.Module, value_bias: Callable[[Site], Tensor]) -> SiteView:
    if site.view == "centred":
        # What reads the stream is a LayerNorm, to which all streams that differ in their mean are
        # one: it goes back without the mean that the processed model has not either.
        return SiteView(site.side, _centred, lambda new, _: new)
    if site.view in ("normalised", "folded"):
        return _normalised(module, _centred if site.view == "folded" else _same)
    if site.view != "as it is":
        bias = value_bias(site)
        return SiteView(site.side, lambda hidden: hidden - bias, lambda new, _: new + bias)
    return SiteView(site.side, _same, lambda new, _: new)


def _same(hidden: Tensor) -> Tensor:
    return hidden


def _centred(hidden: Tensor) -> Tensor:
    wide = hidden.float() if hidden.dtype != torch.float64 else hidden
    return (wide - wide.mean(-1, keepdim=True)).to(hidden)


def _normalised(norm: nn.Module, heard: Callable[[Tensor], Tensor]) -> SiteView:
    bare, (scale, shift) = norms.bare(norm), norms.affine(norm)
    return SiteView("input", bare, lambda new, _: (heard(new).float() * scale + shift).to(new))
