"""How much structure the decoder rows share: variance that a small meta-dictionary explains.

meta_structure(rows, seed) -> Estimate
fit(rows, seed) -> MetaSAE            # the BatchTopK SAE itself
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.metrics.row_sample import spread
from pytest_sae.metrics.row_sums import norms
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined
from pytest_sae.numbers.plain import INTERVAL

METRIC = "meta_structure"
WIDTH, K, ROUNDS = 4, 4, 6  # rows per meta-latent; meta-latents per row; alternations
MOST = 2**14  # rows that are fitted on: both time and memory grow with their square
PARTS = 4  # of such a sample, fitted each to see how far samples differ
FEWEST = 64  # rows: below, a width of a quarter says nothing
_SPARE = 4  # a row may take this many times K meta-latents of the batch's K x rows
_RIDGE = 1e-3  # of the mean squared code: a meta-latent used by one row alone stays defined
_SCORES = 2**24  # held at once (64 MB in float32)


@dataclass(frozen=True, eq=False)
class MetaSAE:
    """A BatchTopK SAE over decoder rows; `codes @ decoder + centre` are its reconstructions.

    Args:
        encoder: (meta, d) rows of norm one.
        decoder: (meta, d).
        centre: (d,) mean of the rows.
        codes: (row, meta) sparse, non-negative.
    """

    encoder: Tensor
    decoder: Tensor
    centre: Tensor
    codes: sparse.csr_array


def meta_structure(rows: Tensor | None, seed: int) -> Estimate:
    """Return the share of the decoder rows' variance that a small BatchTopK SAE explains.

    `1 - sum |d_j - d^_j|^2 / sum |d_j - mean d|^2` over decoder rows scaled to norm one, with
    d^ the reconstruction by an SAE of a quarter as many latents, k = 4 per row on average
    (Bussmann et al. 2024, "Showing SAE latents are not atomic using meta-SAEs"; SAEBench's
    `meta_structure`). Rows of norm zero write nothing: they are left out and counted in details.

    Above 16,384 rows it is fitted on as many of them (`row_sample.spread`), and says of such a
    sample what it would say of all: fewer rows share less, so that figures are compared between
    dictionaries that were fitted on as many; the count is that of the rows. Its standard error is
    then at least what fits on four parts of the sample differ by, halved.

    The published fit takes 1500 steps of Adam over 1024 rows each. This one alternates (`fit`),
    comes within some hundredths of it, and needs seven products of rows and meta-latents.

    Args:
        rows: (d_sae, d) decoder rows; None where the dictionary has none.
        seed: of the rows that the meta-latents begin as.

    Returns:
        A value of at most 1; higher means that latents share more structure, which is *worse*:
        they are sums of fewer, more basic directions. Its interval is the normal one over rows,
        for the fit that was made.

    Rows that are copies of 4 directions are explained by 16 meta-latents:

    >>> round(meta_structure(torch.eye(4).repeat(16, 1), seed=0).value, 3)
    1.0
    """
    if rows is None:
        return not_applicable(METRIC, "the dictionary has no fixed decoder rows")
    there = norms(rows) > 0
    unpruned = rows if there.all() else rows[there]
    kept = _in_order(normalize(unpruned[spread(unpruned, MOST)].float()), seed)
    details: dict[str, object] = {"zero_rows": int((~there).sum()), "width": len(kept) // WIDTH}
    if len(kept) < len(unpruned):
        details["fitted_rows"] = len(kept)
    if len(kept) < FEWEST:
        reason = f"{len(kept)} decoder rows are not zero, and {FEWEST} are the fewest to fit on"
        return undefined(METRIC, reason, details=details)
    if _variance(kept).sum() <= 1e-9 * len(kept):
        return undefined(METRIC, "all decoder rows are the same", details=details)
    found = fit(kept, seed)
    share, se = _explained(kept, found)
    if len(kept) < len(unpruned):
        se = max(se, _of_sampling(kept, seed))
    details["unused"] = int((np.diff(found.codes.tocsc().indptr) == 0).sum())
    ci = (share - INTERVAL * se, share + INTERVAL * se)
    return Estimate(METRIC, share, {}, se, ci, {"latents": len(kept)}, details=details)


def _explained(rows: Tensor, found: MetaSAE) -> tuple[float, float]:
    """Return the share of the rows' variance that is explained, and its standard error."""
    variance, error = _variance(rows), _errors(rows, found)
    left = error.sum() / variance.sum()
    # Of a ratio of sums, by the delta method.
    se = np.sqrt(np.square(error - left * variance).sum()) / variance.sum()
    return float(1 - left), float(se)


def _of_sampling(rows: Tensor, seed: int) -> float:
    """Return the standard error over samples of such rows, from fits on four parts of this one."""
    parts = [rows[first::PARTS] for first in range(PARTS)]
    shares = [_explained(each, fit(each, seed))[0] for each in parts]
    return float(np.std(shares, ddof=1) / np.sqrt(PARTS))


