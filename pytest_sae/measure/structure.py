"""The `structure` family of one dictionary: its rows and its codes, without labels or a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse

from pytest_sae.activations.latents import Latents
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.measure import mdl
from pytest_sae.measure.given import Given
from pytest_sae.metrics import agreement, independence, meta_structure
from pytest_sae.numbers.bootstrap import share_estimate
from pytest_sae.numbers.estimate import Estimate, not_applicable

NO_TWIN = (
    "there is no second dictionary to agree with: name one of another seed with --sae-twin=PATH"
)


def measure(given: Given) -> list[Estimate]:
    """Return live_share, meta_structure, mdl, coherence, coactivation and seed_agreement.

    Args:
        given: to measure from.
    """
    latents, texts, seed = given.latents, given.corpus("structure").texts, given.seed
    rows = latents.dictionary.decoder_rows
    densities = latents.densities(texts)
    live = densities > 0
    share = share_estimate("live_share", int(live.sum()), len(live), "latents")
    with latents.store.work.timed("structure"), torch.no_grad():
        return [
            share,
            meta_structure.meta_structure(rows, seed),
            *mdl.measure(latents, texts, seed),
            *independence.coherence(rows, torch.from_numpy(live)),
            _coactivation(latents, texts),
            _agreement(latents.dictionary, given.twin, seed),
        ]


def _coactivation(latents: Latents, texts: Sequence[str]) -> Estimate:
    densities, d_sae = latents.densities(texts), latents.dictionary.d_sae
    tokens = sum(int(part.batch.valid.sum()) for part in latents.tokens(texts))
    sums = independence.CoactivationSums(independence.sampled(densities, tokens), d_sae)
    for part in latents.coded("comparing latents", texts):
        assert part.codes is not None
        valid = part.batch.valid[part.batch.attention].nonzero()[:, 0]
        token, latent, _ = part.codes.entries(valid)
        ones = np.ones(len(token), np.float32)
        shape = (len(valid), d_sae)
        sums.update(sparse.csr_array((ones, (token.numpy(), latent.numpy())), shape=shape))
    return independence.coactivation(sums, float((densities > 0).mean()))


def _agreement(dictionary: Dictionary, twin: Dictionary | None, seed: int) -> Estimate:
    if twin is None:
        return not_applicable(agreement.METRIC, NO_TWIN)
    found = agreement.seed_agreement(dictionary.decoder_rows, twin.decoder_rows, seed)
    return replace(found, details={**found.details, "twin": twin.fingerprint})
