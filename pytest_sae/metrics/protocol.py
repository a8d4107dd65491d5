"""The published protocol of SCR and TPP (Karvonen et al. 2024, arXiv 2411.18895), in one place.

The probe's recipe is `probes.PUBLISHED`; the published pairs and classes are in `data.sources`.
"""

from __future__ import annotations

from pytest_sae.numbers.estimate import Param

#: Ours: the mean over these numbers of ablated latents is a setting of its own.
FEW = (1, 2, 3, 5)
#: How many latents are ablated: the published numbers, and those of `FEW`.
NS = tuple(sorted({*FEW, 2, 5, 10, 20, 50, 100, 500}))
HEADLINE_N = 20


def setting_of(ns: tuple[int, ...]) -> Param:
    """Return how the parameter `n` spells the numbers that a value is the mean over.

    Args:
        ns: numbers of ablated latents.

    Returns:
        The number itself where it is one, `few` for several.

    >>> setting_of((20,)), setting_of(FEW)
    (20, 'few')
    """
    return ns[0] if len(ns) == 1 else "few"


#: Tokens per text.
CONTEXT = 128

#: A published SCR denominator (clean minus confounded accuracy) this small divides nothing.
SMALLEST_GAP = 0.001

#: Ours: bootstrap resamples of the training texts that the default estimators average over.
FITS = 5
#: Ours: how many of them the published probes are fitted on again, for the error of their figures.
REDRAWN = 4
#: Ours: a denominator under this many of its standard errors is not known to be positive.
MIN_STANDARD_ERRORS = 3.0
