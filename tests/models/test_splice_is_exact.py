"""Running only the layers above a site must equal a full pass with a replacing hook."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pytest_sae.errors import SiteError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.prove import captured, prove
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import Batch
from tests.models.architectures import ARCHITECTURES, ENCODERS, language_model, padded_batch

HOOKS = (
    "blocks.0.hook_resid_pre",
    "blocks.1.hook_resid_pre",
    "blocks.1.hook_resid_post",
    "blocks.2.hook_resid_post",
    "blocks.1.hook_mlp_out",
    "blocks.1.hook_attn_out",
    "blocks.1.attn.hook_z",
    "blocks.1.mlp.hook_post",
    "blocks.1.mlp.hook_in",
)
REFUSED = {  # in these the parts add the stream to their outputs themselves, see below
    (arch, f"blocks.1.{hook}")
    for arch in ("bloom", "mpt")
    for hook in ("hook_mlp_out", "hook_attn_out")
}
NO_SUCH_MODULE = {("mixtral", "blocks.1.mlp.hook_post")}  # each expert has its own


@pytest.fixture(scope="module", params=(*ARCHITECTURES, *ENCODERS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return language_model(request.param)


def plain_forward(model: LanguageModel, batch: Batch, site: Site, new: Tensor | None) -> Tensor:
    """The witness: transformers' forward with an ordinary hook, nothing skipped."""
    module = model.hf.get_submodule(site.module)

    def after(_, args, output):
        if new is None:
            return None
        if isinstance(output, Tensor):
            return new.clone().reshape(output.shape)
        return (new.clone(), *output[1:])

    def before(_, args, kwargs):
        if new is None:
            return None
        if args:
            return (new.clone().reshape(args[0].shape), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": new.clone()}

    if site.side == "output":
        handle = module.register_forward_hook(after)
    else:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    outputs = run(model, batch)
    handle.remove()
    return outputs


@torch.no_grad()
def run(model: LanguageModel, batch: Batch) -> Tensor:
    """transformers' own forward: logits, or an encoder's last hidden state."""
    mask = batch.attention.long()
    if not model.predicts:
        return model.hf(input_ids=batch.ids, attention_mask=mask)[0]
    return model.hf(input_ids=batch.ids, attention_mask=mask, use_cache=False).logits


def sites(model: LanguageModel) -> list[Site]:
    left_out = REFUSED | NO_SUCH_MODULE
    return [model.site(name) for name in HOOKS if (model.name, name) not in left_out]


def test_unchanged_activations_give_the_same_outputs_to_the_bit(model: LanguageModel) -> None:
    batch = padded_batch()
    for site in sites(model):
        x, stream = captured(model, batch, site)
        clean = plain_forward(model, batch, site, None)
        assert torch.equal(model.outputs_from(batch, site, x, stream), clean), site
        assert torch.equal(model.outputs_from(batch, site, x), clean), site
        assert torch.equal(model.outputs(batch), clean), site


def test_changed_activations_equal_a_full_pass_with_a_hook(model: LanguageModel) -> None:
    batch = padded_batch(seed=3)
    for site in sites(model):
        x, stream = captured(model, batch, site)
        new = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
        expected = plain_forward(model, batch, site, new)
        kept = new.clone()
        assert torch.equal(model.outputs_from(batch, site, new, stream), expected), site
        assert torch.equal(model.outputs_from(batch, site, new), expected), site
        assert torch.equal(new, kept), "the caller's tensor was written to"


def test_captured_activations_are_what_a_plain_hook_sees(model: LanguageModel) -> None:
    batch = padded_batch()
    wanted = [site for site in sites(model) if site.side == "output"]
    together = model.capture(batch, wanted)
    for site in wanted:
        seen: list[Tensor] = []
        handle = model.hf.get_submodule(site.module).register_forward_hook(
            lambda _, __, out, seen=seen: seen.append(out if isinstance(out, Tensor) else out[0])
        )
        run(model, batch)
        handle.remove()
        if not (model.name == "falcon" and "mlp" in site.module):  # it is added to in place later
            assert torch.equal(together[site], seen[0].reshape(together[site].shape)), site
        assert torch.equal(together[site], model.capture(batch, [site])[site])


def test_a_text_reads_the_same_alone_and_padded_in_a_batch(model: LanguageModel) -> None:
    lengths = (4, 9, 6)
    batch, site = padded_batch(lengths), model.site("blocks.1.hook_resid_post")
    x = model.capture(batch, [site])[site]
    for text, length in enumerate(lengths):
        ids = batch.ids[text : text + 1, :length]
        ones = torch.ones_like(ids, dtype=torch.bool)
        alone = model.capture(Batch(ids, ones, ones, torch.tensor([0])), [site])[site]
        torch.testing.assert_close(alone[0], x[text, :length], rtol=1e-4, atol=1e-4)


def test_every_site_that_is_offered_can_be_proven(model: LanguageModel) -> None:
    for site in sites(model):
        prove(model, site)
        assert model.width(site) == model.capture(padded_batch(), [site])[site].shape[-1]


@pytest.mark.parametrize(("arch", "hook"), sorted(REFUSED))
def test_parts_that_add_the_stream_themselves_are_refused(arch: str, hook: str) -> None:
    model = language_model(arch)
    with pytest.raises(SiteError, match="not give what is added to the stream"):
        prove(model, model.site(hook))


def test_post_norms_are_part_of_what_gemma_writes() -> None:
    model = language_model("gemma2")
    assert model.site("blocks.1.hook_mlp_out").module.endswith(".post_feedforward_layernorm")
    assert model.site("blocks.1.hook_attn_out").module.endswith(".post_attention_layernorm")
    assert language_model("llama").site("blocks.1.hook_mlp_out").module == "model.layers.1.mlp"
