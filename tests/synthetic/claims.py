"""What each audited metric claims where the truth is known, and what it does not claim.

CLAIMS[name]: of a metric, whatever its setting.

- identity: the activations themselves as a dictionary. silent: latents that never fire, and nothing
  written. oracle: all true features. A number, a formula of the truth, `UNDEFINED`, or None where
  the definition claims nothing.
- rises: whether it gets better with every third of the tasks' true features that a dictionary
  learns. False where it is a description, or where docs/audit.md found that it does not. At k = 1
  nothing in sparse probing claims it: a second feature of a concept is one more to choose from.

No claim: that the oracle's value is 1 for `tpp`, `erasure` or `concept_*`. Their scale is what
probes can lose and LEACE reaches on the test texts; the oracle may do better, or have features of
one concept that write along the probe of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_sae.numbers.estimate import Estimate
from tests.synthetic.planted_dictionaries import Planted

Floats = NDArray[np.float64]
Figures = Mapping[str, Estimate]
#: A world, all figures of a dictionary on it and one of them, to the value that one must have.
Formula = Callable[[Planted, Figures, Estimate], float]
Expected = float | Formula | Literal["undefined"] | None
UNDEFINED: Literal["undefined"] = "undefined"


@dataclass(frozen=True)
class Claim:
    """See the module."""

    identity: Expected = None
    silent: Expected = None
    oracle: Expected = None
    rises: bool = False


def _corpus(planted: Planted) -> tuple[Floats, Floats]:
    """(token, d) activations and (token, F) features of the corpus."""
    corpus, texts = planted.book.tasks.corpus, planted.book.texts
    assert corpus is not None
    rows = [texts.names.index(name) for name in corpus.texts]
    x, features = (part[rows].flatten(0, 1).double().numpy() for part in (texts.x, texts.features))
    return x, features


def of_x(formula: Callable[[Floats], float]) -> Formula:
    """A formula of the corpus' activations."""
    return lambda planted, _figures, _own: formula(_corpus(planted)[0])


def of_truth(formula: Callable[[Floats], float]) -> Formula:
    """A formula of the corpus' true features."""
    return lambda planted, _figures, _own: formula(_corpus(planted)[1])


def _margin_of_few(_planted: Planted, figures: Figures, _own: Estimate) -> float:
    """The mean of `tpp.margin` over 1, 2, 3 and 5 ablated latents."""
    curve: Any = figures["tpp.margin:n=20"].details["curve"]
    return float(np.mean([curve[n]["value"] for n in ("1", "2", "3", "5")]))


def same_as(other: str) -> Formula:
    """The value of another metric at the same setting."""

    def value(_planted: Planted, figures: Figures, own: Estimate) -> float:
        found = [
            each.value
            for each in figures.values()
            if each.metric == other and each.params == own.params
        ]
        assert len(found) == 1
        assert found[0] is not None
        return found[0]

    return value


def _variance(x: Floats) -> float:
    return float(np.square(x - x.mean(0)).sum())


def _bits(x: Floats, error: float) -> float:
    """Bits of a Gaussian with the covariance of x at a squared error, by bisection of the level."""
    spectrum = np.linalg.eigvalsh(np.cov(x.T, bias=True)).clip(0)
    low, high = 0.0, float(spectrum.max())
    for _ in range(200):
        level = (low + high) / 2
        low, high = (
            (level, high)
            if np.minimum(spectrum, level).sum() < error * spectrum.sum()
            else (low, level)
        )
    above = spectrum[spectrum > level]
    return float(np.log2(above / level).sum() / 2)


def _rate(planted: Planted, _figures: Figures, own: Estimate) -> float:
    return _bits(_corpus(planted)[0], float(own.params["error"]))


def _cosines(planted: Planted) -> Floats:
    """(F, F) of true directions, 0 on the diagonal."""
    cosines: Floats = (planted.world.rows.double() @ planted.world.rows.double().T).numpy()
    np.fill_diagonal(cosines, 0)
    return cosines


def _nearest(planted: Planted, _figures: Figures, _own: Estimate) -> float:
    cosines = _cosines(planted)
    np.fill_diagonal(cosines, -1)
    return float(cosines.max(1).mean())


def _live(planted: Planted) -> Floats:
    alive = (_corpus(planted)[1] > 0).any(0)
    return np.abs(_cosines(planted))[np.ix_(alive, alive)]


def _accuracy_kept(_planted: Planted, figures: Figures, own: Estimate) -> float:
    full = own.details["accuracy"]
    assert isinstance(full, dict)
    return float(0.5 / full["value"])


def _chance_less_neurons(planted: Planted, figures: Figures, own: Estimate) -> float:
    return 0.5 - same_as("sparse_probing.neurons")(planted, figures, own)


