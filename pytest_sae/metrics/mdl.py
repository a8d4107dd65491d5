"""Description length: bits to send one token's activation through a dictionary's latents.

rate(spectrum, distortion) -> bits of a Gaussian vector at a squared error
step(spectrum, error) -> quantisation step of what a latent writes
DescriptionLength(error, book, spectrum, residual) .latent_bits .residual_bits
estimates(described, per_text, tokens, resamples) -> list[Estimate]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pytest_sae.metrics.codebook import CodeBook
from pytest_sae.numbers.bootstrap import Floats, Resamples, divide, spread
from pytest_sae.numbers.estimate import Estimate

METRIC = "mdl"
NAMES = (METRIC, f"{METRIC}.latents", f"{METRIC}.residual")
ERRORS = (0.2, 0.1, 0.05)  # squared error that is left, as a share of the activations' variance


def rate(spectrum: Floats, distortion: float) -> float:
    """Return the bits of a Gaussian vector at a squared error, by reverse water-filling.

    `R(D) = sum_i max(0, log2(v_i / t) / 2)` with `sum_i min(t, v_i) = D` (Shannon 1959; Cover and
    Thomas, 10.3.3): an upper bound for any distribution with this covariance.

    Args:
        spectrum: (d,) eigenvalues of its covariance, 0 or more.
        distortion: expected squared error, more than 0.

    Returns:
        Bits, 0 or more; lower means easier to send.

    Two directions of variance 4 at a squared error of 1 in each cost a bit each:

    >>> rate(np.array([4.0, 4.0]), 2.0)
    2.0
    """
    level = water_level(spectrum, distortion)
    above = spectrum[spectrum > level]
    return float(np.log2(above / level).sum() / 2)


def water_level(spectrum: Floats, distortion: float) -> float:
    """Return t with `sum_i min(t, v_i) = distortion`; the largest eigenvalue where there is none.

    Args:
        spectrum: (d,) eigenvalues, 0 or more.
        distortion: more than 0.

    Returns:
        A squared error per direction, in the unit of the spectrum.

    >>> water_level(np.array([0.5, 4.0]), 1.5)
    1.0
    """
    ascending = np.sort(spectrum)
    if distortion >= ascending.sum():
        return float(ascending[-1])
    # With the i smallest below the level, the others share what they leave.
    below = np.concatenate([[0.0], np.cumsum(ascending)[:-1]])
    levels = (distortion - below) / np.arange(len(ascending), 0, -1)
    return float(levels[np.argmax(levels <= ascending)])


def step(spectrum: Floats, error: float) -> float:
    """Return the step in which what latents write is quantised: `sqrt(12 t)`.

    A uniform step s leaves s^2 / 12 of squared error (Bennett 1948). With t the water level of the
    activations themselves at the error that is allowed, a latent is sent as precisely as any
    direction of the activations would be; the step is the same for all dictionaries of a site.

    Args:
        spectrum: (d,) eigenvalues of the activations' covariance.
        error: squared error that is left, as a share of the variance.

    Returns:
        In the unit of the activations, more than 0.

    Of variances 4 and 4 an error of 3/8 is 3, or 1.5 in each direction:

    >>> round(step(np.array([4.0, 4.0]), 3 / 8) ** 2 / 12, 6)
    1.5
    """
    return float(np.sqrt(12 * water_level(spectrum, error * spectrum.sum())))


@dataclass(frozen=True, eq=False)
class DescriptionLength:
    """All that a stream's description length follows from, at one error.

    Args:
        error: squared error that is left, as a share of the variance.
        book: of the quantised latents.
        spectrum: (d,) of the activations' covariance.
        residual: (d,) eigenvalues of the covariance of what the quantised latents leave.
    """

    error: float
    book: CodeBook
    spectrum: Floats
    residual: Floats

    @property
    def latent_bits(self) -> float:
        """Bits per token for the latents."""
        return float(self.book.entropies().sum())

    @property
    def residual_bits(self) -> float:
        """Bits per token for what they leave."""
        return rate(self.residual, self.error * float(self.spectrum.sum()))

    @property
    def plain_bits(self) -> float:
        """Bits per token without any dictionary."""
        return rate(self.spectrum, self.error * float(self.spectrum.sum()))


def estimates(
    described: DescriptionLength, per_text: Floats, tokens: Floats, resamples: Resamples
) -> list[Estimate]:
    """Return mdl, mdl.latents and mdl.residual of a stream at one error.

    `mdl = sum_j H(q_j) + R(D)`, in bits per token. q_j are latent j's values in steps of what they
    write (`symbols`), zero its own symbol, each latent coded by itself with the stream's own
    frequencies. R(D) is what the residual `x - x^(q)` then costs (`rate` of its covariance) to
    leave a squared error of D, the same share of the variance of x for all dictionaries; where
    the residual is already below D it costs nothing. A dictionary whose latents are all zero costs
    exactly what x costs without a dictionary, told in details as `without`.

    SAEBench's `mdl` quantises zeros to the middle of a bin, which spoils what a sparse code
    reconstructs, and compares at whatever error results. The principle is that of Ayonrinde et
    al. 2024, "Interpretability as compression" (arXiv 2410.11179).

    Args:
        described: the stream.
        per_text: (text, 2) bits of each text's tokens in the code of the stream, for latents and
            for the residual; their spread gives the intervals, the code taken as known.
        tokens: (text,) how many each has.
        resamples: draws of the texts.

    Returns:
        Bits per token, 0 or more; lower is better.

    A latent that is zero on half of the tokens and one symbol on the others costs a bit:

    >>> import torch
    >>> from pytest_sae.metrics.codebook import CodeBookSums
    >>> from pytest_sae.numbers.bootstrap import generator, resample
    >>> sums = CodeBookSums(d_sae=1)
    >>> sums.update(torch.tensor([0]), torch.tensor([1]), tokens=2)
    >>> stream = DescriptionLength(0.1, sums.book(), np.ones(2), np.zeros(2))
    >>> draws = resample(2, generator(0, "mdl"))
    >>> found = estimates(stream, np.array([[1.0, 0.0], [1.0, 0.0]]), np.ones(2), draws)
    >>> [(each.metric, each.value) for each in found]
    [('mdl', 1.0), ('mdl.latents', 1.0), ('mdl.residual', 0.0)]
    """
    params = {"error": described.error}
    latents, left = described.latent_bits, described.residual_bits
    details = {"without": described.plain_bits, "latents": latents, "residual": left}
    n = {"texts": len(tokens), "tokens": int(tokens.sum())}
    sums = resamples.sums(np.column_stack([per_text.sum(1), per_text, tokens]))
    values = {METRIC: latents + left, f"{METRIC}.latents": latents, f"{METRIC}.residual": left}
    found = []
    for place, (metric, value) in enumerate(values.items()):
        replicates = divide(sums[:, place], sums[:, -1])
        se, ci = spread(replicates) if len(tokens) > 1 else (None, None)
        found.append(Estimate(metric, value, params, se, ci, n))
    return [replace(found[0], details=details), *found[1:]]


def described_bits(spectrum: Floats, distortion: float, squares: Floats) -> Floats:
    """Return what each text's residuals cost in a code made for their covariance, (text,) bits.

    To first order in the covariance: `n R(D) + sum_i (s_i - n v_i) / max(v_i, t) / (2 ln 2)`, whose
    sum over the stream is exactly its tokens times R(D).

    Args:
        spectrum: (d,) v_i, of the residual's covariance.
        distortion: squared error that may be left.
        squares: (text, d + 1) s_i summed over a text's tokens, along the same directions; the last
            column is n, the number of tokens.

    Returns:
        Bits of each text; a text's own may be less than 0.

    One text, whose residuals have just the covariance of the code:

    >>> described_bits(np.array([4.0, 4.0]), 2.0, np.array([[12.0, 12.0, 3.0]])).tolist()
    [6.0]
    """
    bits, level = rate(spectrum, distortion), water_level(spectrum, distortion)
    tokens = squares[:, -1]
    if bits == 0:
        return np.zeros(len(squares))
    excess = squares[:, :-1] - tokens[:, None] * spectrum
    costs: Floats = tokens * bits + (excess / np.maximum(spectrum, level)).sum(1) / (2 * np.log(2))
    return costs
