"""The names of all metrics, with direction, unit and range; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class MetricSpec:
    """What a metric's number means.

    Args:
        name: plain name, as in thresholds and reports (`explained_variance`, `scr.canonical`).
        direction: which way is better; `none` for a budget or a description (L0).
        unit: unit in words, empty for a dimensionless number.
        low: smallest possible value, None where unbounded.
        high: largest possible value, None where unbounded.
        title: one line for people.
    """

    name: str
    direction: Direction
    unit: str
    low: float | None
    high: float | None
    title: str


_SPECS: dict[str, MetricSpec] = {}


def register(spec: MetricSpec) -> MetricSpec:
    """Add a metric to the registry; third parties call this from their conftest.

    Raises:
        ValueError: another metric already has this name.
    """
    if _SPECS.get(spec.name, spec) != spec:
        raise ValueError(f"metric {spec.name!r} is already registered as {_SPECS[spec.name]}")
    _SPECS[spec.name] = spec
    return spec


def spec_of(name: str) -> MetricSpec:
    """Return the specification of a metric.

    Raises:
        KeyError: no metric has this name; the message lists those there are.
    """
    if name not in _SPECS:
        raise KeyError(f"unknown metric {name!r}; known: {', '.join(known())}")
    return _SPECS[name]


def known() -> list[str]:
    """Return the names of all registered metrics, sorted."""
    return sorted(_SPECS)


def _add(
    name: str, direction: Direction, unit: str, low: float | None, high: float | None, title: str
) -> None:
    register(MetricSpec(name, direction, unit, low, high, title))


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
