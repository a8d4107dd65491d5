"""The metrics that come with the package: what each number is, one entry each.

By family, in the order of the suite. Imports nothing heavy.
"""

from __future__ import annotations

from pytest_sae.numbers.spec import Direction, MetricSpec

SPECS: list[MetricSpec] = []


def _add(
    name: str, direction: Direction, unit: str, low: float | None, high: float | None, title: str
) -> None:
    SPECS.append(MetricSpec(name, direction, unit, low, high, title))


_add(
    "explained_variance",
    "higher",
    "",
    None,
    1.0,
    "share of the activations' variance that the reconstruction explains",
)
_add("mse", "lower", "squared activation", 0.0, None, "mean squared error per token")
_add("cosine", "higher", "", -1.0, 1.0, "mean cosine between activation and reconstruction")
_add("l2_ratio", "none", "", 0.0, None, "mean norm of the reconstruction over that of the input")
_add("relative_bias", "none", "", None, None, "sum of squared norms over sum of inner products")
_add("l0", "none", "latents per token", 0.0, None, "mean number of active latents")
_add("l1", "none", "activation", 0.0, None, "mean sum of absolute latents")
_add("dead_share", "lower", "", 0.0, 1.0, "share of latents that never fire on the stream")
_add("dense_share_1pct", "lower", "", 0.0, 1.0, "share of latents on more than 1 % of the tokens")
_add("dense_share_10pct", "lower", "", 0.0, 1.0, "share of latents on more than 10 % of the tokens")
_add("encoder_decoder_cosine", "none", "", -1.0, 1.0, "mean cosine of encoder and decoder rows")
_add("max_decoder_cosine", "lower", "", -1.0, 1.0, "mean largest cosine with another decoder row")
_add("decoder_norm", "none", "activation", 0.0, None, "mean norm of the decoder rows")
_add("ce_clean", "none", "nats per token", 0.0, None, "the model's own cross-entropy")
_add(
    "ce_spliced",
    "lower",
    "nats per token",
    0.0,
    None,
    "cross-entropy with reconstructions in place",
)
_add("ce_mean_ablated", "none", "nats per token", 0.0, None, "cross-entropy, site at its mean")
_add("ce_zero_ablated", "none", "nats per token", 0.0, None, "cross-entropy, site at zero")
_add("ce_recovered", "higher", "", None, None, "share of the mean-ablation's damage that is undone")
_add("ce_recovered.zero", "higher", "", None, None, "share of the zero-ablation's damage undone")
_add("kl", "lower", "nats per token", 0.0, None, "KL of the model's output, clean to spliced")
_add(
    "scr", "higher", "", None, None, "accuracy won back by removing a spurious concept, over tasks"
)
_add(
    "scr.margin",
    "higher",
    "",
    None,
    None,
    "the same with correlations of logit and label in place of accuracy",
)
_add("scr.canonical", "higher", "", None, None, "SCR as published (arXiv 2411.18895)")
_add("tpp", "higher", "", None, None, "targeted loss of one class's probe, over what can be lost")
_add("tpp.margin", "higher", "", None, None, "the same with margins in place of accuracy")
_add("tpp.rescaled", "higher", "", None, None, "tpp.margin, were what is written as strong as fits")
_add("tpp.canonical", "higher", "", -1.0, 1.0, "TPP as published (arXiv 2411.18895)")
_add("shift", "higher", "", None, None, "SHIFT: accuracy won back by ablating what a judge picked")
_add("shift.margin", "higher", "", None, None, "the same with correlations of logit and label")
_add(
    "shift.worst_cell",
    "higher",
    "accuracy",
    -1.0,
    1.0,
    "SHIFT: what the worst cell's accuracy gains",
)
_add(
    "shift.worst_cell.recentred",
    "higher",
    "accuracy",
    -1.0,
    1.0,
    "the same, with the probe's threshold moved to its unlabelled training texts' mean",
)
_add(
    "shift.worst_cell.refit",
    "higher",
    "accuracy",
    -1.0,
    1.0,
    "the same, with the probe fitted again after ablation",
)
_add(
    "shift.agreement", "none", "", -1.0, 1.0, "rank correlation of the judge's ratings and effects"
)
_add("shift.accepted", "none", "", 0.0, 1.0, "share of candidate latents that the judge accepted")
_add("shift.abstained", "lower", "", 0.0, 1.0, "share of candidate latents without an answer")
_add(
    "autointerp.detection",
    "higher",
    "balanced accuracy",
    0.0,
    1.0,
    "does the explanation tell in which contexts the latent fires",
)
_add(
    "autointerp.fuzzing",
    "higher",
    "balanced accuracy",
    0.0,
    1.0,
    "does the explanation tell on which tokens the latent fires",
)
_add(
    "autointerp.surprisal",
    "higher",
    "AUC",
    0.0,
    1.0,
    "does the explanation make activating contexts less surprising",
)
_add(
    "autointerp.embedding",
    "higher",
    "AUC",
    0.0,
    1.0,
    "does the explanation's embedding retrieve activating contexts",
)
_add(
    "autointerp.intervention",
    "higher",
    "accuracy",
    0.0,
    1.0,
    "does an explanation of the latent's effect single that effect out",
)
_add("autointerp.failed", "lower", "", 0.0, 1.0, "share of latents that the judge left unanswered")
_add(
    "judge_calibration.explain",
    "higher",
    "balanced accuracy",
    0.0,
    1.0,
    "does the judge's own explanation of a known rule predict it",
)
_add(
    "judge_calibration.score",
    "higher",
    "",
    0.0,
    1.0,
    "share of corrupted descriptions that score below the true one",
)
_add(
    "judge_calibration.rate",
    "higher",
    "balanced accuracy",
    0.0,
    1.0,
    "does the judge accept latents of known concepts and no others",
)
_add(
    "judge_calibration.injection",
    "higher",
    "",
    0.0,
    1.0,
    "share of instructions hidden in contexts that the judge ignores",
)

