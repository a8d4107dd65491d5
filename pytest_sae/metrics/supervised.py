"""A supervised dictionary: conditional means of activations for attributes that are known.

    fit(x, values) -> SupervisedDictionary            .reconstruct(values)    .edit(attribute, ...)

Makelov, Lange and Nanda 2024 (arXiv 2405.08366): the feature of a value is the mean activation of
the texts that have it, minus the mean of all. It is what an unsupervised dictionary is measured
against, and bounds it from above as far as attributes act additively.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SupervisedDictionary:
    """Features of attribute values.

    Args:
        mean: (d,) of all activations it was fitted on.
        features: per attribute (value, d).
    """

    mean: Floats
    features: Sequence[Floats]

    def reconstruct(self, values: Ints) -> Floats:
        """Return `mean + sum over attributes of the value's feature`, (text, d).

        Args:
            values: (text, attribute), all of them fitted.
        """
        parts = [each[values[:, place]] for place, each in enumerate(self.features)]
        total: Floats = self.mean + np.sum(parts, axis=0)
        return total

    def edit(self, attribute: int, before: Ints, after: Ints) -> Floats:
        """Return what turns one value into another, (edit, d): a feature removed, one added."""
        return self.features[attribute][after] - self.features[attribute][before]

    def removed(self, attribute: int, values: Ints) -> Floats:
        """Return the share of each reconstruction that an edit takes away, (text,).

        `<u, r> / |r|^2`, r the sum of all features of the text; the shares of all attributes add
        up to one. 0 where the reconstruction is the mean.
        """
        whole = self.reconstruct(values) - self.mean
        own = self.features[attribute][values[:, attribute]]
        return shares((own * whole).sum(1), whole)

    def guesses(self, attribute: int, x: Floats) -> Ints:
        """Return for each text the value whose feature, beside the others' at chance, is nearest.

        `argmax_v <u_v, x - mean> - |u_v|^2 / 2`, (text,).
        """
        features = self.features[attribute]
        scores = (x - self.mean) @ features.T - (features**2).sum(1) / 2
        best: Ints = scores.argmax(1)
        return best


def fit(x: Floats, values: Ints) -> SupervisedDictionary:
    """Return the supervised dictionary of activations.

    Args:
        x: (text, d).
        values: (text, attribute), numbered from 0 for each attribute, every number used.

    Returns:
        The mean of all texts, and of each value its texts' mean less that.

    Raises:
        ValueError: a number that no text has.

    Source: Makelov, Lange and Nanda 2024 (arXiv 2405.08366).

    >>> found = fit(np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([[0], [0], [1], [1]]))
    >>> found.mean.tolist(), found.features[0].tolist()
    ([3.0], [[-2.0], [2.0]])
    """
    mean = x.mean(0)
    features = []
    for column in values.T:
        counts = np.bincount(column)
        if (counts == 0).any():
            raise ValueError("every value of an attribute must occur in the texts it is fitted on")
        sums = np.zeros((len(counts), x.shape[1]))
        np.add.at(sums, column, x)
        features.append(sums / counts[:, None] - mean)
    return SupervisedDictionary(mean, features)


def shares(products: Floats, whole: Floats) -> Floats:
    """Divide (text,) inner products by the squared norm of (text, d); 0 where that is 0.

    Args:
        products: (text,) inner products with `whole`.
        whole: (text, d).

    Returns:
        (text,).

    >>> shares(np.array([2.0, 1.0]), np.array([[2.0, 0.0], [0.0, 0.0]])).tolist()
    [0.5, 0.0]
    """
    squares = (whole**2).sum(1)
    result: Floats = np.divide(products, squares, out=np.zeros(len(whole)), where=squares > 0)
    return result
