"""The formats of sparse dictionaries: one file per format, found by `registry`."""

from __future__ import annotations

#: Modules of this package, in the order in which messages list them.
NAMES = (
    "sae_lens",
    "dictionary_learning",
    "sparsify",
    "openai",
    "gemma_scope",
    "llama_scope",
    "crosscoder",
    "clt",
    "switch_sae",
    "transcoder_circuits",
    "overcomplete",
    "variational",
    "signed_codes",
    "snmf",
    "batch_topk",
    "qwen_scope",
    "weights_only",
)
