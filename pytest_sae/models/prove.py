"""Proof by experiment that a site is what it seems, on a few random tokens."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor

from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models import blocks
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.models.splice import edited, replaced_forward
from pytest_sae.models.tokenize import Batch

_LENGTHS = (5, 8, 7)


def prove(model: LanguageModel, site: Site) -> None:
    """Check that splicing at a site does what the metrics rely on.

    Putting back what was captured changes nothing, putting zeros there changes something, and
    running only the layers above gives the same outputs (logits, or an encoder's last hidden
    state) as a full pass with a replacing hook.

    Args:
        model: is run on a few random tokens.
        site: of that model.

    Raises:
        SiteError: one of the three does not hold, or the site gives no (text, pos, d) tensor.
        ModelError: the model's outputs are not finite.
    """
    batch = _random_batch(model)
    if site.middle:
        _prove_middle(model, site, batch)
    if site.hook_name.endswith((".hook_attn_out", ".hook_mlp_out")):
        _prove_writer(model, site, batch)
    clean = model.outputs(batch)
    if not clean[batch.attention].isfinite().all():
        raise ModelError(
            f"{model.name} gives outputs that are not finite: are its weights damaged?"
        )
    x, stream = captured(model, batch, site)
    tolerance = _tolerance(site, clean.dtype) * float(clean[batch.attention].abs().max())

    identity = _distance(model.outputs_from(batch, site, x, stream), clean, batch)
    if not identity <= tolerance:
        raise SiteError(_message(site, model, "putting back its own values", identity))
    # Some noise as well, since zeros alone could be reached by a site that is read too late.
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    for other, name in ((torch.zeros_like(x), "zeros"), (x + noise * x.std(), "noise")):
        fast = model.outputs_from(batch, site, other, stream)
        if not _distance(fast, clean, batch) > tolerance:
            raise SiteError(
                f"{site.hook_name} ({site.module}, {site.reads}): putting {name} there does not "
                f"change the outputs of {model.name}, so nothing above reads it: pick another site"
            )
        apart = _distance(fast, fully_spliced(model, batch, site, other), batch)
        if not apart <= tolerance:
            raise SiteError(_message(site, model, f"running only the layers above ({name})", apart))


def captured(model: LanguageModel, batch: Batch, site: Site) -> tuple[Tensor, Tensor | None]:
    """Return a site's activations, and the input of its block where a splice needs it.

    Args:
        model: is run up to the site.
        batch: of tokens.
        site: what is read.

    Returns:
        (text, pos, d) activations, and (text, pos, d) or None.
    """
    below = model.stream_below(site)
    seen = model.capture(batch, [site] if below is None else [site, below])
    return seen[site], None if below is None else seen[below]


@torch.no_grad()
def fully_spliced(model: LanguageModel, batch: Batch, site: Site, x: Tensor) -> Tensor:
    """Return the outputs of a full pass with x put in place by a hook: the slow witness.

    Args:
        model: is run from its start.
        batch: of tokens.
        site: where x is put.
        x: (text, pos, d).

    Returns:
        (text, pos, vocab) logits, or the last hidden state (text, pos, width) of an encoder.
    """
    if not site.stream:
        with model.placed(batch, site, x):
            return model.outputs(batch)
    with edited(model.hf.get_submodule(site.module), site.side, lambda _: x):
        return model.outputs(batch)


def check_fit(name: str, d: int, model: LanguageModel, site: Site, size: str = "d_in") -> None:
    """Check that a dictionary is as wide as the site that it reads, or writes.

    Args:
        name: of the dictionary, for the message.
        d: its width on the side of the site.
        model: the model.
        site: that it reads or writes.
        size: what the message calls d.

    Raises:
        ModelError: it is not; the message names both widths.
    """
    width = model.width(site)
    if width != d:
        where = f"layer {site.layer} {site.side}" if site.stream else site.hook_name
        raise ModelError(
            f"SAE {name!r} has {size} {d}, but {model.name}'s {where} is {width} wide: was it "
            "trained on another model? Pass --sae-model."
        )


def _prove_writer(model: LanguageModel, site: Site, batch: Batch) -> None:
    """With attention and MLP both writing zeros, a block's output must be its input.

    In Bloom it is not: its attention and MLP add the stream to their outputs themselves. Norms do
    nothing meanwhile, since BERT's are in the stream itself.
    """
    path, modules = blocks.find_blocks(model.hf)
    block = modules[site.layer]
    with ExitStack() as stack:
        for _, norm in blocks.norms(block):
            stack.enter_context(replaced_forward(norm, _unchanged))
        for part in (blocks.attention_writer(block), blocks.mlp_writer(block)):
            if part is not None:
                stack.enter_context(edited(block.get_submodule(part), "output", torch.zeros_like))
        ends = [model.site(f"blocks.{site.layer}.{name}") for name in ("hook_in", "hook_out")]
        seen = model.capture(batch, ends)
    if not torch.equal(seen[ends[0]][batch.attention], seen[ends[1]][batch.attention]):
        raise SiteError(
            f"{site.hook_name}: {site.module} of {model.name} does not give what is added to the "
            f"stream: use the block's output ({path}.{site.layer}) or a module path"
        )


def _unchanged(hidden: Tensor, *_: object, **__: object) -> Tensor:
    return hidden


def _prove_middle(model: LanguageModel, site: Site, batch: Batch) -> None:
    """The stream after the attention must be the stream before it and what the attention adds."""
    names = ("hook_resid_pre", "hook_attn_out")
    before, added = (model.site(f"blocks.{site.layer}.{name}") for name in names)
    whole = replace(site, view="as it is")
    seen = model.capture(batch, [before, added, whole])
    apart = (seen[before] + seen[added] - seen[whole])[batch.attention].abs().max()
    if not apart <= 1e-2 * seen[added][batch.attention].abs().max():
        raise SiteError(
            f"{site.hook_name}: the MLP of {model.name} does not read the stream before its "
            "attention and what the attention adds to it (the two may run side by side): use the "
            "stream before or after the block"
        )


def _tolerance(site: Site, dtype: torch.dtype) -> float:
    exact = site.view == "as it is"
    single = 1e-5 if exact else 1e-4  # a mean or a norm's weight costs a digit
    return single if dtype == torch.float32 else (2 if exact else 8) * torch.finfo(dtype).eps


def _random_batch(model: LanguageModel) -> Batch:
    generator = torch.Generator().manual_seed(0)
    vocab = model.hf.get_input_embeddings().num_embeddings
    ids = torch.randint(vocab, (len(_LENGTHS), max(_LENGTHS)), generator=generator)
    attention = torch.arange(max(_LENGTHS)) < torch.tensor(_LENGTHS)[:, None]
    return Batch(ids, attention, attention, torch.arange(len(_LENGTHS)))


def _distance(logits: Tensor, other: Tensor, batch: Batch) -> float:
    return float((logits - other)[batch.attention.to(logits.device)].abs().max())


def _message(site: Site, model: LanguageModel, what: str, distance: float) -> str:
    return (
        f"{site.hook_name} ({site.module}, {site.reads}): {what} moves the outputs of "
        f"{model.name} by {distance:.2g} where it should not: this site cannot be spliced"
    )
