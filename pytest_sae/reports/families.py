"""Which metrics are shown together, and in which order."""

from __future__ import annotations

# By the beginning of the name: `ce_recovered` is also `ce_recovered.zero`, `ce` is `ce_clean`.
_FAMILIES = {
    "Reconstruction and sparsity": (
        "explained_variance", "mse", "cosine", "l2_ratio", "relative_bias",
        "l0", "l1", "dead_share", "dense_share",
    ),
    "Behaviour of the model": ("ce_recovered", "kl", "ce_spliced", "ce"),
    "Weights": (
        "decoder_norm", "encoder_decoder_cosine", "max_decoder_cosine", "max_encoder_cosine",
    ),
    "Spurious correlation removal (scr)": ("scr",),
    "Targeted probe perturbation (tpp)": ("tpp",),
    "Erasure frontier (erasure)": ("erasure",),
    "Sparse probing (sparse_probing)": ("sparse_probing",),
    "Feature absorption (absorption), lower is better": ("absorption",),
    "Disentangling attributes of entities (ravel)": ("ravel",),
    "Against a supervised dictionary (principled)": ("principled",),
    "Unlearning (unlearning)": ("unlearning",),
    "Structure of the dictionary (structure)": (
        "live_share", "mdl", "meta_structure", "coherence", "duplicate_share", "coactivation",
        "seed_agreement",
    ),
    "Concepts in few latents (concepts)": (
        "concept_deletion", "concept_insertion", "preference_auc_kept",
    ),
    "SHIFT with a judge (shift)": ("shift",),
    "Automatic interpretability (autointerp)": ("autointerp",),
    "The judge's own calibration": ("judge_calibration",),
}  # fmt: skip
_PLACES = [(family, stem) for family, stems in _FAMILIES.items() for stem in stems]


def family_of(metric: str) -> str:
    """Return the title of the family a metric belongs to; `Other metrics` for unknown names."""
    place = place_of(metric)
    return _PLACES[place][0] if place < len(_PLACES) else "Other metrics"


def place_of(metric: str) -> int:
    """Return where a metric stands among the others: a family's metrics are neighbours."""
    places = (place for place, (_, stem) in enumerate(_PLACES) if _begins(metric, stem))
    return next(places, len(_PLACES))


def _begins(metric: str, stem: str) -> bool:
    return metric == stem or metric.startswith((f"{stem}.", f"{stem}_"))