# Causal tests on tasks whose variables are known: ravel, principled, unlearning.
_add("ravel", "higher", "", None, 1.0, "does a mask of latents move one attribute of an entity")
_add("ravel.disentangle", "higher", "accuracy", 0.0, 1.0, "mean of cause and isolation accuracy")
_add("ravel.cause", "higher", "accuracy", 0.0, 1.0, "answers that follow the exchanged attribute")
_add("ravel.isolation", "higher", "accuracy", 0.0, 1.0, "answers on other attributes that stay")
_add(
    "principled.sufficiency",
    "higher",
    "",
    None,
    None,
    "share of the logit difference with the reconstruction in place",
)
_add(
    "principled.necessity",
    "higher",
    "",
    None,
    None,
    "share of the logit difference lost without the reconstruction",
)
_add(
    "principled.control",
    "higher",
    "",
    None,
    1.0,
    "share of an attribute's edit that exchanging k latents achieves",
)
_add(
    "principled.removed",
    "lower",
    "",
    None,
    None,
    "share of the reconstruction that such an edit takes away",
)
_add("principled.f1", "higher", "F1", 0.0, 1.0, "F1 of the best latent for an attribute's value")
_add(
    "principled.occlusion",
    "lower",
    "",
    0.0,
    1.0,
    "share of the values that matter which no latent stands for",
)
_add(
    "principled.splitting",
    "lower",
    "latents",
    1.0,
    None,
    "latents that an attribute's value is spread over",
)
_add(
    "unlearning",
    "higher",
    "",
    0.0,
    1.0,
    "answers forgotten where what is to stay stays, by clamping latents",
)
_add(
    "unlearning.retain",
    "higher",
    "accuracy",
    0.0,
    1.0,
    "answers that stay where others are forgotten",
)
_add("max_encoder_cosine", "lower", "", -1.0, 1.0, "mean largest cosine with another encoder row")
# Structure of dictionaries, and how few latents carry a concept.
_add("live_share", "higher", "", 0.0, 1.0, "share of latents that fire on the stream at all")
_add(
    "meta_structure",
    "lower",
    "",
    None,
    1.0,
    "decoder rows' variance that a quarter as many meta-latents explain, four at a time",
)
_add("mdl", "lower", "bits per token", 0.0, None, "bits to send latents and what they leave")
_add("mdl.latents", "none", "bits per token", 0.0, None, "of those, the latents' entropies")
_add("mdl.residual", "none", "bits per token", 0.0, None, "of those, what the latents leave")
_add("coherence", "lower", "", 0.0, 1.0, "largest cosine between decoder rows of live latents")
_add("duplicate_share", "lower", "", 0.0, 1.0, "share of live latents with a near-parallel other")
_add("coactivation", "lower", "", -1.0, 1.0, "mean largest correlation with another's firing")
_add("seed_agreement", "higher", "", -1.0, 1.0, "mean cosine of rows paired with another seed's")
_add(
    "concept_deletion",
    "higher",
    "probability",
    -1.0,
    1.0,
    "belief in a concept lost by removing its latents, beyond random ones",
)
_add(
    "concept_insertion",
    "higher",
    "probability",
    -1.0,
    1.0,
    "belief in a concept won by adding its latents, beyond random ones",
)
_add(
    "preference_auc_kept",
    "higher",
    "",
    None,
    None,
    "share of a preference model's AUC that sparse latent differences keep",
)
_add(
    "sparse_probing",
    "higher",
    "balanced accuracy",
    0.0,
    1.0,
    "what a probe on the k most telling latents knows of a text's concepts",
)
_add(
    "sparse_probing.auc", "higher", "AUC", 0.0, 1.0, "the same as an AUC, which no threshold moves"
)
_add("sparse_probing.canonical", "higher", "accuracy", 0.0, 1.0, "as published by SAEBench")
_add("sparse_probing.neurons", "none", "AUC", 0.0, 1.0, "the same probe on the k best neurons")
_add("sparse_probing.gain", "higher", "AUC", -1.0, 1.0, "k latents less k neurons")
_add("sparse_probing.all_latents", "higher", "AUC", 0.0, 1.0, "a probe on all latents")
_add("sparse_probing.activations", "none", "AUC", 0.0, 1.0, "a probe on all raw activations")
_add(
    "sparse_probing.retention",
    "higher",
    "",
    0.0,
    None,
    "accuracy of k latents over that of all activations, area over log k from 1 to 50",
)
_add(
    "sparse_probing.transfer",
    "higher",
    "AUC",
    0.0,
    1.0,
    "a probe on 16 latents, learned on one data set and read on another",
)
_add(
    "sparse_probing.last_token.auc",
    "higher",
    "AUC",
    0.0,
    1.0,
    "a probe on the last token's k most telling latents, over 113 data sets",
)
_add("sparse_probing.last_token.accuracy", "higher", "accuracy", 0.0, 1.0, "the same as accuracy")
_add("sparse_probing.last_token.f1", "higher", "F1", 0.0, 1.0, "the same as F1")
for _statistic, _unit in (("auc", "AUC"), ("accuracy", "accuracy"), ("f1", "F1")):
    _add(
        f"sparse_probing.last_token.activations.{_statistic}",
        "none",
        _unit,
        0.0,
        1.0,
        "a probe on all raw activations of the last token, over the same data sets",
    )
    _add(
        f"sparse_probing.last_token.canonical.{_statistic}",
        "higher",
        _unit,
        0.0,
        1.0,
        "the same as published by sae-probes (arXiv 2502.16681)",
    )
_add(
    "absorption",
    "lower",
    "",
    0.0,
    1.0,
    "share of a word's first letter that latents of the word carry in the letter's place",
)
_add("absorption.full", "lower", "", 0.0, 1.0, "share of words whose letter is wholly absorbed")
_add("absorption.canonical", "lower", "", 0.0, 1.0, "absorption as published by SAEBench")
_add("absorption.canonical.full", "lower", "", 0.0, 1.0, "full absorption as published")
_add("absorption.split_latents", "none", "latents", 1.0, None, "latents that stand for one letter")
_add(
    "erasure",
    "higher",
    "",
    None,
    None,
    "how surgically concepts are erased: 0 as random latents do, 1 as LEACE does",
)
