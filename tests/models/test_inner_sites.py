"""Sites that no module emits as they are: the stream inside a block, heads, halves, norms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pytest_sae.errors import SiteError
from pytest_sae.models import blocks, norms
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.processing import Processing
from pytest_sae.models.prove import captured, prove
from tests.models.architectures import language_model, padded_batch

SEQUENTIAL = (
    "llama", "gpt2", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2",
    "olmo3", "phi3", "opt", "gpt_neo", "stablelm", "glm", "glm4", "smollm3", "mixtral",
    "modernbert",
)  # fmt: skip
FUSED = ("phi3", "glm", "glm4", "modernbert")
FOLDED = Processing(fold_ln=True)


def random_like(x: Tensor) -> Tensor:
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("arch", SEQUENTIAL)
def test_the_stream_between_attention_and_mlp(arch: str) -> None:
    """The witness: what the MLP and its norms make of a stream, added to it by hand."""
    model, batch = language_model(arch), padded_batch()
    site = model.site("blocks.1.hook_resid_mid")
    prove(model, site)
    x, stream = captured(model, batch, site)
    before, added = (model.site(f"blocks.1.{name}") for name in ("hook_in", "hook_attn_out"))
    seen = model.capture(batch, [before, added])
    torch.testing.assert_close(x, seen[before] + seen[added])

    new = random_like(x)
    after = model.site("blocks.1.hook_out")
    expected = model.outputs_from(batch, after, new + mlp_of(model, new))
    found = model.outputs_from(batch, site, new, stream)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found, model.outputs_from(batch, site, new))


@torch.no_grad()
def mlp_of(model: LanguageModel, x: Tensor) -> Tensor:
    block = blocks.find_blocks(model.hf)[1][1]
    steps = [blocks.second_norm(block), blocks.mlp(block)]
    if blocks.mlp(block) is None:  # OPT
        steps = [blocks.second_norm(block), "fc1", "activation_fn", "fc2"]
    if blocks.mlp_writer(block) != blocks.mlp(block) and "fc2" not in steps:
        steps.append(blocks.mlp_writer(block))
    for step in steps:
        x = block.get_submodule(step)(x) if step else x
    return x


def test_side_by_side_there_is_no_stream_between() -> None:
    model = language_model("gpt_neox")
    with pytest.raises(SiteError, match="may run side by side"):
        prove(model, model.site("blocks.1.hook_resid_mid"))
    one_after_the_other = language_model("gpt_neox", use_parallel_residual=False)
    prove(one_after_the_other, one_after_the_other.site("blocks.1.hook_resid_mid"))


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox", "qwen3", "bert"])
def test_a_head_is_its_part_of_what_all_heads_give(arch: str) -> None:
    model, batch = language_model(arch), padded_batch()
    whole = model.site("blocks.1.attn.hook_z")
    z, stream = captured(model, batch, whole)
    for head in range(4):
        site = model.site("blocks.1.attn.hook_z", head=head)
        x = model.capture(batch, [site])[site]
        assert torch.equal(x, z.unflatten(-1, (4, 8))[:, :, head])
        new = z.clone()
        new.unflatten(-1, (4, 8))[:, :, head] = 0
        expected = model.outputs_from(batch, whole, new, stream)
        assert torch.equal(model.outputs_from(batch, site, 0 * x, stream), expected)
    prove(model, site)


@pytest.mark.parametrize("arch", FUSED)
def test_a_fused_projection_gives_the_gate_first(arch: str) -> None:
    model, batch = language_model(arch), padded_batch()
    names = ("mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post")
    pre, linear, post = (model.site(f"blocks.1.{name}") for name in names)
    seen = model.capture(batch, [pre, linear, post])
    act = nn.functional.gelu if arch == "modernbert" else nn.functional.silu
    torch.testing.assert_close(seen[post], act(seen[pre]) * seen[linear])
    for site in (pre, linear):
        prove(model, site)


@pytest.mark.parametrize("norm", ["ln1", "ln2"])
@pytest.mark.parametrize(
    "arch", ["llama", "gemma2", "gemma3_text", "qwen3", "gpt2", "olmo", "phi3"]
)
def test_what_a_norm_gives_before_its_weight(arch: str, norm: str) -> None:
    """The witness: the formula of each norm, written out."""
    model, batch = language_model(arch), padded_batch()
    site = model.site(f"blocks.1.{norm}.hook_normalized", FOLDED)
    prove(model, site)
    given: list[Tensor] = []
    module = model.hf.get_submodule(site.module)
    handle = module.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    x, stream = captured(model, batch, site)
    handle.remove()
    hidden = given[0]
    if arch in ("gpt2", "olmo"):
        hidden = hidden - hidden.mean(-1, keepdim=True)
    eps = next(v for k, v in vars(module).items() if "eps" in k) if arch != "olmo" else 1e-5
    expected = hidden / (hidden.square().mean(-1, keepdim=True) + eps).sqrt()
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)

    new = random_like(x)
    weight = getattr(module, "weight", None)
    weight = 1.0 if weight is None else weight + ("gemma" in arch)
    bias = getattr(module, "bias", None)
    if arch in ("gpt2", "olmo"):
        new = new - new.mean(-1, keepdim=True)
    written = new * weight + (0.0 if bias is None else bias)
    plain = model.site(site.module)
    torch.testing.assert_close(
        model.outputs_from(batch, site, new, stream),
        model.outputs_from(batch, plain, written, stream),
    )


def test_a_norm_is_known_by_what_it_does() -> None:
    for arch, layer_norm in (("gpt2", True), ("olmo", True), ("cohere", True), ("llama", False),
                             ("gemma2", False)):  # fmt: skip
        norm = next(each for _, each in blocks.norms(language_model(arch).hf))
        assert norms.ignores_mean(norm, 32) is layer_norm, arch


def test_a_weight_of_zero_is_no_obstacle() -> None:
    """Dividing the norm's output by its weight would be 0/0."""
    model, batch = language_model("llama"), padded_batch()
    site = model.site("blocks.1.ln2.hook_normalized")
    before = model.capture(batch, [site])[site]
    model.hf.get_submodule(site.module).weight[3] = 0
    fresh = LanguageModel(model.hf, None, "llama", "x", "none")
    assert torch.equal(fresh.capture(batch, [site])[site], before)
