"""Absorption where children fire only with their parent: parents in the place of first letters.

    measured(kind, cache) -> {member: {"kind": ..., "values": ..., "true": ...}}

A token on which one parent fires is a word, and the parent its first letter. Beside the panel
stand dictionaries that are the truth but for a share of the children, whose latents write their
parent too and silence its own. What is true of any dictionary: by how much more rarely a parent's
latent fires when a child does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import concept_panels
from benchmarks.concept_panels import Code, correlations
from benchmarks.concept_table import in_panel
from benchmarks.concept_worlds import Ints, Kind, KindWorld
from pytest_sae.metrics.absorption import (
    FOLDS,
    Absorbed,
    Share,
    SpelledWords,
    absorbed,
    fit_letters,
)
from pytest_sae.metrics.absorption_estimates import MIN_F1
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.probes import LinearProbes

SHARES = (0.0, 0.25, 0.5, 1.0)  # of the children that absorb their parent
_TOKENS = 60_000
_MOST = 80  # tokens of a parent
_FOUND = 0.3  # correlation from which on a latent is taken for a parent's


@dataclass(frozen=True, eq=False)
class Parents:
    """Tokens on which one parent fires.

    Args:
        x: (token, d).
        features: (token, F).
        parent: (token,) feature.
        letter: (token,) the parent's place among those there are.
        folds: (token,); tokens with the same child stand in one, as spellings of a word do, or
            else a child's latent that absorbs its parent is known as one of the parent's.
        probes: of the parents, without each fold.
    """

    x: Tensor
    features: Tensor
    parent: Ints
    letter: Ints
    folds: Ints
    probes: LinearProbes

    @classmethod
    def of(cls, world: KindWorld) -> Parents:
        """Draw them, as many of each parent as there are."""
        sample = world.sample(_TOKENS, 11, "parents")
        children = np.flatnonzero(world.parent_of >= 0)
        heads = np.unique(world.parent_of[children])
        fires = sample.features[:, heads].numpy() > 0
        told = sample.features[:, children].numpy() > 0
        rng = generator(0, "parents", world.spec.name)
        single = np.flatnonzero((fires.sum(1) == 1) & (told.sum(1) <= 1))
        letter = fires[single].argmax(1)
        kept = np.concatenate(
            [rng.permutation(single[letter == each])[:_MOST] for each in range(len(heads))]
        )
        letters = fires[kept].argmax(1)
        # One fold for all tokens of a child, the others dealt.
        folds = rng.permutation(len(kept)) % FOLDS
        turn = np.concatenate([np.arange(n) for n in np.unique(world.parent_of[children],
                               return_counts=True)[1]])  # fmt: skip
        order = np.argsort(world.parent_of[children], kind="stable")
        of_child = np.empty(len(children), np.int64)
        of_child[order] = turn % FOLDS
        folds = np.where(told[kept].any(1), of_child[told[kept].argmax(1)], folds)
        x = sample.x[kept]
        probes = fit_letters(x.numpy(), letters, folds, len(heads))
        return cls(x, sample.features[kept], heads[letters], letters, folds, probes)

    def read(self, z: Tensor, rows: Tensor) -> Absorbed:
        """Measure absorption of latents (token, d_sae) as a run does."""
        code = sparse.csr_array(z.numpy())
        words = SpelledWords(self.letter, self.folds, self.x.numpy(), code, rows.numpy())
        return absorbed(words, self.probes)

    def lost(self, world: KindWorld, z: Tensor) -> float:
        """Return by how much more rarely parents' latents fire on tokens with a child.

        Mean over the parents that a latent was found for.
        """
        shares = []
        for parent in np.unique(self.parent):
            own = self.parent == parent
            children = np.flatnonzero(world.parent_of == parent)
            told = (self.features[:, children] > 0).any(1).numpy()
            alike = correlations(z, self.features[:, parent : parent + 1])[0]
            latent = int(np.nan_to_num(alike).argmax())
            fires = (z[:, latent] != 0).numpy()
            alone, together = fires[own & ~told], fires[own & told]
            if alike[latent] >= _FOUND and len(alone) and len(together) and alone.mean() > 0:
                shares.append(max(0.0, 1 - float(together.mean() / alone.mean())))
        return float(np.mean(shares)) if shares else float("nan")


def absorbing(world: KindWorld, features: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return latents and rows of the truth, a share of whose children absorb their parent.

    Args:
        world: with parents.
        features: (token, F) what is true.
        share: of the children.
    """
    z, rows = features.clone(), world.rows.clone()
    children = np.flatnonzero(world.parent_of >= 0)
    order = generator(world.spec.seed, "absorbing").permutation(children)
    for child in order[: round(share * len(order))]:
        parent, there = world.parent_of[child], features[:, child] > 0
        both = world.rows[child] + world.rows[parent]
        rows[child] = normalize(both, dim=0)
        z[there, child] = features[there, child] * both.norm()
        z[there, parent] = 0.0
    return z, rows


def value(share: Share, found: Absorbed) -> float:
    """Return the mean over letters that the probe reads, as the package's figure is."""
    used = found.right & np.isin(found.letters, np.flatnonzero(found.f1 > MIN_F1))
    each = [share.fraction[used & (found.letters == c)].mean() for c in set(found.letters[used])]
    return float(np.mean(each))


def measured(kind: Kind, cache: Path) -> dict[str, dict[str, Any]]:
    """Return what absorption is of every member of a world's panel, and what it is in truth."""
    path = cache / f"absorption {kind.name}.json"
    if not path.is_file():
        world = KindWorld(kind)
        codes = [c for c in concept_panels.panel(world, cache) if in_panel(c.name)]
        path.write_text(json.dumps(measure(world, codes)), encoding="utf-8")
    read: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return read


def measure(world: KindWorld, codes: Sequence[Code]) -> dict[str, dict[str, Any]]:
    """Return absorption of some codes and of the truth with shares of its children absorbing."""
    parents = Parents.of(world)
    found = {}
    made = [(f"truth, {s:.0%} absorb", "broken", *absorbing(world, parents.features, s))
            for s in SHARES]  # fmt: skip
    with torch.no_grad():
        made += [(c.name, c.kind, c.encode(parents.x), c.rows) for c in codes
                 if c.kind != "oracle"]  # fmt: skip
    for name, kind, z, rows in made:
        read = parents.read(z, rows)
        found[name] = {
            "kind": kind,
            "absorption": value(read.projected, read),
            "canonical": value(read.canonical, read),
            "full": float(read.projected.full[read.right].mean()),
            "true": parents.lost(world, z),
            "probes": int((read.f1 > MIN_F1).sum()),
        }
    return found