def _variance(rows: Tensor) -> NDArray[np.float64]:
    return (rows - rows.mean(0)).double().square().sum(1).cpu().numpy()


def _in_order(rows: Tensor, seed: int) -> Tensor:
    """Order rows by a random projection: how latents are numbered must not change the fit."""
    along = generator(seed, METRIC, "order").normal(size=rows.shape[1])
    projections = rows.double() @ torch.from_numpy(along).to(rows.device)
    return rows[projections.argsort(stable=True)]


def fit(rows: Tensor, seed: int, rounds: int = ROUNDS) -> MetaSAE:
    """Fit a BatchTopK SAE with a quarter as many latents as rows, k = 4.

    It begins with rows drawn at random. Each round encodes all rows as one batch
    `z = batchtopk(relu(E (d_j - mean)))`, solves the decoder D by least squares given z, and sets
    the encoder to `D (D'D + l)^-1`, with D's rows at norm one and l their mean variance. A
    meta-latent that no row uses becomes the row that is explained worst. The last decoder is
    solved for the last codes.

    Args:
        rows: (row, d) of norm one; 64 at least.
        seed: of the draw.
        rounds: alternations.

    Returns:
        The SAE, with the codes of the rows.

    >>> found = fit(torch.eye(16).repeat(4, 1), seed=0)
    >>> found.decoder.shape, found.codes.shape
    (torch.Size([16, 16]), (64, 16))
    """
    centre = rows.mean(0)
    x = rows - centre
    encoder = normalize(x[_drawn(x, rows.double().mean(0), seed)])
    for last in [False] * rounds + [True]:
        codes = _encode(x, encoder)
        decoder = _decoder(codes, x)
        if not last:
            encoder = _encoder(_revived(decoder, codes, x))
    return MetaSAE(encoder, decoder, centre, codes)


def _drawn(x: Tensor, centre: Tensor, seed: int) -> Tensor:
    """Rows to begin with, drawn by their rank along the mean: their numbering changes nothing."""
    order = torch.argsort(x.double() @ centre)
    drawn = generator(seed, METRIC).permutation(len(x))[: len(x) // WIDTH]
    return order[torch.from_numpy(drawn).to(x.device)]


def _encode(x: Tensor, encoder: Tensor) -> sparse.csr_array:
    """(row, meta): the largest k x rows activations of the whole batch."""
    most = min(_SPARE * K, len(encoder))
    transposed = encoder.T.contiguous()
    found = [
        (part @ transposed).topk(most, dim=1) for part in x.split(max(1, _SCORES // len(encoder)))
    ]
    values = torch.cat([each.values for each in found]).relu().cpu().numpy()
    latents = torch.cat([each.indices for each in found]).cpu().numpy()
    bar = -np.partition(-values.ravel(), K * len(x) - 1)[K * len(x) - 1]
    row, place = np.nonzero((values >= bar) & (values > 0))
    shape = (len(x), len(encoder))
    return sparse.csr_array((values[row, place], (row, latents[row, place])), shape=shape)


def _decoder(codes: sparse.csr_array, x: Tensor) -> Tensor:
    """(meta, d): least squares given the codes, by Cholesky; a tiny ridge keeps it regular."""
    gram = torch.from_numpy((codes.T @ codes).toarray()).to(x.device)
    ridge = _RIDGE * max(float(gram.diagonal().mean()), 1e-12)
    gram.diagonal().add_(ridge)
    target = torch.from_numpy(codes.T @ x.cpu().numpy()).to(x.device)
    return torch.cholesky_solve(target, torch.linalg.cholesky(gram))


def _encoder(decoder: Tensor) -> Tensor:
    """(meta, d): the decoder's directions, partly decorrelated so that overlaps count less."""
    unit = normalize(decoder)
    overlaps = unit.T @ unit
    overlaps.diagonal().add_(overlaps.diagonal().mean())
    return normalize(torch.linalg.solve(overlaps, unit.T).T)


def _revived(decoder: Tensor, codes: sparse.csr_array, x: Tensor) -> Tensor:
    unused = torch.from_numpy(np.diff(codes.tocsc().indptr) == 0).to(x.device)
    if not unused.any():
        return decoder
    left = (x - _product(codes, decoder)).square().sum(1)
    worst = left.topk(int(unused.sum())).indices
    revived = decoder.clone()
    revived[unused] = x[worst]
    return revived


def _errors(rows: Tensor, found: MetaSAE) -> NDArray[np.float64]:
    left = rows - found.centre - _product(found.codes, found.decoder)
    return left.double().square().sum(1).cpu().numpy()


def _product(codes: sparse.csr_array, decoder: Tensor) -> Tensor:
    return torch.from_numpy(codes @ decoder.cpu().numpy()).to(decoder.device)