def _neurons_as_published(_planted: Planted, _figures: Figures, own: Estimate) -> float:
    curve = own.details["neurons"]
    assert isinstance(curve, dict)
    return float(curve[str(own.params["k"])]["value"])


def _dense(share: float) -> Formula:
    return of_truth(lambda features: float(((features > 0).mean(0) > share).mean()))


CLAIMS: dict[str, Claim] = {
    # core
    "explained_variance": Claim(
        1.0, of_x(lambda x: 1 - float(np.square(x).sum()) / _variance(x)), 1.0, rises=True
    ),
    "mse": Claim(0.0, of_x(lambda x: float(np.square(x).sum(1).mean())), 0.0, rises=True),
    "cosine": Claim(1.0, 0.0, 1.0, rises=True),
    "l2_ratio": Claim(1.0, 0.0, 1.0),
    "relative_bias": Claim(1.0, UNDEFINED, 1.0),
    "l0": Claim(
        of_x(lambda x: float((x != 0).sum(1).mean())),
        0.0,
        of_truth(lambda features: float((features > 0).sum(1).mean())),
    ),
    "l1": Claim(
        of_x(lambda x: float(np.abs(x).sum(1).mean())),
        0.0,
        of_truth(lambda features: float(features.sum(1).mean())),
    ),
    "dead_share": Claim(0.0, 1.0, of_truth(lambda features: float((features == 0).all(0).mean()))),
    "dense_share_1pct": Claim(1.0, 0.0, _dense(0.01)),
    "dense_share_10pct": Claim(1.0, 0.0, _dense(0.1)),
    "encoder_decoder_cosine": Claim(1.0, None, 1.0),
    "max_decoder_cosine": Claim(0.0, None, _nearest),
    "max_encoder_cosine": Claim(0.0, None, _nearest),
    "decoder_norm": Claim(1.0, None, 1.0),
    # scr: at a fixed n more true features may be worse (docs/audit.md, "a fixed n turns the sign").
    "scr": Claim(silent=0.0),
    "scr.margin": Claim(silent=0.0),
    "scr.canonical": Claim(silent=0.0),
    # tpp: what writes as strongly as fits is not scaled down. Published accuracy hardly moves.
    "tpp": Claim(silent=0.0, rises=True),
    "tpp.margin": Claim(silent=0.0, rises=True),
    "tpp.rescaled": Claim(_margin_of_few, 0.0, _margin_of_few, rises=True),
    "tpp.canonical": Claim(silent=0.0),
    "erasure": Claim(silent=0.0, rises=True),
    "removal": Claim(silent=0.0, rises=True),
    # sparse probing: to read the activations as they are wins nothing over reading them.
    "sparse_probing": Claim(silent=0.5, rises=True),
    "sparse_probing.auc": Claim(same_as("sparse_probing.neurons"), 0.5, rises=True),
    "sparse_probing.neurons": Claim(),
    "sparse_probing.gain": Claim(0.0, _chance_less_neurons, rises=True),
    "sparse_probing.all_latents": Claim(same_as("sparse_probing.activations"), 0.5, rises=True),
    "sparse_probing.activations": Claim(),
    "sparse_probing.retention": Claim(silent=_accuracy_kept, rises=True),
    "sparse_probing.canonical": Claim(_neurons_as_published, 0.5, rises=True),
    # structure: a silent dictionary sends its residual, whose bits are known.
    "live_share": Claim(1.0, 0.0, of_truth(lambda features: float((features > 0).any(0).mean()))),
    "mdl": Claim(silent=_rate, rises=True),
    "mdl.latents": Claim(silent=0.0),
    "mdl.residual": Claim(silent=_rate),
    "coherence": Claim(0.0, UNDEFINED, lambda p, _f, _o: float(_live(p).max())),
    "duplicate_share": Claim(
        0.0, UNDEFINED, lambda p, _f, _o: float((_live(p).max(1) >= 0.9).mean())
    ),
    "coactivation": Claim(silent=UNDEFINED),
    "meta_structure": Claim(UNDEFINED, UNDEFINED, UNDEFINED),  # fewer rows than it is fitted on
    "concept_deletion": Claim(silent=0.0, rises=True),
    "concept_insertion": Claim(silent=0.0, rises=True),
    "concept_fidelity": Claim(silent=0.0),
    "concept_stability": Claim(silent=0.0),
}

#: There is no model, no twin, no second data set and no pair of replies in a world.
ABSENT = {
    "ce_clean",
    "ce_spliced",
    "ce_mean_ablated",
    "ce_zero_ablated",
    "ce_recovered",
    "ce_recovered.zero",
    "kl",
    "seed_agreement",
    "sparse_probing.transfer",
    "preference_auc_kept",
}

#: Undefined where small tasks give nothing to measure, whatever the dictionary.
MAY_BE_UNDEFINED = {"scr", "scr.margin", "scr.canonical", "erasure", "removal"}
