"""The keys of sae_lens' configurations, from mats_sae_training to 6.54: what is done about each."""

from __future__ import annotations

from pytest_sae.dictionaries.formats import temporal_published
from pytest_sae.dictionaries.formats.sae_lens_model import ARGUMENT_KEYS
from pytest_sae.dictionaries.formats.sae_lens_settings import ARGUMENTS
from pytest_sae.dictionaries.keys import Keys, Refused, names

# What is of training alone: among the metadata of a finished SAE, at the top of a checkpoint.
_TRAINING = Keys(
    used=("k", "matryoshka_widths"),
    harmless=names(
        """
        l1_coefficient l1_warm_up_steps lp_norm l0_coefficient l0_warm_up_steps
        aux_loss_coefficient decoder_init_norm noise_scale mse_loss_normalization
        normalize_sae_decoder use_sparse_activations topk_threshold_lr
        use_matryoshka_aux_loss rescale_acts_by_decoder_norm jumprelu_init_threshold
        jumprelu_bandwidth jumprelu_sparsity_loss_mode jumprelu_tanh_scale
        jumprelu_ste_to_input pre_act_loss_coefficient target_l0 residual_threshold
        max_iterations stop_on_duplicate_support apply_b_dec_to_input
        normalize_activations reshape_activations architecture d_in d_sae dtype device
        """
    ),
)
# What says where an SAE belongs and how it was trained: in `metadata` since 6.0, at the top before.
_ABOUT = Keys(
    used=names(
        """
        model_name model_class_name hook_name hook_name_out hf_hook_name hf_hook_name_out
        hook_point hook_head_index hook_point_head_index context_size prepend_bos sae_lens_version
        sae_lens_training_version training_architecture
        """
    ),
    harmless=names(
        """
        hook_layer hook_point_layer hook_eval hook_point_eval dataset_path
        dataset_trust_remote_code is_dataset_tokenized exclude_special_tokens
        sequence_separator_token disable_concat_sequences neuronpedia_id l0 num_dead_features
        output_path
        """
    ),
    told={
        "use_chat_formatting": "it was trained on chats in the model's template, and is measured "
        "on the texts of the run as they are",
    },
    refused={
        "seqpos_slice": Refused(
            (
                (None,), (None, None), (None, None, None), (None, None, 1),
                (0, None), (0, None, None), (0, None, 1), (1, None), (1, None, None), (1, None, 1),
            ),
            "it was trained on some positions of each text alone, and all of them are measured "
            "but BOS",
        ),
        "hook_head_index_out": Refused(
            (), "it writes one attention head alone, which no site is here", "say site_out="
        ),
        "model_kwargs": Refused((), "the model was run with more than its tokens"),
    },
    inside={
        ARGUMENTS: ARGUMENT_KEYS,
        "training_architecture_details": _TRAINING,
    },
)  # fmt: skip
# What versions before 3.0 wrote of the whole run, and 3.0 to 5.11 of training checkpoints.
_RUN = Keys(
    harmless=names(
        """
        act_store_device adam_beta1 adam_beta2 autocast autocast_lm b_dec_init_method
        cached_activations_path checkpoint_path compile_llm compile_sae
        dead_feature_estimation_method dead_feature_threshold dead_feature_window
        decoder_heuristic_init decoder_heuristic_init_norm decoder_init_norm
        decoder_orthogonal_init eval_batch_size_prompts eval_every_n_wandb_logs expansion_factor
        feature_reinit_scale feature_sampling_method feature_sampling_window finetuning_method
        finetuning_tokens from_pretrained_path init_encoder_as_decoder_transpose
        jumprelu_bandwidth jumprelu_init_threshold l0_coefficient l0_warm_up_steps
        l1_coefficient l1_warm_up_steps llm_compilation_mode log_activations_store_to_wandb
        log_optimizer_state_to_wandb log_to_wandb lp_norm lr lr_decay_steps lr_end
        lr_scheduler_name lr_warm_up_steps mse_loss_normalization n_batches_in_buffer
        n_checkpoints n_eval_batches n_eval_seqs n_restart_cycles n_running_sparsity noise_scale
        normalize_sae_decoder resample_batches resume run_name sae_compilation_mode
        scale_sparsity_penalty_by_decoder_norm seed store_batch_size store_batch_size_prompts
        streaming tokens_per_buffer total_training_steps total_training_tokens train_batch_size
        train_batch_size_tokens training_tokens unique_id use_cached_activations use_ghost_grads
        use_pre_encoder_bias use_tqdm verbose wandb_entity wandb_id wandb_log_frequency
        wandb_project is_transcoder is_sparse_connection out_hook_point out_hook_point_layer
        sparse_connection_sae_path sparse_connection_l1_coeff sparse_connection_use_W_enc
        """
    ),
)
_ITSELF = Keys(
    used=names(
        """
        architecture d_in d_sae d_out k apply_b_dec_to_input normalize_activations
        rescale_acts_by_decoder_norm activation_fn activation_fn_str activation_fn_kwargs
        finetuning_scaling_factor max_iterations residual_threshold stop_on_duplicate_support
        n_heads n_attn_layers bottleneck_factor kval_topk sae_diff_type tied_weights
        activation_normalization_factor
        """
    ),
    # `reshape_activations` puts heads side by side, as their site has them.
    harmless=("dtype", "device", "reshape_activations"),
    inside={"metadata": _ABOUT.together(_RUN)},
)
KEYS = _ABOUT.together(_ITSELF).together(_RUN).together(_TRAINING).together(temporal_published.KEYS)
