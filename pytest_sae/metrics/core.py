"""Reconstruction and sparsity over a stream of tokens.

    sums = CoreSums(n_texts, d, d_sae, device)
    sums.update(x, x_hat, z, text_rows, group="ordinary")      # once per batch and token group
    finish(sums, seed) -> list[Estimate]

All sums are kept in float64 and, for the intervals, per text. Figures over all valid tokens
(groups `ordinary` and `first`) are the headline; every group's own value is in the details.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.metrics.token_groups import GROUPS, Group
from pytest_sae.numbers.bootstrap import (
    Floats,
    Resamples,
    divide,
    generator,
    influence,
    ratio_estimate,
    resample,
    share_estimate,
    spread,
)
from pytest_sae.numbers.estimate import Estimate, undefined

_COLUMNS = ("tokens", "error", "norm", "nonzero", "cosine", "ratio", "square", "inner", "l0", "l1")
# Of densities in the report: half a decade each, from one token in a million to every token.
_DENSITY_EDGES = tuple(-6 + step / 2 for step in range(13))
_DENSE = {"dense_share_1pct": 0.01, "dense_share_10pct": 0.10}


class CoreSums:
    """Running sums of one dictionary over a token stream.

    Args:
        n_texts: how many texts the stream has.
        d: width of x and its reconstruction.
        d_sae: number of latents.
        device: where the batches are; the sums stay there.
        reference: (d,) a rough mean of x. Sums of squares are taken about it, so that they do not
            cancel when the activations sit far from the origin; None takes the first batch's mean.
    """

    def __init__(
        self,
        n_texts: int,
        d: int,
        d_sae: int,
        device: torch.device | str = "cpu",
        reference: Tensor | None = None,
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.reference = None if reference is None else reference.to(device, torch.float64)
        self.per_text = zeros(n_texts, len(_COLUMNS))
        self.centre = zeros(n_texts, d)
        self.group_fires = {
            group: torch.zeros(d_sae, dtype=torch.int64, device=device) for group in GROUPS
        }
        self.group_totals = {group: zeros(len(_COLUMNS)) for group in GROUPS}
        self.group_centres = {group: zeros(d) for group in GROUPS}

    def update(
        self, x: Tensor, x_hat: Tensor, z: Tensor, text_rows: Tensor, group: Group = "ordinary"
    ) -> None:
        """Add a batch of tokens of one group.

        Args:
            x: (token, d) activations.
            x_hat: (token, d) their reconstructions.
            z: (token, d_sae) latents; active means not zero, whatever the sign.
            text_rows: (token,) long, index of each token's text.
            group: `special` tokens (BOS, chat template) enter no headline figure.
        """
        if len(x) == 0:
            return
        wide, wide_hat = x.double(), x_hat.double()
        if self.reference is None:
            self.reference = wide.mean(0)
        about = wide - self.reference
        columns = _token_columns(wide, wide_hat, about, z)
        self.group_totals[group] += columns.sum(0)
        self.group_centres[group] += about.sum(0)
        self.group_fires[group] += torch.count_nonzero(z, dim=0)
        if group == "special":
            return
        self.per_text.index_add_(0, text_rows, columns)
        self.centre.index_add_(0, text_rows, about)

    @property
    def fires(self) -> Tensor:
        """(d_sae,) valid tokens on which each latent is active."""
        return self.group_fires["ordinary"] + self.group_fires["first"]


def _token_columns(x: Tensor, x_hat: Tensor, about: Tensor, z: Tensor) -> Tensor:
    """(token, column) in the order of _COLUMNS."""
    error, square, inner = (x - x_hat).square().sum(1), x_hat.square().sum(1), (x * x_hat).sum(1)
    norm, norm_hat = x.square().sum(1).sqrt(), square.sqrt()
    nonzero = norm > 0
    scale = torch.where(nonzero, norm, 1.0)
    # A reconstruction of zero has no direction: it has recovered none of x's, hence cosine 0.
    cosine = inner / scale / torch.where(norm_hat > 0, norm_hat, 1.0)
    ratio = torch.where(nonzero, norm_hat / scale, 0.0)
    return torch.stack(
        [
            torch.ones_like(error),
            error,
            about.square().sum(1),
            nonzero.double(),
            cosine,
            ratio,
            square,
            inner,
            torch.count_nonzero(z, dim=1).double(),
            torch.linalg.vector_norm(z, 1, dim=1, dtype=torch.float64),
        ],
        dim=1,
    )


def finish(sums: CoreSums, seed: int) -> list[Estimate]:
    """Return every figure of the stream, with bootstrap intervals over texts.

    - explained_variance `1 - sum |x-x_hat|^2 / sum |x-mu|^2`, mu the mean over the same tokens,
      computed again in every replicate: 0 for a constant predictor at mu, 1 for the identity.
    - mse `mean |x-x_hat|^2` per token; cosine; l2_ratio `mean |x_hat|/|x|`; relative_bias
      `sum |x_hat|^2 / sum x.x_hat`. Tokens with x = 0 are left out of cosine and l2_ratio.
    - l0, l1 per token; dead and dense shares of the latents, Wilson intervals over latents; how
      densities are spread over live latents is in the details of dead_share.

    Each figure's value on each token group by itself is in its details (`groups`); of few tokens,
    such as the first ones, a latent can miss all by chance, hence the number of tokens there.

    Args:
        sums: what `update` has gathered.
        seed: of the bootstrap.

    Returns:
        Estimates; all `undefined` with the reason if the stream had no valid token. Units,
        directions and ranges are in `metrics.registry`.

    A constant reconstruction at the mean, of activations 0 and 2 in two texts:

    >>> sums = CoreSums(n_texts=2, d=1, d_sae=1)
    >>> x, latents = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [3.0]])
    >>> sums.update(x, torch.ones_like(x), latents, torch.tensor([0, 1]))
    >>> found = {each.metric: each.value for each in finish(sums, seed=0)}
    >>> found["explained_variance"], found["mse"], found["l0"], found["dead_share"]
    (0.0, 1.0, 0.5, 0.0)
    """
    kept = (sums.per_text[:, 0] > 0).cpu().numpy()
    table = sums.per_text.cpu().numpy()[kept]
    centre = sums.centre.cpu().numpy()[kept]
    resamples = resample(len(table), generator(seed, "core"))
    return [
        _explained_variance(sums, table, centre, resamples),
        *_ratios(sums, table, resamples),
        *_shares(sums, int(table[:, 0].sum())),
    ]


def _column(table: Floats, name: str) -> Floats:
    return table[..., _COLUMNS.index(name)]


def _explained_variance(
    sums: CoreSums, table: Floats, centre: Floats, resamples: Resamples
) -> Estimate:
    details = {"groups": _by_group(sums, "explained_variance")}
    value = _variance_explained(table.sum(0), centre.sum(0))
    if not np.isfinite(value):
        return undefined(
            "explained_variance", "the activations have no variance on this stream", details=details
        )
    replicates = _variance_explained(resamples.sums(table), resamples.sums(centre))
    se, ci = spread(replicates) if len(table) > 1 else (None, None)
    return Estimate(
        "explained_variance",
        float(value),
        {},
        se,
        ci,
        _n(table),
        details=details,
        influence=influence(_variance_slopes(table, centre)),
    )


def _variance_slopes(table: Floats, centre: Floats) -> Floats:
    """(text,) derivatives of `1 - error / (squares - |centre|^2 / tokens)` by text weights."""
    totals, mean = table.sum(0), centre.sum(0) / table[:, 0].sum()
    variance = _column(totals, "norm") - _column(totals, "tokens") * np.square(mean).sum()
    own = _column(table, "norm") - 2 * centre @ mean
    own += _column(table, "tokens") * np.square(mean).sum()
    unexplained = _column(totals, "error") / variance
    slopes: Floats = (unexplained * own - _column(table, "error")) / variance
    return slopes


def _variance_explained(totals: Floats, centre: Floats) -> Floats:
    """(..., column) and (..., d) sums about the reference to explained variance; NaN if none."""
    tokens, squares = _column(totals, "tokens"), _column(totals, "norm")
    variance = squares - divide(np.square(centre).sum(-1), tokens)
    # What is left of a constant stream is rounding of `squares`, which is no variance.
    variance = np.where(variance > 1e-12 * squares, variance, 0.0)
    return 1 - divide(_column(totals, "error"), variance)


def _ratios(sums: CoreSums, table: Floats, resamples: Resamples) -> list[Estimate]:
    pairs = {
        "mse": ("error", "tokens"),
        "cosine": ("cosine", "nonzero"),
        "l2_ratio": ("ratio", "nonzero"),
        "relative_bias": ("square", "inner"),
        "l0": ("l0", "tokens"),
        "l1": ("l1", "tokens"),
    }
    return [
        ratio_estimate(
            metric,
            _column(table, above),
            _column(table, below),
            resamples,
            n=_n(table),
            details={"groups": _by_group(sums, metric, above, below)},
        )
        for metric, (above, below) in pairs.items()
    ]


def _by_group(sums: CoreSums, metric: str, above: str = "", below: str = "") -> dict[str, object]:
    """Tokens and value of each token group that occurs."""
    found: dict[str, object] = {}
    for group in GROUPS:
        totals = sums.group_totals[group].cpu().numpy()
        if totals[0] == 0:
            continue
        centre = sums.group_centres[group].cpu().numpy()
        value = (
            _variance_explained(totals, centre)
            if metric == "explained_variance"
            else divide(_column(totals, above), _column(totals, below))
        )
        found[group] = {
            "tokens": int(totals[0]),
            "value": float(value) if np.isfinite(value) else None,
        }
    return found


def _n(table: Floats) -> dict[str, int]:
    return {"texts": len(table), "tokens": int(table[:, 0].sum())}


def _shares(sums: CoreSums, tokens: int) -> list[Estimate]:
    if tokens == 0:
        return [
            undefined(metric, "the stream has no valid token") for metric in ("dead_share", *_DENSE)
        ]
    fires = sums.fires.cpu().numpy()
    groups: dict[str, dict[str, dict[str, object]]] = {}
    for group in GROUPS:
        for metric, told in _shares_of(sums, group).items():
            groups.setdefault(metric, {})[group] = told
    found = []
    for metric, hits in _hits(fires, tokens).items():
        details: dict[str, object] = {"stream_tokens": tokens, "groups": groups.get(metric, {})}
        if metric == "dead_share":
            details["density"] = _histogram(fires / tokens)
        found.append(share_estimate(metric, hits, len(fires), "latents", details))
    return found


def _hits(fires: NDArray[np.int64], tokens: int) -> dict[str, int]:
    """How many latents are dead, and how many are dense, of (d_sae,) counts of tokens."""
    dense = {metric: int((fires > share * tokens).sum()) for metric, share in _DENSE.items()}
    return {"dead_share": int((fires == 0).sum()), **dense}


def _shares_of(sums: CoreSums, group: Group) -> dict[str, dict[str, object]]:
    """Tokens and value of every share in one token group, {} if it does not occur."""
    tokens, fires = int(sums.group_totals[group][0]), sums.group_fires[group].cpu().numpy()
    if tokens == 0:
        return {}
    found: dict[str, dict[str, object]] = {
        metric: {"tokens": tokens, "value": hits / len(fires)}
        for metric, hits in _hits(fires, tokens).items()
    }
    found["dead_share"]["density"] = _histogram(fires / tokens)
    return found


def _histogram(densities: Floats) -> dict[str, list[float]]:
    """How many live latents have a density in each half decade; the rarest are in the first."""
    logs = np.log10(densities[densities > 0]).clip(_DENSITY_EDGES[0], _DENSITY_EDGES[-1])
    counts, _ = np.histogram(logs, _DENSITY_EDGES)
    return {"log10_edges": list(_DENSITY_EDGES), "latents": counts.tolist()}
