"""The published protocol of SCR and TPP (Karvonen et al. 2024, arXiv 2411.18895), in one place.

The probe's recipe is `probes.PUBLISHED`; the published pairs and classes are in `data.sources`.
"""

from __future__ import annotations

#: How many latents are ablated, and the number that is reported as the headline.
NS = (2, 5, 10, 20, 50, 100, 500)
HEADLINE_N = 20

#: Tokens per text.
CONTEXT = 128

#: A published SCR denominator (clean minus confounded accuracy) this small divides nothing.
SMALLEST_GAP = 0.001

#: Ours: bootstrap resamples of the training texts that the default estimators average over.
FITS = 5
#: Ours: a denominator under this many of its standard errors is not known to be positive.
MIN_STANDARD_ERRORS = 3.0
