"""What sae_lens writes: `python -m tests.dictionaries.releases.sae_lens_files OUT`.

Its classes were three in turn: SparseAutoencoder (1, 2), SAE (3 to 5), one class for each kind (6).
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from tests.dictionaries.releases.recorded import D_IN, D_SAE, K, fill, tokens, without_init, write
from tests.tiny import tiny_model

HOOK = "blocks.1.hook_resid_post"
TEXT = "w1 w5 w9 w3 w30 w12 w7"
NORMALISED = ("constant_norm_rescale", "layer_norm")

#: name, what saves it, what gives latents and reconstruction.
Made = tuple[str, Callable[[str], None], Callable[[Tensor], tuple[Tensor, Tensor]]]


def main(out: Path) -> None:
    release = int(version("sae-lens").partition(".")[0])
    if release < 6:  # later ones register their classes there
        without_init("sae_lens")
        shell: Any = sys.modules["sae_lens"]
        shell.__version__, shell.logger = version("sae-lens"), logging.getLogger("sae_lens")
    out.mkdir(parents=True, exist_ok=True)
    made = _first if release < 3 else _second if release < 6 else _third
    (out / "text.txt").write_text(TEXT)
    site = {"site": _site(out / "model", release)}
    for name, save, outputs in made():
        with torch.no_grad():
            x = tokens()
            save(str(out / name))
            z, y = outputs(x)
        figures = {"x": x, "z": z, "y": y, **site}
        settings = f"sae_lens,model={out.resolve() / 'model'}"
        write(out, name, figures, settings=settings, hook_in=HOOK)


def _first() -> Iterator[Made]:
    sys.modules["wandb"] = MagicMock()  # of its training, which is not called
    config_class = import_module("sae_lens.training.config").LanguageModelSAERunnerConfig
    module = import_module("sae_lens.training.sparse_autoencoder")
    for name, changes in {"standard": {}, "uncentred": {"apply_b_dec_to_input": False}}.items():
        config = config_class(
            model_name="tiny",
            hook_point=HOOK,
            hook_point_layer=1,
            d_in=D_IN,
            expansion_factor=D_SAE // D_IN,
            dtype=torch.float32,
            log_to_wandb=False,
            **changes,
        )
        sae = module.SparseAutoencoder(config)
        fill(sae)
        sae.scaling_factor.data.fill_(1.0)  # until it was fine-tuned
        yield (
            name,
            sae.save_model,
            lambda x, sae=sae: (
                sae(x).feature_acts,
                sae(x).sae_out,
            ),
        )


def _second() -> Iterator[Made]:
    module = import_module("sae_lens.sae")
    known = module.SAEConfig.__dataclass_fields__
    topk = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    kinds: dict[str, dict[str, Any]] = {
        "standard": {},
        "uncentred": {"apply_b_dec_to_input": False},
        "gated": {"architecture": "gated", "apply_b_dec_to_input": False},
        "jumprelu": {"architecture": "jumprelu"},
        "topk": topk,
        "topk_architecture": {"architecture": "topk", **topk},
        **{name: {"normalize_activations": name} for name in NORMALISED},
    }
    allowed = str(known["architecture"].type) if "architecture" in known else "standard"
    for name, changes in kinds.items():
        if changes.get("architecture", "standard") not in allowed:
            continue
        config = {
            "architecture": "standard",
            "d_in": D_IN,
            "d_sae": D_SAE,
            "activation_fn_str": "relu",
            "apply_b_dec_to_input": True,
            "finetuning_scaling_factor": False,
            "context_size": 32,
            "model_name": "tiny",
            "hook_name": HOOK,
            "hook_layer": 1,
            "hook_head_index": None,
            "prepend_bos": True,
            "dataset_path": "lab/texts",
            "dataset_trust_remote_code": True,
            "normalize_activations": "none",
            "dtype": "float32",
            "device": "cpu",
            "sae_lens_training_version": version("sae-lens"),
            **changes,
        }
        sae = module.SAE(module.SAEConfig(**{k: v for k, v in config.items() if k in known}))
        fill(sae)
        yield name, sae.save_model, lambda x, sae=sae: (sae.encode(x), sae(x))


def _third() -> Iterator[Made]:
    registry = import_module("sae_lens.registry")
    import_module("sae_lens")
    metadata = import_module("sae_lens.saes.sae").SAEMetadata
    own: dict[str, dict[str, Any]] = {
        "topk": {"k": K},
        "abstopk": {"k": K},
        "matching_pursuit": {"max_iterations": K, "residual_threshold": 1e-2},
    }
    for name in ("standard", "gated", "jumprelu", *own, *NORMALISED):
        architecture = "standard" if name in NORMALISED else name
        try:
            sae_class, config_class = registry.get_sae_class(architecture)
        except KeyError:
            continue
        normalised = {"normalize_activations": name} if name in NORMALISED else {}
        about = metadata(model_name="tiny", hook_name=HOOK, prepend_bos=True, context_size=32)
        config = {
            "d_in": D_IN,
            "d_sae": D_SAE,
            "metadata": about,
            **own.get(name, {}),
            **normalised,
        }
        sae = sae_class(config_class(**config))
        fill(sae)
        if name == "matching_pursuit":  # as its training keeps them
            sae.W_dec.data /= sae.W_dec.norm(dim=1, keepdim=True)
        yield name, sae.save_model, lambda x, sae=sae: (sae.encode(x), sae(x))


@torch.no_grad()
def _site(directory: Path, release: int) -> Tensor:
    """(position, d): the hook's activations of TEXT, in the model as this release loads it."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        conversions = import_module("transformer_lens.pretrained.weight_conversions")
    except ModuleNotFoundError:  # before its version 2
        conversions = import_module("transformer_lens.loading_from_pretrained")

    tiny_model(directory, "gpt2", d=D_IN)
    hf = AutoModelForCausalLM.from_pretrained(directory).eval()
    config = HookedTransformerConfig(
        n_layers=hf.config.n_layer,
        d_model=hf.config.n_embd,
        n_ctx=hf.config.n_positions,
        d_head=hf.config.n_embd // hf.config.n_head,
        n_heads=hf.config.n_head,
        d_mlp=4 * hf.config.n_embd,
        d_vocab=hf.config.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        eps=hf.config.layer_norm_epsilon,
    )
    model = HookedTransformer(config)
    processed = _processing(HookedTransformer, release)
    model.load_and_process_state_dict(conversions.convert_gpt2_weights(hf, config), **processed)
    ids = AutoTokenizer.from_pretrained(directory)(TEXT, return_tensors="pt").input_ids
    return model.run_with_cache(ids)[1][HOOK][0]


def _processing(hooked: Any, release: int) -> dict[str, bool]:
    """What this release asks of the loading of a model, for which no weights are at hand here."""
    module = import_module(f"sae_lens{'.training' if release < 3 else ''}.load_model")
    asked: dict[str, Any] = {}
    with_, without = hooked.from_pretrained, hooked.from_pretrained_no_processing

    def saying(real: Any) -> Any:
        def instead(*args: Any, **kwargs: Any) -> None:
            bound = inspect.signature(real).bind(*args, **kwargs)
            bound.apply_defaults()
            asked.update(bound.arguments)

        return instead

    hooked.from_pretrained, hooked.from_pretrained_no_processing = saying(with_), saying(without)
    given = (
        {} if release < 4 else {"model_from_pretrained_kwargs": {"center_writing_weights": False}}
    )
    try:
        module.load_model("HookedTransformer", "gpt2", device="cpu", **given)
    finally:
        hooked.from_pretrained, hooked.from_pretrained_no_processing = with_, without
    names = ("fold_ln", "center_writing_weights", "fold_value_biases")
    return {"center_unembed": False, **{name: bool(asked[name]) for name in names}}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
