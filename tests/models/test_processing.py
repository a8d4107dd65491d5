"""Sites of a model as TransformerLens processes it, read from the model as it is.

The witnesses are the same models with their weights processed by hand, and TransformerLens itself.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.errors import SiteError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.processing import NONE, Processing, declared
from pytest_sae.models.prove import captured, prove
from tests.models.architectures import language_model, padded_batch

CENTRED = Processing(center_writing_weights=True)
FOLDED = Processing(fold_ln=True)
DEFAULTS = Processing(fold_ln=True, center_writing_weights=True, fold_value_biases=True)
STREAM = ("hook_resid_pre", "hook_resid_post", "hook_resid_mid", "hook_attn_out", "hook_mlp_out")
INNER = ("attn.hook_z", "mlp.hook_pre", "mlp.hook_post")
NORMS = ("ln1.hook_normalized", "ln2.hook_normalized")
LAYER_NORMS = ("gpt2", "gpt_neox", "phi", "opt", "gptj")


def copied(model: LanguageModel) -> LanguageModel:
    return LanguageModel(deepcopy(model.hf), None, model.name, model.fingerprint, "none")


@torch.no_grad()
def centred_by_hand(model: LanguageModel) -> LanguageModel:
    """All that is added to the stream, each vector less its mean."""
    other = copied(model)
    for path, module in other.hf.named_modules():
        name = path.rsplit(".", 1)[-1]
        if name in ("wte", "wpe", "embed_in", "embed_tokens", "embed_positions"):
            module.weight -= module.weight.mean(1, keepdim=True)
        elif path.endswith(("c_proj", "attention.dense", "dense_4h_to_h", "self_attn.dense", "fc2",
                            "out_proj", "fc_out")):  # fmt: skip
            across = 1 if type(module).__name__ == "Conv1D" else 0
            module.weight -= module.weight.mean(across, keepdim=True)
            if module.bias is not None:
                module.bias -= module.bias.mean()
    return other


def untied(model: LanguageModel) -> LanguageModel:
    """The unembedding is no writing weight: where it is the embedding, give it its own tensor."""
    head = model.hf.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.clone(), requires_grad=False)
    return model


@torch.no_grad()
def gpt2_folded_by_hand(model: LanguageModel, values: bool) -> LanguageModel:
    """Norms' weights and biases in what reads them; the values' biases in the output's.

    What reads a norm ignores the mean of what it is given, as that is zero.
    """
    other = copied(model)
    for block in other.hf.transformer.h:
        for norm, reader in ((block.ln_1, block.attn.c_attn), (block.ln_2, block.mlp.c_fc)):
            reader.bias += norm.bias @ reader.weight
            reader.weight *= norm.weight[:, None]
            reader.weight -= reader.weight.mean(0, keepdim=True)
            norm.weight.fill_(1)
            norm.bias.zero_()
        if values:
            bias = block.attn.c_attn.bias[64:]
            block.attn.c_proj.bias += bias @ block.attn.c_proj.weight
            bias.zero_()
    return other


def test_a_centred_model_is_read_from_the_model_as_it_is() -> None:
    batch = padded_batch()
    for arch in LAYER_NORMS:
        model = untied(language_model(arch))
        witness = centred_by_hand(model)
        torch.testing.assert_close(witness.logits(batch), model.logits(batch), rtol=1e-4, atol=1e-4)
        for hook in (*STREAM, *INNER):
            if hook == "hook_resid_mid" and arch in ("gpt_neox", "phi", "gptj"):
                continue
            same(model, witness, f"blocks.1.{hook}", CENTRED)


def same(model: LanguageModel, witness: LanguageModel, hook: str, processing: Processing) -> None:
    """Equal activations, and equal logits whatever is put there."""
    batch, site, plain = padded_batch(), model.site(hook, processing), witness.site(hook)
    prove(model, site)
    x, stream = captured(model, batch, site)
    expected, below = captured(witness, batch, plain)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=2e-5, msg=f"{model.name} {hook}")
    for new in (torch.zeros_like(x), x + torch.randn(x.shape), x + 3):
        torch.testing.assert_close(
            model.logits_from(batch, site, new, stream),
            witness.logits_from(batch, plain, new, below),
            rtol=1e-4,
            atol=1e-4,
            msg=f"{model.name} {hook}",
        )


@pytest.mark.parametrize("hook", [*STREAM, *INNER])
def test_folded_norms_change_nothing_elsewhere(hook: str) -> None:
    model = language_model("gpt2")
    same(model, gpt2_folded_by_hand(model, values=False), f"blocks.1.{hook}", FOLDED)


@pytest.mark.parametrize("norm", ["ln1", "ln2"])
def test_a_folded_norm_gives_the_normalised_stream(norm: str) -> None:
    model = language_model("gpt2")
    witness = gpt2_folded_by_hand(model, values=False)
    site = model.site(f"blocks.1.{norm}.hook_normalized", FOLDED)
    plain = witness.site(f"transformer.h.1.{norm[:2]}_{norm[2]}")
    batch = padded_batch()
    x = model.capture(batch, [site])[site]
    torch.testing.assert_close(x, witness.capture(batch, [plain])[plain], rtol=1e-5, atol=2e-5)
    new = x + torch.randn(x.shape)
    torch.testing.assert_close(
        model.logits_from(batch, site, new), witness.logits_from(batch, plain, new),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def test_value_biases_folded_away_are_missing_from_the_heads() -> None:
    model = language_model("gpt2")
    both = Processing(fold_ln=True, fold_value_biases=True)
    same(model, gpt2_folded_by_hand(model, values=True), "blocks.1.attn.hook_z", both)
    alone, batch = Processing(fold_value_biases=True), padded_batch()
    plain, site = (model.site("blocks.1.attn.hook_z", each) for each in (NONE, alone))
    seen = model.capture(batch, [plain, site])
    bias = model.hf.transformer.h[1].attn.c_attn.bias[64:]
    torch.testing.assert_close(seen[plain] - seen[site], bias.expand_as(seen[site]))
    head = model.site("blocks.1.attn.hook_z", alone, head=2)
    assert torch.equal(model.capture(batch, [head])[head], seen[site][..., 16:24])
    prove(model, head)


@pytest.mark.parametrize("arch", ["qwen2", "gpt_neox", "stablelm"])
def test_value_biases_are_found_where_heads_share_or_interleave_them(arch: str) -> None:
    """The witness: the weights' own layout, written out for each architecture."""
    model = language_model(arch, attention_bias=True, use_qkv_bias=True)
    alone, batch = Processing(fold_value_biases=True), padded_batch()
    plain, site = (model.site("blocks.1.attn.hook_z", each) for each in (NONE, alone))
    seen = model.capture(batch, [plain, site])
    block = model.hf.get_submodule(plain.module.rsplit(".", 1)[0])
    if arch == "gpt_neox":
        bias = block.query_key_value.bias.view(4, 3, 8)[:, 2].flatten()
    else:
        bias = block.v_proj.bias.view(2, 1, 8).expand(2, 2, 8).flatten()
    torch.testing.assert_close(seen[plain] - seen[site], bias.expand_as(seen[site]))


