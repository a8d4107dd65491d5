"""Capturing and splicing must leave no trace in the model, even when they fail."""

from __future__ import annotations

import pytest
import torch

from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.prove import captured, check_fit, prove
from pytest_sae.models.site import Site
from tests.models.architectures import language_model, padded_batch


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return language_model("llama")


def traces(model: LanguageModel) -> list[object]:
    """Hooks and replaced methods anywhere in the model."""
    found: list[object] = []
    for _, module in model.hf.named_modules():
        found += [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        found += ["forward"] if "forward" in vars(module) else []
    return found


def modules(model: LanguageModel) -> list[int]:
    return [id(module) for module in model.hf.modules()]


def test_a_splice_leaves_no_trace(model: LanguageModel) -> None:
    before, batch = modules(model), padded_batch()
    clean = model.logits(batch)
    for name in ("blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"):
        site = model.site(name)
        x, stream = captured(model, batch, site)
        model.logits_from(batch, site, 0 * x, stream)
    assert traces(model) == []
    assert modules(model) == before
    assert torch.equal(model.logits(batch), clean)


def test_a_failing_splice_leaves_no_trace(model: LanguageModel) -> None:
    batch, site = padded_batch(), model.site("blocks.1.hook_mlp_out")
    x, stream = captured(model, batch, site)
    with pytest.raises(RuntimeError):
        model.logits_from(batch, site, x[..., :5], stream)
    assert traces(model) == []


def test_capture_stops_after_the_last_site(model: LanguageModel) -> None:
    ran: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.hf.named_modules()
    ]
    names = ("blocks.0.hook_resid_post", "blocks.1.hook_attn_out")
    model.capture(padded_batch(), [model.site(name) for name in names])
    for handle in handles:
        handle.remove()
    assert "model.layers.1.self_attn" in ran
    assert not {"model.layers.1.mlp", "model.layers.2", "model.norm", "lm_head"}.intersection(ran)


def test_blocks_below_are_not_run_again(model: LanguageModel) -> None:
    batch, site = padded_batch(), model.site("blocks.1.hook_resid_post")
    x = model.capture(batch, [site])[site]
    model.logits_from(batch, site, x)  # what its blocks return is found out once, by a few tokens
    ran: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.hf.named_modules()
        if name.endswith(("self_attn", "mlp"))
    ]
    model.logits_from(batch, site, x)
    for handle in handles:
        handle.remove()
    assert ran == ["model.layers.2.self_attn", "model.layers.2.mlp"]


def test_what_was_captured_can_be_trained_on(model: LanguageModel) -> None:
    site = model.site("blocks.1.hook_resid_post")
    x = model.capture(padded_batch(), [site])[site]
    weight = torch.zeros(x.shape[-1], requires_grad=True)
    (x @ weight).sum().backward()
    assert weight.grad is not None
    assert not x.requires_grad


def test_a_module_that_never_runs_is_no_site(model: LanguageModel) -> None:
    unused = language_model("llama")
    unused.hf.add_module("aside", torch.nn.Linear(2, 2))
    with pytest.raises(SiteError, match="never runs aside"):
        unused.capture(padded_batch(), [Site("aside", "output", -1, "aside", False)])


def test_a_tensor_that_is_not_per_token_is_no_site(model: LanguageModel) -> None:
    with pytest.raises(SiteError, match="not one vector for each"):
        model.width(Site("model.rotary_emb", "output", -1, "model.rotary_emb", False))


def test_a_dead_end_is_refused(model: LanguageModel) -> None:
    deaf = language_model("llama")
    deaf.hf.model.layers[1].mlp.down_proj.weight.zero_()
    with pytest.raises(SiteError, match="nothing above reads it"):
        prove(deaf, deaf.site("blocks.1.mlp.hook_post"))


def test_a_way_around_the_site_is_found_and_refused() -> None:
    """A last block that also reads what the first one was given: skipping the first shows."""
    leaky = language_model("llama")
    first, last = leaky.hf.model.layers[0], leaky.hf.model.layers[2]
    aside: list[torch.Tensor] = []

    def keep(hidden, *args, **kwargs):
        aside.append(hidden)
        return type(first).forward(first, hidden, *args, **kwargs)

    def add(hidden, *args, **kwargs):
        hidden = hidden + aside.pop() if aside else hidden
        return type(last).forward(last, hidden, *args, **kwargs)

    first.forward, last.forward = keep, add
    with pytest.raises(SiteError, match="cannot be spliced"):
        prove(leaky, leaky.site("blocks.1.hook_resid_post"))
    assert vars(first)["forward"] is keep


def test_damaged_weights_are_told(model: LanguageModel) -> None:
    broken = language_model("llama")
    broken.hf.lm_head.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        prove(broken, broken.site("blocks.1.hook_resid_post"))


def test_a_text_beyond_the_models_positions_is_told(model: LanguageModel) -> None:
    with pytest.raises(ModelError, match="longer than the 64 positions"):
        model.logits(padded_batch((70,)))


def test_a_dictionary_of_another_width_is_told(model: LanguageModel) -> None:
    site = model.site("blocks.1.hook_resid_post")
    check_fit("x", 32, model, site)
    with pytest.raises(ModelError, match=r"d_in 768, but llama's layer 1 output is 32 wide.*--sae"):
        check_fit("x", 768, model, site)
