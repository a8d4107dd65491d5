"""A panel of dictionaries of a world: trained ones at several points, the truth, and controls.

make_panel(world, plan, known, store) -> list[Member]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_sae.activations.store import Store
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.controls import permuted_decoder, random_matched
from pytest_sae.synthetic.references import Known, cut, oracle
from pytest_sae.synthetic.training import Architecture, TrainingRecipe, train
from pytest_sae.synthetic.worlds import Sample, World

Kind = Literal["trained", "oracle", "control", "cut"]


@dataclass(frozen=True)
class PanelPlan:
    """Which dictionaries a panel holds.

    Args:
        recipes: of the trained ones; controls are made of the first one.
        steps: when each is kept, ascending; the last one is the whole training.
        kept: share of its latents that the cut dictionary keeps.
    """

    recipes: tuple[TrainingRecipe, ...]
    steps: tuple[int, ...]
    kept: float = 0.125


_SMOKE: tuple[tuple[Architecture, float], ...] = (("topk", 0.0), ("jumprelu", 0.05))
_LARGE: tuple[tuple[Architecture, int, int, float, int], ...] = (
    ("topk", 4096, 24, 0.0, 0),
    ("topk", 4096, 24, 0.0, 1),
    ("topk", 4096, 48, 0.0, 0),
    ("topk", 2048, 24, 0.0, 0),
    ("batchtopk", 4096, 24, 0.0, 0),
    ("matryoshka", 4096, 24, 0.0, 0),
    ("standard", 4096, 0, 0.4, 0),
    ("jumprelu", 8192, 0, 0.05, 0),
)

SMOKE_PLAN = PanelPlan(
    tuple(
        TrainingRecipe(name, 64, k=4, penalty=penalty, steps=400, batch=128, rate=5e-3, pool=8192)
        for name, penalty in _SMOKE
    ),
    (60, 150, 400),
)
SMALL_PLAN = PanelPlan(
    (
        TrainingRecipe("topk", 256),
        TrainingRecipe("topk", 256, seed=1),
        TrainingRecipe("topk", 256, k=12),
        TrainingRecipe("topk", 128),
        TrainingRecipe("batchtopk", 256),
        TrainingRecipe("matryoshka", 256),
        TrainingRecipe("standard", 256, penalty=0.4),
        TrainingRecipe("jumprelu", 512, penalty=0.05),
    ),
    (200, 400, 800, 2000),
)
LARGE_PLAN = PanelPlan(
    tuple(
        TrainingRecipe(name, width, k=k, penalty=penalty, seed=seed, steps=20_000, batch=2048,
                       rate=1e-3, pool=2_097_152)
        for name, width, k, penalty, seed in _LARGE
    ),
    (500, 1500, 5000, 20_000),
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A dictionary of the panel.

    Args:
        name: unique in the panel; controls are called as in a run (`gate.controls.CONTROLS`).
        kind: `trained`, `oracle`, `control` (must come last) or `cut` (must come after what it
            was cut from).
        run: the training that it is of; the name itself for the others.
        step: of the training, 0 for the others.
        dictionary: ready to encode.
    """

    name: str
    kind: Kind
    run: str
    step: int
    dictionary: Dictionary


def make_panel(
    world: World, plan: PanelPlan, truth: Sample, known: Sequence[Known], store: Store
) -> list[Member]:
    """Train what is not in the store, and return all dictionaries of a panel.

    Args:
        world: that they are of.
        plan: which they are.
        truth: tokens on which controls are matched.
        known: tokens that the oracle will be asked about, besides `truth`.
        store: keeps the trained weights.

    Returns:
        Trained ones first, in the plan's order, then the oracle, the cut one and the controls.
    """
    members = list(_trained(world, plan, store))
    of = next(each for each in members if each.step == plan.steps[-1]).dictionary
    l0 = float((of.encode(truth.x) != 0).sum(1).float().mean())
    references: tuple[tuple[str, Kind, Dictionary], ...] = (
        ("oracle", "oracle", oracle(world, [(truth.x, truth.features), *known])),
        ("cut", "cut", cut(of, truth.x, max(1, round(plan.kept * of.d_sae)))),
        ("permuted_decoder", "control", permuted_decoder(of, world.spec.seed)),
        ("random", "control", random_matched(of, truth.x, l0, world.spec.seed)),
    )
    return members + [Member(name, kind, name, 0, each) for name, kind, each in references]


def _trained(world: World, plan: PanelPlan, store: Store) -> Iterator[Member]:
    for recipe in plan.recipes:
        for step, dictionary in train(world, recipe, plan.steps, store).items():
            yield Member(f"{recipe.name}@{step}", "trained", recipe.name, step, dictionary)
