"""From absorbed words to the absorption figures; lower is better.

estimates(absorbed, alphabet, seed) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_sae.metrics.ablation import Indices
from pytest_sae.metrics.absorption import FOLDS, Absorbed
from pytest_sae.numbers.bootstrap import Floats, drawn_estimate, generator, resample
from pytest_sae.numbers.estimate import Estimate, unable

MIN_F1 = 0.6
MIN_LETTERS = 20
NAMES = (
    "absorption",
    "absorption.full",
    "absorption.canonical",
    "absorption.canonical.full",
    "absorption.split_latents",
)


def estimates(absorbed: Absorbed, alphabet: Sequence[str], seed: int) -> list[Estimate]:
    """Return the absorption figures: means over the letters that the full probe reads.

    `absorption` (mean fraction) and `absorption.full` (share of words), from 0 to 1, LOWER is
    better; `.canonical` and `.canonical.full` with the published projection; `.split_latents`, how
    many latents stand for a letter. A random or far too narrow dictionary absorbs nothing: read
    them beside `sparse_probing` and `core`.

    Args:
        absorbed: from `absorption.absorbed`.
        alphabet: name of each letter index.
        seed: the run's; words are drawn within letters.

    Returns:
        The five figures; all `unable` if the probe reads fewer than 20 letters.

    Source: Chanin et al. 2024 (arXiv 2409.14507).

    Twenty letters of a word each, a quarter of which is absorbed:

    >>> from pytest_sae.metrics.absorption import Share
    >>> ones, share = np.ones(20), Share(np.full(20, 0.25), np.zeros(20, bool))
    >>> splits = np.ones((5, 20), np.int64)
    >>> read = Absorbed(np.arange(20), ones > 0, ones, share, share, splits, [])
    >>> found = estimates(read, "abcdefghijklmnopqrst", seed=0)
    >>> [(each.metric, round(each.value, 6)) for each in found[:2]]
    [('absorption', 0.25), ('absorption.full', 0.0)]
    """
    good = np.flatnonzero(absorbed.f1 > MIN_F1)
    table = _per_letter(absorbed, alphabet)
    if len(good) < MIN_LETTERS:
        read = ", ".join(alphabet[letter] for letter in good.tolist()) or "none"
        reason = (
            f"the probe on the model's activations reads {len(good)} letters (F1 > {MIN_F1}): "
            f"{read}. Expected {MIN_LETTERS} or more: this model cannot spell here"
        )
        return [unable(name, reason, {}, {"letters": table}) for name in NAMES]
    used = absorbed.right & np.isin(absorbed.letters, good)
    projected, canonical = absorbed.projected, absorbed.canonical
    columns = np.stack(
        [projected.fraction, projected.full, canonical.fraction, canonical.full], axis=1
    )
    values = _means(columns[used], absorbed.letters[used], seed)
    n = {"words": int(used.sum()), "letters": len(good)}
    found = [
        drawn_estimate(name, values[:, place], {}, n, 1, {"letters": table})
        for place, name in enumerate(NAMES[:4])
    ]
    splits = absorbed.splits[:, good].mean(0)
    # Letters are the units here; the folds of one letter share most of their words.
    counts = resample(len(good), generator(seed, "absorption", "letters")).counts
    drawn = np.concatenate([[splits.mean()], counts @ splits / len(good)])
    kept = {"letters": len(good), "folds": FOLDS}
    return [*found, drawn_estimate(NAMES[4], drawn, {}, kept, 1, {})]


def _means(columns: Floats, letters: Indices, seed: int) -> Floats:
    """(draw, column): mean over letters of the mean over words, row 0 the sample itself."""
    _, place, sizes = np.unique(letters, return_inverse=True, return_counts=True)
    shares = columns / (len(sizes) * sizes[place])[:, None]
    draws = resample(len(columns), generator(seed, "absorption", "words"), place)
    return np.concatenate([shares.sum(0, keepdims=True), draws.sums(shares)])


def _per_letter(absorbed: Absorbed, alphabet: Sequence[str]) -> dict[str, object]:
    table: dict[str, object] = {}
    for letter, name in enumerate(alphabet):
        mine = absorbed.letters == letter
        right = mine & absorbed.right
        table[name] = {
            "words": int(mine.sum()),
            "right": int(right.sum()),
            "f1": float(absorbed.f1[letter]),
            "split_latents": float(absorbed.splits[:, letter].mean()),
            "absorption": float(absorbed.projected.fraction[right].mean()) if right.any() else None,
            "full": float(absorbed.projected.full[right].mean()) if right.any() else None,
        }
    return table
