"""A language model whose activations can be captured at a site and replaced there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models import blocks, norms, tf32
from pytest_sae.models.memory import in_halves
from pytest_sae.models.processing import NONE, Processing
from pytest_sae.models.site import Site, block_input, resolve
from pytest_sae.models.site_view import SiteView, view_of
from pytest_sae.models.splice import edited, first_tensor, replaced_forward
from pytest_sae.models.tokenize import Batch

VERSION = "1"  # part of every cache key: raise it when the same weights give other activations

NO_PREDICTION = "an encoder model predicts no next token"


class _Captured(Exception):  # noqa: N818 (a signal, not an error)
    """Ends a forward pass once everything asked for has been seen."""


@dataclass(eq=False)
class LanguageModel:
    """A frozen language model of transformers: a causal one, or an encoder.

    Args:
        hf: the model, in eval mode, without gradients.
        tokenizer: its tokenizer.
        name: as the user wrote it.
        fingerprint: sha256 of configuration and weights (or of a hub commit).
        tokenizer_fingerprint: sha256 of the tokenizer.
        predicts: whether it predicts next tokens; an encoder (BERT) does not.
    """

    hf: Any
    tokenizer: Any
    name: str
    fingerprint: str
    tokenizer_fingerprint: str
    predicts: bool = True
    _widths: dict[Site, int] = field(default_factory=dict, repr=False)
    _tuples: list[int] = field(default_factory=list, repr=False)
    _views: dict[Site, SiteView] = field(default_factory=dict, repr=False)

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
        """How many logits it gives per token.

        Raises:
            ModelError: it is an encoder.
        """
        self._require_predictions()
        return int(self.hf.get_output_embeddings().weight.shape[0])

    def site(self, hook_name: str, processing: Processing = NONE, head: int | None = None) -> Site:
        """Return the site of a hook name or module path.

        Args:
            hook_name: TransformerLens', or a path of the Hugging Face model.
            processing: what was done to the model before the SAE was trained on it.
            head: index of the only attention head that is read, None for all.

        Raises:
            SiteError: the model has no such site.
        """
        return resolve(hook_name, self.hf, processing, head)

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
            for each site (text, pos, d) in the model's dtype, padding included; of a site with
            parts, the tensors of these one after the other along d.

        Raises:
            SiteError: a site's module is not run by this model, or gives no such tensor.
        """
        parts = in_halves(lambda texts: self._captured(batch.take(texts), sites), batch)
        return dict(zip(sites, parts, strict=True))

    def _captured(self, batch: Batch, sites: Sequence[Site]) -> list[Tensor]:
        batch = batch.to(self.device)
        seen: dict[Site, Tensor] = {}
        views = {part: self._view(part) for site in sites for part in site.single}

        def keep(site: Site, hidden: Tensor) -> None:
            seen[site] = views[site].see(_per_token(hidden, batch, site)).detach().clone()
            if len(seen) == len(views):
                raise _Captured

        with ExitStack() as stack:
            for site in views:
                edit = partial(keep, site)
                stack.enter_context(edited(self._module(site), views[site].side, edit))
            try:
                self._forward(batch)
            except _Captured:
                return [_beside([seen[part] for part in site.single]) for site in sites]
        missing = ", ".join(site.module for site in views if site not in seen)
        raise SiteError(f"{self.name} never runs {missing}: pick another site")

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits (text, pos, vocab) of a batch, in the model's dtype.

        Raises:
            ModelError: it is an encoder.
        """
        self._require_predictions()
        return self.outputs(batch)

    def logits_from(
        self, batch: Batch, site: Site, activations: Tensor, stream: Tensor | None = None
    ) -> Tensor:
        """Return the logits (text, pos, vocab) with `activations` in place at the site.

        Args:
            batch, site, activations, stream: as in `outputs_from`.

        Raises:
            ModelError: it is an encoder.
        """
        self._require_predictions()
        return self.outputs_from(batch, site, activations, stream)

    @torch.no_grad()
    def outputs(self, batch: Batch) -> Tensor:
        """Return what the model gives at its end: logits, or an encoder's last hidden state."""
        (outputs,) = in_halves(
            lambda texts: [self._forward(batch.take(texts).to(self.device))], batch
        )
        return outputs

    @torch.no_grad()
    def outputs_from(
        self, batch: Batch, site: Site, activations: Tensor, stream: Tensor | None = None
    ) -> Tensor:
        """Return the outputs with `activations` in place at the site, from there upwards.

        Equal to a full pass with a hook that replaces the site's tensor: the blocks below are not
        run, and everything else (masks, positions, norms, softcaps) is the model's own code.

        Args:
            batch: the batch that the activations belong to.
            site: where they go.
            activations: (text, pos, d), padding included.
            stream: (text, pos, d_model), the input of the site's block, for sites inside a block
                (`stream_below`); without it such a site is computed by a full pass.

        Returns:
            (text, pos, vocab or d_model) in the model's dtype.
        """

        def above(texts: slice) -> list[Tensor]:
            given = None if stream is None else stream[texts]
            return [self._above(batch.take(texts), site, activations[texts], given)]

        (outputs,) = in_halves(above, batch)
        return outputs

    def next_logits_from(
        self, batch: Batch, site: Site, activations: Tensor, stream: Tensor | None = None
    ) -> Tensor:
        """Return the logits (text, vocab) of the token after each text; see `logits_from`.

        The head sees the last token of each text alone. Under `torch.enable_grad` gradients flow
        back to `activations`; the weights are frozen and get none.

        Raises:
            ModelError: it is an encoder.
        """
        self._require_predictions()
        self._block_tuples()  # runs the model where it is not known, which the hook must not see
        with self._only_last(batch):
            return self._above(batch, site, activations, stream)[:, 0]

    def next_logits(self, batch: Batch) -> Tensor:
        """Return the logits (text, vocab) of the token after each text.

        Under `torch.enable_grad` gradients flow back to whatever hooks have put in place.

        Raises:
            ModelError: it is an encoder.
        """
        self._require_predictions()
        with self._only_last(batch):
            return self._forward(batch.to(self.device))[:, 0]

    @contextmanager
    def _only_last(self, batch: Batch) -> Iterator[None]:
        """Let the head see the last token of each text alone."""
        last = (batch.attention.sum(1) - 1).to(self.device)
        texts = torch.arange(len(last), device=self.device)

        def keep_last(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (args[0][texts, last][:, None], *args[1:])

        handle = self.hf.get_output_embeddings().register_forward_pre_hook(keep_last)
        try:
            yield
        finally:
            handle.remove()

    def _above(
        self, batch: Batch, site: Site, activations: Tensor, stream: Tensor | None
    ) -> Tensor:
        batch = batch.to(self.device)
        activations = activations.to(self.device, self.dtype)
        with ExitStack() as stack:
            if site.stream:
                # Every view of the stream between blocks puts back just what it is given.
                first = site.layer + (site.side == "output")
                self._start_at(stack, first, activations)
                return self._forward(batch)
            if stream is not None:
                self._start_at(stack, site.layer, stream.to(self.device, self.dtype))
            stack.enter_context(self.placed(batch, site, activations))
            return self._forward(batch)

    @contextmanager
    def placed(self, batch: Batch, site: Site, activations: Tensor) -> Iterator[None]:
        """Have `activations` (text, pos, d) in place at the site whenever the model is run."""
        module, there = self._module(site), self._view(site)
        activations = activations.to(self.device, self.dtype)
        with ExitStack() as stack:
            if site.middle:
                self._carry(stack, site.layer, activations)
            stack.enter_context(
                edited(
                    module,
                    site.side,
                    lambda hidden: there.put(activations, _per_token(hidden, batch, site)),
                )
            )
            yield

    def _carry(self, stack: ExitStack, layer: int, middle: Tensor) -> None:
        """Let a block's output be `middle` and what its MLP adds: the stream goes past the MLP."""
        block = blocks.find_blocks(self.hf)[1][layer]
        writer = block.get_submodule(blocks.mlp_writer(block) or "")
        added: list[Tensor] = []
        stack.enter_context(edited(writer, "output", added.append))
        stack.enter_context(
            edited(block, "output", lambda _: middle + added.pop().reshape(middle.shape))
        )

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
                self.outputs(self._few_tokens())
            finally:
                for handle in handles:
                    handle.remove()
            self._tuples = found
        return self._tuples

    def _forward(self, batch: Batch) -> Tensor:
        limit = self.positions
        if limit is not None and batch.shape[1] > limit:
            raise ModelError(
                f"a text of {batch.shape[1]} tokens is longer than the {limit} positions of "
                f"{self.name}: use a context of {limit} or less"
            )
        mask = batch.attention.long()
        with tf32.passing(self.device, self.dtype):
            if not self.predicts:
                hidden: Tensor = self.hf(input_ids=batch.ids, attention_mask=mask).last_hidden_state
                return hidden
            output = self.hf(input_ids=batch.ids, attention_mask=mask, use_cache=False)
        logits = first_tensor(output.logits)
        if logits is None:
            raise ModelError(f"{self.name} returns no logits: a causal language model is needed")
        return logits

    @property
    def positions(self) -> int | None:
        limit: int | None = getattr(
            self.hf.config.get_text_config(), "max_position_embeddings", None
        )
        embeddings = getattr(getattr(self.hf, "embeddings", None), "position_embeddings", None)
        # RoBERTa counts positions from behind its padding's.
        padding = getattr(embeddings, "padding_idx", None)
        return limit if limit is None or padding is None else limit - padding - 1

    def _require_predictions(self) -> None:
        if not self.predicts:
            raise ModelError(f"{self.name}: {NO_PREDICTION}")

    def _view(self, site: Site) -> SiteView:
        if site not in self._views:
            self._views[site] = view_of(site, self._module(site), self._value_bias)
        return self._views[site]

    def _value_bias(self, site: Site) -> Tensor:
        """What the biases of the heads' values add to their outputs, (d,).

        Attention gives means of values, so that with the same input at every token it gives their
        common value: with zeros the bias, with a norm's bias that bias folded into the values too.
        """
        block = blocks.find_blocks(self.hf)[1][site.layer]
        attention, norm = blocks.attention(block), blocks.first_norm(block)
        given: Tensor | float = 0.0
        if site.view == "without folded value bias" and norm:
            given = norms.affine(block.get_submodule(norm))[1]
        module = block.get_submodule(attention or "")
        heads = replace(site, view="as it is", columns=None)
        with edited(module, "input", lambda hidden: torch.zeros_like(hidden) + given):
            z = self.capture(self._few_tokens(), [heads])[heads].flatten(0, 1)
        # The first token attends to itself alone; elsewhere weights add up to one but for rounding.
        tolerance = 1e-3 if z.dtype == torch.float32 else 0.05
        if not torch.allclose(z, z[:1].expand_as(z), rtol=tolerance, atol=0.01 * tolerance):
            raise SiteError(
                f"{site.hook_name}: the heads of {self.name} do not give means of their values, "
                "so that fold_value_biases cannot be repeated: train the SAE without"
            )
        return z[0]

    def _module(self, site: Site) -> nn.Module:
        module: nn.Module = self.hf.get_submodule(site.module)
        return module

    def _few_tokens(self) -> Batch:
        # Two texts of three: a tensor without texts (rotary embeddings) must not pass for one.
        ones = torch.ones(2, 3, dtype=torch.bool)
        return Batch(torch.zeros(2, 3, dtype=torch.long), ones, ones, torch.arange(2))


def _beside(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=-1)


def _constant(value: Any) -> Any:
    return lambda *args, **kwargs: value


def _per_token(hidden: Tensor, batch: Batch, site: Site) -> Tensor:
    texts, positions = batch.shape
    # Some blocks flatten texts and positions for their MLP; some hooks keep the heads apart.
    if hidden.shape[0] in (texts, texts * positions) and hidden.numel() % (texts * positions) == 0:
        return hidden.reshape(texts, positions, -1)
    raise SiteError(
        f"{site.module} gives a tensor of shape {tuple(hidden.shape)}, not one vector for each of "
        f"{texts} x {positions} tokens: pick another site"
    )