def test_transformer_lens_itself_agrees() -> None:
    """Its HookedTransformer with its default processing of the same weights."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights

    model, batch = language_model("gpt2"), padded_batch((9, 9, 9))
    config = HookedTransformerConfig(
        n_layers=3, d_model=32, n_ctx=64, d_head=8, n_heads=4, d_mlp=128, d_vocab=64,
        act_fn="gelu_new", normalization_type="LNPre", device="cpu", eps=1e-5,
    )  # fmt: skip
    lens: Any = HookedTransformer(config)
    lens.load_and_process_state_dict(convert_gpt2_weights(deepcopy(model.hf), config))
    with torch.no_grad():
        _, cache = lens.run_with_cache(batch.ids)
    for hook in (*STREAM, *INNER, *NORMS):
        name = f"blocks.1.{hook}"
        site = model.site(name, DEFAULTS)
        x = model.capture(batch, [site])[site]
        expected = cache[name].reshape(x.shape)
        torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-4, msg=hook)
        new = x + torch.randn(x.shape)

        def put(value: Tensor, hook: object, new: Tensor = new) -> Tensor:
            return new.reshape(value.shape)

        with torch.no_grad():
            logits = lens.run_with_hooks(batch.ids, fwd_hooks=[(name, put)]).log_softmax(-1)
        found = model.logits_from(batch, site, new).log_softmax(-1)
        torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4, msg=hook)


@pytest.mark.parametrize("arch", ["llama", "gemma2", "olmo2", "qwen3"])
def test_models_with_rms_norms_are_never_centred(arch: str) -> None:
    model = language_model(arch)
    for hook in STREAM:
        assert model.site(f"blocks.1.{hook}", CENTRED) == model.site(f"blocks.1.{hook}")


@pytest.mark.parametrize("arch", ["bloom", "bert", "modernbert"])
def test_norms_in_the_stream_cannot_be_centred(arch: str) -> None:
    with pytest.raises(SiteError, match="norms in the stream itself"):
        language_model(arch).site("blocks.1.hook_resid_post", CENTRED)


def test_module_paths_are_processed_like_their_hooks() -> None:
    model = language_model("gpt2")
    for path, hook in (("transformer.h.1", "hook_resid_post"), ("h.1.mlp", "hook_mlp_out")):
        site = model.site(path, CENTRED)
        named = model.site(f"blocks.1.{hook}", CENTRED)
        assert (site.module, site.reads) == (named.module, named.reads)
        assert site.view == "centred"
    assert model.site("transformer.h.1.ln_2.input", CENTRED).view == "centred"
    with pytest.raises(SiteError, match="outside the blocks"):
        model.site("transformer.wte", CENTRED)
    with pytest.raises(SiteError, match="name hook_normalized of the norm"):
        model.site("transformer.h.1.ln_2", FOLDED)
    with pytest.raises(SiteError, match="name hook_normalized of the norm"):
        model.site("blocks.1.mlp.hook_in", FOLDED)


def test_sites_that_differ_in_their_view_are_cached_apart() -> None:
    model = language_model("gpt2")
    z = "blocks.1.attn.hook_z"
    sites = [
        model.site("blocks.1.hook_resid_post"), model.site("blocks.1.hook_resid_post", CENTRED),
        model.site(z), model.site(z, DEFAULTS), model.site(z, head=1), model.site(z, head=2),
    ]  # fmt: skip
    assert len({(site.module, site.reads) for site in sites}) == len(sites)


def test_metadata_declare_what_was_processed() -> None:
    def of(**metadata: object) -> Processing:
        return declared(metadata)

    hooked = {"model_class_name": "HookedTransformer"}
    assert of() == of(**hooked) == of(**hooked, model_from_pretrained_kwargs={}) == NONE
    assert of(model_from_pretrained_kwargs=None) == NONE
    centre = {"center_writing_weights": True, "center_unembed": True, "dtype": "float32"}
    assert of(**hooked, model_from_pretrained_kwargs=centre) == CENTRED
    assert of(model_from_pretrained_kwargs=centre) == CENTRED
    other = {"model_class_name": "AutoModelForCausalLM"}
    assert of(**other, model_from_pretrained_kwargs={"device_map": "auto"}) == NONE
    assert not NONE
    assert DEFAULTS
    with pytest.raises(SiteError, match="refactor_factored_attn_matrices"):
        of(model_from_pretrained_kwargs={"refactor_factored_attn_matrices": True})
    with pytest.raises(SiteError, match="fold_ln is 'yes': expected true or false"):
        of(model_from_pretrained_kwargs={"fold_ln": "yes"})
