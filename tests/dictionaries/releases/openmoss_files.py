"""What OpenMOSS' library writes: `python -m tests.dictionaries.releases.openmoss_files OUT`.

It is called lm-saes, and since 2026 llamascopium.
"""

from __future__ import annotations

import sys
from importlib import import_module, util
from pathlib import Path
from typing import Any

import torch

from tests.dictionaries.releases.recorded import D_IN, D_SAE, K, fill, tokens, without_init, write

READS, WRITES = "blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"
NORMS = {READS: 5.5, WRITES: 3.0}

KINDS: dict[str, dict[str, Any]] = {
    "relu": {"norm_activation": "inference"},
    "topk": {"act_fn": "topk"},
    "topk_plain": {"act_fn": "topk", "sparsity_include_decoder_norm": False},
    "jumprelu": {"act_fn": "jumprelu"},
    "glu": {"use_glu_encoder": True},
    "transcoder": {"act_fn": "jumprelu", "hook_point_out": WRITES},
    "token_wise_relu": {"norm_activation": "token-wise"},
    "token_wise_topk": {"norm_activation": "token-wise", "act_fn": "topk"},
    "token_wise_jumprelu": {"norm_activation": "token-wise", "act_fn": "jumprelu"},
}


def library() -> tuple[Any, Any]:
    """The configuration's class and the dictionary's."""
    if util.find_spec("llamascopium"):
        without_init("llamascopium")
        module = import_module("llamascopium.models.sae")
        return module.SAEConfig, module.SparseAutoEncoder
    without_init("lm_saes")
    module = import_module("lm_saes.sae")
    return import_module("lm_saes.config").SAEConfig, module.SparseAutoEncoder


@torch.no_grad()
def main(out: Path) -> None:
    exact = bool(util.find_spec("llamascopium"))  # lm-saes bisects, to k give or take one
    config_class, sae_class = library()
    for name, changes in KINDS.items():
        if changes.get("act_fn") == "topk" and not exact:
            continue
        given = {"hook_point_in": READS, "hook_point_out": READS, "top_k": K, **changes}
        config = config_class(d_model=D_IN, expansion_factor=D_SAE // D_IN, **given)
        sae, x = sae_class(config), tokens()
        fill(sae)
        sae.set_dataset_average_activation_norm(
            {hook: NORMS[hook] for hook in {config.hook_point_in, config.hook_point_out}}
        )
        sae.save_pretrained(out / name)
        config.save_hyperparameters(out / name)
        # Scaled before, as its trainer does, and scaled back.
        batch = dict.fromkeys(config.associated_hook_points, x)
        scaled, scales = sae.normalize_activations(batch, return_scale_factor=True)
        z = sae.encode(scaled[config.hook_point_in])
        y = sae.decode(z) / scales[config.hook_point_out]
        if config.norm_activation == "dataset-wise":  # latents in the model's own scale
            z = z / scales[config.hook_point_in]
        write(out, name, {"x": x, "z": z, "y": y}, hook_in=config.hook_point_in)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
