"""A language model whose activations can be captured at a site and replaced there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models import blocks
from pytest_sae.models.site import Site, block_input, resolve
from pytest_sae.models.splice import edited, first_tensor, replaced_forward
from pytest_sae.models.tokenize import Batch

VERSION = "1"  # part of every cache key: raise it when the same weights give other activations


class _Captured(Exception):  # noqa: N818 (a signal, not an error)
    """Ends a forward pass once everything asked for has been seen."""


@dataclass(eq=False)
class LanguageModel:
    """A frozen causal language model of transformers.

    Args:
        hf: the model, in eval mode, without gradients.
        tokenizer: its tokenizer.
        name: as the user wrote it.
        fingerprint: sha256 of configuration and weights (or of a hub commit).
        tokenizer_fingerprint: sha256 of the tokenizer.
    """

    hf: Any
    tokenizer: Any
    name: str
    fingerprint: str
    tokenizer_fingerprint: str
    _widths: dict[Site, int] = field(default_factory=dict, repr=False)
    _tuples: list[int] = field(default_factory=list, repr=False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = next(self.hf.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type it computes in."""
        dtype: torch.dtype = next(self.hf.parameters()).dtype
        return dtype

    @property
    def layers(self) -> int:
        """How many blocks it has."""
        return len(blocks.find_blocks(self.hf)[1])

    @property
    def vocab(self) -> int:
        """How many logits it gives per token."""
        return int(self.hf.get_output_embeddings().weight.shape[0])

    def site(self, hook_name: str) -> Site:
        """Return the site of a hook name or module path.

        Raises:
            SiteError: the model has no such site.
        """
        return resolve(hook_name, self.hf)

    def stream_below(self, site: Site) -> Site | None:
        """Return the site that `logits_from` needs as `stream`, None if it needs none."""
        return None if site.stream or site.layer < 0 else block_input(site.layer, self.hf)

    def width(self, site: Site) -> int:
        """Return the size of one token's activation at a site, found by running a few tokens."""
        if site not in self._widths:
            self._widths[site] = self.capture(self._few_tokens(), [site])[site].shape[-1]
        return self._widths[site]

    @torch.no_grad()
    def capture(self, batch: Batch, sites: Sequence[Site]) -> dict[Site, Tensor]:
        """Run a batch once, up to the last of the sites, and return what was there.

        Returns:
            for each site (text, pos, d) in the model's dtype, padding included.

        Raises:
            SiteError: a site's module is not run by this model, or gives no such tensor.
        """
        batch = batch.to(self.device)
        seen: dict[Site, Tensor] = {}

        def keep(site: Site, hidden: Tensor) -> None:
            seen[site] = _per_token(hidden, batch, site).detach().clone()
            if len(seen) == len(set(sites)):
                raise _Captured

        with ExitStack() as stack:
            for site in dict.fromkeys(sites):
                edit = _partial(keep, site)
                stack.enter_context(edited(self._module(site), site.reads, edit))
            try:
                self._forward(batch)
            except _Captured:
                return {site: seen[site] for site in sites}
        missing = ", ".join(site.module for site in sites if site not in seen)
        raise SiteError(f"{self.name} never runs {missing}: pick another site")

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Return the logits (text, pos, vocab) of a batch, in the model's dtype."""
        return self._forward(batch.to(self.device))

    @torch.no_grad()
    def logits_from(
        self, batch: Batch, site: Site, activations: Tensor, stream: Tensor | None = None
    ) -> Tensor:
        """Return the logits with `activations` in place at the site, from there upwards.

        Equal to a full pass with a hook that replaces the site's tensor: the blocks below are not
        run, and everything else (masks, positions, norms, softcaps) is the model's own code.

        Args:
            batch: the batch that the activations belong to.
            site: where they go.
            activations: (text, pos, d), padding included.
            stream: (text, pos, d_model), the input of the site's block, for sites inside a block
                (`stream_below`); without it such a site is computed by a full pass.

        Returns:
            (text, pos, vocab) in the model's dtype.
        """
        batch = batch.to(self.device)
        activations = activations.to(self.device, self.dtype)
        with ExitStack() as stack:
            if site.stream:
                first = site.layer + (site.reads == "output")
                self._start_at(stack, first, activations)
                return self._forward(batch)
            if stream is not None:
                self._start_at(stack, site.layer, stream.to(self.device, self.dtype))
            module = self._module(site)
            stack.enter_context(edited(module, site.reads, lambda _: activations))
            return self._forward(batch)

    def _start_at(self, stack: ExitStack, first: int, hidden: Tensor) -> None:
        """Let block `first` begin with `hidden`, the blocks below it doing nothing."""
        _, modules = blocks.find_blocks(self.hf)
        for block, items in zip(modules[:first], self._block_tuples(), strict=False):
            given = (hidden, *[None] * (items - 1)) if items else hidden
            stack.enter_context(replaced_forward(block, _constant(given)))
        if first < len(modules):
            stack.enter_context(edited(modules[first], "input", lambda _: hidden))

    def _block_tuples(self) -> list[int]:
        """For each block, how many items its output tuple has; 0 if it is a bare tensor."""
        if not self._tuples:
            found: list[int] = []

            def note(_: nn.Module, __: Any, output: Any) -> None:
                found.append(0 if isinstance(output, Tensor) else len(output))

            handles = [b.register_forward_hook(note) for b in blocks.find_blocks(self.hf)[1]]
            try:
                self.logits(self._few_tokens())
            finally:
                for handle in handles:
                    handle.remove()
            self._tuples = found
        return self._tuples

    def _forward(self, batch: Batch) -> Tensor:
        limit = getattr(self.hf.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and batch.shape[1] > limit:
            raise ModelError(
                f"a text of {batch.shape[1]} tokens is longer than the {limit} positions of "
                f"{self.name}: use a context of {limit} or less"
            )
        mask = batch.attention.long()
        output = self.hf(input_ids=batch.ids, attention_mask=mask, use_cache=False)
        logits = first_tensor(output.logits)
        if logits is None:
            raise ModelError(f"{self.name} returns no logits: a causal language model is needed")
        return logits

    def _module(self, site: Site) -> nn.Module:
        module: nn.Module = self.hf.get_submodule(site.module)
        return module

    def _few_tokens(self) -> Batch:
        # Two texts of three: a tensor without texts (rotary embeddings) must not pass for one.
        ones = torch.ones(2, 3, dtype=torch.bool)
        return Batch(torch.zeros(2, 3, dtype=torch.long), ones, ones, torch.arange(2))


def _constant(value: Any) -> Any:
    return lambda *args, **kwargs: value


def _partial(keep: Any, site: Site) -> Any:
    return lambda hidden: keep(site, hidden)


def _per_token(hidden: Tensor, batch: Batch, site: Site) -> Tensor:
    texts, positions = batch.shape
    # Some blocks flatten texts and positions for their MLP; some hooks keep the heads apart.
    if hidden.shape[0] in (texts, texts * positions) and hidden.numel() % (texts * positions) == 0:
        return hidden.reshape(texts, positions, -1)
    raise SiteError(
        f"{site.module} gives a tensor of shape {tuple(hidden.shape)}, not one vector for each of "
        f"{texts} x {positions} tokens: pick another site"
    )
