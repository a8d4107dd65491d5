"""How much of the truth a dictionary has found.

    recovery(dictionary, sample, rows, of=None) -> Recovery
    agreement(dictionary, sample, rows) -> Agreement              # before any choice of features

Every true feature is given at most one latent and every latent at most one feature, so that the
sum is largest (optimal assignment, Kuhn 1955); a feature without a latent counts 0.

- `f1`: 2 TP / (fires of the latent + fires of the feature), over tokens: does it
  *read* the feature?
- `cosine`: of the decoder row and the feature's direction, 0 if negative: does it *write* it?
- `both`: their product, assigned once. A permuted decoder reads all and writes nothing; a random
  dictionary that is wide enough has a fair cosine and reads nothing. Neither has a high product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import DictionaryError
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.synthetic.worlds import Sample


@dataclass(frozen=True)
class Recovery:
    """Means over true features, all in [0, 1], higher is better.

    Args:
        f1: of the assigned latents as detectors.
        cosine: of the assigned decoder rows.
        both: of the product of the two, under its own assignment.
    """

    f1: float
    cosine: float
    both: float


@dataclass(frozen=True)
class Agreement:
    """How well each latent stands for each true feature.

    Args:
        f1: (F, d_sae).
        cosine: (F, d_sae), negative ones 0.
    """

    f1: Floats
    cosine: Floats

    def of(self, features: NDArray[np.int64] | None = None) -> Recovery:
        """Return the recovery of some features, all if None."""
        chosen = slice(None) if features is None else features
        f1, cosine = self.f1[chosen], self.cosine[chosen]
        return Recovery(_assigned(f1), _assigned(cosine), _assigned(f1 * cosine))


def recovery(
    dictionary: Dictionary, sample: Sample, rows: Tensor, of: NDArray[np.int64] | None = None
) -> Recovery:
    """Return how much of the truth a dictionary has found.

    Args:
        dictionary: with an affine decoder.
        sample: tokens with their true features.
        rows: (F, d) true directions.
        of: indices of the features that count, None for all.

    Raises:
        DictionaryError: it has no fixed decoder rows.
    """
    return agreement(dictionary, sample, rows).of(of)


def agreement(dictionary: Dictionary, sample: Sample, rows: Tensor) -> Agreement:
    """Compare every latent with every true feature; see `recovery`.

    Args:
        dictionary: with an affine decoder.
        sample: tokens with their true features.
        rows: (F, d) true directions.

    Returns:
        F1 and cosine of each feature with each latent, 0 to 1.

    Raises:
        DictionaryError: it has no fixed decoder rows.
    """
    written = dictionary.decoder_rows
    if written is None:
        raise DictionaryError(
            f"{dictionary.info.source} ({dictionary.info.family}) has no fixed decoder rows to "
            "compare with true features. Expected an affine decoder."
        )
    cosine = normalize(rows, dim=1) @ normalize(written.to(rows), dim=1).T
    return Agreement(_f1(dictionary, sample), cosine.clamp(min=0).double().cpu().numpy())


def _f1(dictionary: Dictionary, sample: Sample, block: int = 4096) -> Floats:
    features, latents = sample.features.shape[1], dictionary.d_sae
    both = torch.zeros(features, latents, dtype=torch.float64)
    there = torch.zeros(features, 1, dtype=torch.float64)
    active = torch.zeros(1, latents, dtype=torch.float64)
    with torch.no_grad():
        for x, truth in zip(sample.x.split(block), sample.features.split(block), strict=True):
            z = dictionary.encode(x.to(dictionary.device, dictionary.dtype))
            fires, true = (z != 0).float(), (truth > 0).float().to(z.device)
            both += (true.T @ fires).double().cpu()
            there += true.sum(0).double().cpu()[:, None]
            active += fires.sum(0).double().cpu()[None]
    total = there + active
    return (2 * both / torch.where(total > 0, total, 1.0)).numpy()


def _assigned(agreement: Floats) -> float:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(agreement, maximize=True)
    return float(agreement[rows, columns].sum() / len(agreement))
