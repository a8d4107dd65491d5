"""The keys of dictionary_learning's config.json, of all its trainers: what is done about each."""

from __future__ import annotations

from pytest_sae.dictionaries.keys import Keys, Refused, names

TRAINER = Keys(
    used=("dict_class", "k", "lm_name", "layer", "submodule_name"),
    harmless=names(
        """
        trainer_class activation_dim dict_size device seed steps lr l1_penalty wandb_name
        warmup_steps sparsity_warmup_steps decay_start resample_steps auxk_alpha threshold_beta
        threshold_start_step top_k_aux group_fractions group_weights group_sizes bandwidth
        sparsity_penalty initial_sparsity_penalty target_l0 sparsity_function p_start p_end
        anneal_start activation_queue_length sparsity_queue_length n_sparsity_updates
        ghost_threshold entropy compile k_anneal_steps kwargs
        """
    ),
    told={"norm_factor": "the library multiplies the biases by it when it saves them"},
)
BUFFER = Keys(
    used=("io", "ctx_len"),
    harmless=("d_submodule", "n_ctxs", "refresh_batch_size", "out_batch_size", "device"),
    refused={
        "layer": Refused(
            (),
            "it was trained on the outputs of an attention layer's heads one by one",
            "train it on them side by side (blocks.L.attn.hook_z)",
        ),
    },
)
KEYS = Keys(inside={"trainer": TRAINER, "buffer": BUFFER})
