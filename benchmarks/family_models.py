"""Families that need a language model, on one whose residual stream has known features.

measured(cache) -> World      # of `concept_table`: by seed, by member, values and truths
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import concept_panels
from benchmarks.concept_panels import Code
from benchmarks.concept_table import LAST, World
from benchmarks.family_worlds import in_short_panel, signed
from benchmarks.planted_model import ATTRIBUTES, SITE, Planted
from benchmarks.planted_panel import PlantedWorld, dictionary, lexicon, panel, tasks
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.families.registry import card_of
from pytest_sae.judge.rule_based import RuleBasedJudge
from pytest_sae.measure.given import Given
from pytest_sae.measure.given import measured as measured_family
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key

FAMILIES = ("core", "ravel", "principled", "absorption", "autointerp")
#: Beginnings of the names of the features that a family's tasks are about.
ABOUT = {
    "ravel": (*ATTRIBUTES, "asks"),
    "principled": (*ATTRIBUTES, "asks"),
    "absorption": ("letter",),
}
RESEEDS = 2
_SIZES = {
    "autointerp": {"latents": 40, "intervened": 12},
    "ravel": {"train_pairs": 200, "test_pairs": 120, "steps": 60},
    "principled": {"edits": 50},
}
_CONTEXT = 64


def measured(cache: Path, families: Sequence[str] = FAMILIES) -> World:
    """Return every metric's value of every member, at seed 0 and, for a few, at others."""
    path = cache / "families planted.json"
    if not path.is_file():
        planted = Planted()
        codes = [each for each in panel(planted, cache) if in_short_panel(each.name)]
        few = [each for each in codes if each.name.endswith(LAST)][::2]
        found = {"0": measure(planted, codes, 0, families)}
        for seed in range(1, RESEEDS + 1):
            found[str(seed)] = measure(planted, few, seed, families)
        path.write_text(json.dumps(found), encoding="utf-8")
    read: World = json.loads(path.read_text(encoding="utf-8"))
    return read


def measure(
    planted: Planted, codes: Sequence[Code], seed: int, families: Sequence[str] = FAMILIES
) -> dict[str, dict[str, Any]]:
    """Return the values of some dictionaries at a seed, and their truths."""
    world, asked, store = PlantedWorld(planted), tasks(planted, seed), Store(None)
    truth = world.sample(12_000, 5, "truth")
    found = {}
    for code in codes:
        latents = latents_at(planted, SITE, dictionary(planted, code), store)
        judge = RuleBasedJudge(lexicon(planted))
        given = Given(latents, asked, seed, judge=judge)
        found[code.name] = {
            "kind": code.kind,
            "values": dict(_values(given, families)),
            "truth": concept_panels.recovery(code, world, truth.x, truth.features),
            "of family": {
                name: concept_panels.recovery(
                    code, PlantedWorld(planted, about), truth.x, truth.features
                )
                for name, about in ABOUT.items()
            },
        }
    return found


def _values(given: Given, families: Sequence[str]) -> Iterator[tuple[str, float | None]]:
    for each in figures(given, families):
        yield metric_key(each.metric, each.params), signed(each)


def figures(given: Given, families: Sequence[str]) -> Iterator[Estimate]:
    """Give what some families measure of a dictionary of the planted model.

    Args:
        given: to measure from; its sizes are replaced.
        families: by name.
    """
    for name in families:
        card = card_of(name)
        sizes = {**card.sizes.get("standard", {}), **_SIZES.get(name, {})}
        own = Given(given.latents, given.tasks, given.seed, sizes, given.judge)
        for each in measured_family(card, own):
            if each.status not in ("not_applicable", "no_data"):
                yield each


def latents_at(planted: Planted, site: str, dictionary: Dictionary, store: Store) -> Latents:
    """Return what a dictionary makes of a site of the planted model.

    Args:
        planted: the model.
        site: as a run names it.
        dictionary: that reads and writes there.
        store: of what other dictionaries share.
    """
    model = planted.model
    return Latents(dictionary, model, model.site(site), store, _CONTEXT, lambda *_: None)
