"""Fitting a semi-nonnegative matrix factorisation to activations: a baseline dictionary."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.formats.snmf import from_rows
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from pytest_sae.dictionaries.affine import AffineDictionary

_EPS = 1e-12  # keeps codes that reached zero from becoming 0 / 0
_START = 0.2  # added to a random start, so that no code begins at zero, where it would stay


@dataclass(frozen=True)
class Factorisation:
    """x ≈ codes · rows.

    Args:
        codes: (token, rank), none negative.
        rows: (rank, d_in), of any sign.
        errors: |x - codes · rows|² after each iteration; never rising.
    """

    codes: Tensor
    rows: Tensor
    errors: tuple[float, ...]


def fit_snmf(
    x: Tensor,
    rank: int,
    seed: int,
    *,
    iterations: int = 200,
    tolerance: float = 1e-5,
    info: DictionaryInfo | None = None,
) -> AffineDictionary:
    """Return a dictionary of `rank` latents, fitted to activations by alternating updates.

    A baseline: what non-negative codes and free directions give without any training of an encoder.

    Args:
        x: (token, d_in) activations of a site.
        rank: number of latents, from 1 to the number of tokens.
        seed: of the start.
        iterations: at most so many.
        tolerance: stop when an iteration lowers the error by less than this share of it.
        info: the site that it belongs to, None if unknown.

    Returns:
        A dictionary that encodes by exact non-negative least squares.

    Raises:
        DictionaryError: no finite matrix of tokens, or an impossible rank.
    """
    fitted = factorise(x, rank, seed, iterations=iterations, tolerance=tolerance)
    rows = fitted.rows.to(x.dtype)
    source = f"snmf of {len(x)} tokens, rank {rank}, seed {seed}"
    digest = hashlib.sha256(fitted.rows.cpu().contiguous().numpy().tobytes())
    info = info or DictionaryInfo(source, "snmf.fitted", None, None, None)
    return from_rows(rows, info, digest.hexdigest())


@torch.no_grad()
def factorise(
    x: Tensor, rank: int, seed: int, *, iterations: int = 200, tolerance: float = 1e-5
) -> Factorisation:
    """Return codes Z ≥ 0 and rows D of x ≈ Z D, as `fit_snmf` finds them.

    D = (ZᵀZ)⁻¹ Zᵀ x,  Z ← Z √((x Dᵀ)⁺ + Z (D Dᵀ)⁻) / ((x Dᵀ)⁻ + Z (D Dᵀ)⁺)), element by element.

    Ding, Li, Jordan: Convex and Semi-Nonnegative Matrix Factorizations (2010).

    Args:
        x: (token, d_in) activations of a site.
        rank: number of latents, from 1 to the number of tokens.
        seed: of the start.
        iterations: at most so many.
        tolerance: stop when an iteration lowers the error by less than this share of it.

    Returns:
        Codes (token, rank), rows (rank, d_in), and the sum of squared errors after each iteration.

    Raises:
        DictionaryError: no finite matrix of tokens, or an impossible rank.
    """
    if x.dim() != 2 or not x.numel() or not bool(x.isfinite().all()):
        raise DictionaryError(
            f"Activations of the shape {tuple(x.shape)} cannot be factorised. Expected a finite "
            "matrix (token, d_in)."
        )
    if not 1 <= rank <= len(x):
        raise DictionaryError(
            f"A factorisation of {len(x)} tokens cannot have rank {rank}. Expected 1 to {len(x)}."
        )
    exact = x.double()
    generator = torch.Generator().manual_seed(seed)
    codes = torch.rand(len(x), rank, generator=generator, dtype=torch.float64).to(x.device)
    codes += _START
    rows, errors = _rows(exact, codes), []
    for _ in range(iterations):
        codes = _codes(exact, codes, rows)
        rows = _rows(exact, codes)
        errors.append(float((exact - codes @ rows).square().sum()))
        if len(errors) > 1 and errors[-2] - errors[-1] <= tolerance * errors[-2]:
            break
    return Factorisation(codes, rows, tuple(errors))


def _rows(x: Tensor, codes: Tensor) -> Tensor:
    """The best rows for given codes; by pseudo-inverse, since latents may have died out."""
    rows: Tensor = torch.linalg.pinv(codes.T @ codes, hermitian=True) @ (codes.T @ x)
    return rows


def _codes(x: Tensor, codes: Tensor, rows: Tensor) -> Tensor:
    product, gram = x @ rows.T, rows @ rows.T
    wanted = product.relu() + codes @ (-gram).relu()
    found = (-product).relu() + codes @ gram.relu()
    return codes * (wanted / (found + _EPS)).sqrt()
