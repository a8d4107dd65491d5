"""Non-negative least squares for many tokens at once, exactly: an active-set method."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_sae.dictionaries.formats.selection import BLOCK
from pytest_sae.errors import DictionaryError

# What counts as zero in double precision, of the terms whose difference it is.
_ZERO = 1e-12
_UNFIT = 1e3  # times that, of what an exact fit leaves by rounding
_EXCHANGES = 12  # most tokens need 4 to 8


def nonnegative_least_squares(x: Tensor, atoms: Tensor) -> Tensor:
    """Return the z ≥ 0 that minimise |x - z · atoms|², token by token.

    Active-set methods, all tokens in step, in double precision. They end where the conditions of
    a minimum hold, not at a tolerance of the error. First all latents that violate them change
    sides at once (block principal pivoting), where no more than d_in atoms make that safe. What
    that does not settle is solved by Lawson and Hanson's method: latents become active one at a
    time while the error falls, and leave where the fit would make them negative. Where atoms are
    linearly dependent there are several minima; this finds one with independent active atoms.

    Lawson, Hanson: Solving Least Squares Problems (1974), chapter 23. Kim, Park: Fast nonnegative
    matrix factorization: an active-set-like method (2011).

    Args:
        x: (token, d_in).
        atoms: (d_sae, d_in).

    Returns:
        (token, d_sae), of the type of x.

    Raises:
        DictionaryError: no end in three times as many steps as there are atoms.
    """
    if not len(x):
        return x.new_zeros(0, len(atoms))
    exact = atoms.double()
    norms = exact.norm(dim=1).clamp(min=1e-300)
    unit = exact / norms[:, None]
    gram = unit @ unit.T
    # The active atoms of a token are independent, so that they are at most d_in.
    width = min(atoms.shape) ** 2 + 6 * len(atoms)
    size = max(1, BLOCK // width)
    solve = _solve if len(atoms) > atoms.shape[1] else _exchange
    parts = [solve(part.double() @ unit.T, gram) / norms for part in x.split(size)]
    return torch.cat(parts).to(x.dtype)


def _exchange(target: Tensor, gram: Tensor) -> Tensor:
    """As `_solve`; faster where it ends, and it ends for nearly all tokens."""
    z = torch.zeros_like(target)
    active = torch.zeros_like(target, dtype=torch.bool)
    least = _ZERO * target.abs().amax(dim=1, keepdim=True)
    rows = torch.arange(len(target), device=target.device)
    for _ in range(_EXCHANGES):
        fitted = _fit(active[rows], target[rows], gram)
        gain = target[rows] - fitted @ gram
        zero = least[rows] + _ZERO * fitted.abs().sum(dim=1, keepdim=True)
        # The gain of an active latent is zero unless the atoms were too dependent for the fit.
        unfit = (active[rows] & (gain.abs() > _UNFIT * zero)).any(dim=1)
        wrong = torch.where(active[rows], fitted < 0, gain > zero)
        done = ~(wrong.any(dim=1) | unfit)
        z[rows[done]] = fitted[done]
        rows, wrong = rows[~done], wrong[~done]
        if not len(rows):
            return z
        active[rows] ^= wrong
    z[rows] = _solve(target[rows], gram)
    return z


def _solve(target: Tensor, gram: Tensor) -> Tensor:
    """The minima of z G zᵀ / 2 - z · target over z ≥ 0, one for each row of target."""
    z = torch.zeros_like(target)
    active = torch.zeros_like(target, dtype=torch.bool)
    least = _ZERO * target.abs().amax(dim=1).clamp(min=1e-300)
    open_rows = torch.arange(len(target), device=target.device)
    entered = torch.full_like(open_rows, -1)
    limit = 3 * target.shape[1] + 10
    for _ in range(limit):
        open_rows, entering = _enter(z, active, target, gram, least, open_rows, entered)
        if not len(open_rows):
            return z
        _settle(z, active, target, gram, least, open_rows)
        # An atom that left at once depends on those already active: taking it again would cycle.
        entered[open_rows] = torch.where(active[open_rows, entering], -1, entering)
    raise DictionaryError(
        f"Non-negative least squares of {len(open_rows)} tokens did not end in {limit} steps. "
        "Expected atoms that are not all but dependent: encode in double precision."
    )


def _enter(
    z: Tensor,
    active: Tensor,
    target: Tensor,
    gram: Tensor,
    least: Tensor,
    rows: Tensor,
    barred: Tensor,
) -> tuple[Tensor, Tensor]:
    """Make the latent active that lowers the error most; rows that have none are done."""
    gain = target[rows] - z[rows] @ gram
    gain.masked_fill_(active[rows], -torch.inf)
    out = barred[rows] >= 0
    gain[out, barred[rows][out]] = -torch.inf
    best, entering = gain.max(dim=1)
    going = best > least[rows] + _ZERO * z[rows].sum(dim=1)
    rows, entering = rows[going], entering[going]
    active[rows, entering] = True
    return rows, entering


def _settle(
    z: Tensor, active: Tensor, target: Tensor, gram: Tensor, least: Tensor, rows: Tensor
) -> None:
    """Fit the active latents; go no further than the first that turns negative, and drop it."""
    while len(rows):
        fitted = _fit(active[rows], target[rows], gram)
        bad = active[rows] & (fitted <= least[rows, None])
        feasible = ~bad.any(dim=1)
        z[rows[feasible]] = fitted[feasible]
        rows, fitted, bad = rows[~feasible], fitted[~feasible], bad[~feasible]
        if not len(rows):
            return
        before = z[rows]
        share = torch.where(bad, before / (before - fitted), torch.inf)
        step = share.clamp(min=0).amin(dim=1, keepdim=True)
        moved = (before + step * (fitted - before)).clamp(min=0)
        leaving = bad & (share <= step)
        z[rows] = moved.masked_fill(leaving, 0.0)
        active[rows] &= ~leaving


def _fit(active: Tensor, target: Tensor, gram: Tensor) -> Tensor:
    """Unconstrained least squares on the active latents of each row, zero elsewhere."""
    count = active.sum(dim=1)
    most = int(count.max())
    picked = active.to(torch.uint8).topk(most, dim=1).indices
    valid = torch.arange(most, device=active.device) < count[:, None]
    pairs = valid[:, :, None] & valid[:, None, :]
    eye = torch.eye(most, dtype=gram.dtype, device=gram.device)
    system = torch.where(pairs, gram[picked[:, :, None], picked[:, None, :]], eye)
    right = torch.where(valid, target.gather(1, picked), 0.0)
    solved = torch.linalg.solve_ex(system, right).result
    return torch.zeros_like(target).scatter_(1, picked, solved.nan_to_num(0.0))
