"""Is a concept hurt by what no concept metric sees? Damages where the features are known.

    python -m benchmarks.gate_truth --cache DIR [--only NAME ...] [--work DIR]

The TopK dictionary of a world of `concept_worlds` (trained into --cache if it is not there) is
damaged as `gate_damages.py` damages SAEs. Beside what concept metrics say stands how much is
recovered of the features that its tasks ask about, by the two truths of docs/audit.md. These worlds
have one site; another block can be read where there is one, in the language model of
`planted_model`, whose families that need a model are measured by a run's own code.
`gate_simulation.py` puts the tables into docs/gate.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.concept_packaged import RunTask, packaged, written
from benchmarks.concept_panels import RECIPES, STEPS, Code, Sampled, recoded, recovery, trained
from benchmarks.concept_worlds import DESIGN, Kind, KindWorld
from benchmarks.family_models import figures, latents_at
from benchmarks.gate_damage_tables import TRUTH, Change
from benchmarks.gate_worlds import ELSEWHERE, HALF, TOLD
from benchmarks.planted_model import SITE, Planted
from benchmarks.planted_panel import PlantedWorld, dictionary, tasks, truth
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.dictionaries.damaged import DAMAGES, damaged
from pytest_sae.measure.given import Given
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.session.threads import threads

KEPT = (STEPS[-1] // 2, STEPS[-1])  # steps of the training: half of it, and all
METRICS = ("removal", "tpp.rescaled:n=few", "scr.margin:direction=spurious,n=few",
    "sparse_probing.gain:k=2", "erasure")  # fmt: skip
FAMILIES = ("scr", "tpp", "removal", "sparse_probing", "erasure")
CELL = (100, 80)  # texts to train and to test on, of each cell
PLANTED = "planted model"
OF_MODEL = ("explained_variance", "ravel", "principled.control:k=2", "absorption")
FAMILIES_OF_MODEL = ("core", "ravel", "principled", "absorption")
ABOVE = "blocks.1.hook_resid_post"
_TEXTS = 600  # of the planted model, on which recovery is judged


@dataclass(frozen=True)
class Judged:
    """A dictionary: what metrics say of it, and how much of the truth it has."""

    figures: Mapping[str, Estimate]
    truth: tuple[float, float]


def trainings(world: Sampled, cache: Path) -> tuple[Code, dict[str, Code]]:
    """Return the whole dictionary, and those that are trained or coded otherwise, by what it is.

    Args:
        world: that they are of.
        cache: where they are kept.
    """
    recipe = RECIPES[0]
    half, whole = trained(world, cache, (recipe,), KEPT)
    more = recoded(world, cache, recipe, 2.7, KEPT)
    return whole, {DAMAGES["k_times_2.7"].told: more, TOLD[HALF]: half}


def codes(world: Sampled, cache: Path) -> Iterator[tuple[str, Code]]:
    """Give the whole dictionary, then every damaged one, with what it is."""
    whole, others = trainings(world, cache)
    yield "whole", whole
    for name, damage in DAMAGES.items():
        if not damage.files:
            yield damage.told, _damaged(whole, name)
    yield from others.items()


def _damaged(code: Code, name: str) -> Code:
    info = DictionaryInfo(code.name, "code", None, None, None)
    whole = AffineDictionary(
        code.encode, code.rows, torch.zeros(code.rows.shape[1]), None, info, code.name
    )
    return _code_of(damaged(whole, name))


def _code_of(dictionary: Dictionary) -> Code:
    rows = dictionary.decoder_rows
    assert rows is not None
    return Code(dictionary.info.source, "attack", dictionary.encode, rows)


def measure(kind: Kind, cache: Path) -> dict[str, Judged]:
    """Return every dictionary of a world judged, by what it is.

    Args:
        kind: of the world.
        cache: where its dictionaries are kept.
    """
    world = KindWorld(kind)
    tasks = [RunTask(texts, 0) for texts in (world.pair(0, CELL, 0), world.multi(0, CELL, 0))]
    truth = world.sample(6000, 5, "truth")
    return {
        told: Judged(
            packaged(tasks, code, written(world, code), FAMILIES),
            recovery(code, world, truth.x, truth.features),
        )
        for told, code in codes(world, cache)
    }


def of_model(cache: Path) -> dict[str, Judged]:
    """Return every dictionary of the planted model judged, by what it is.

    Args:
        cache: where they are kept.
    """
    planted = Planted()
    world, asked, store = PlantedWorld(planted), tasks(planted, 0), Store(None)
    texts = list(dict.fromkeys(planted.corpus(_TEXTS, 5)))
    features = torch.cat([truth(planted, text) for text in texts])
    found = {}
    for told, site, each in _at_sites(planted, world, cache):
        latents = latents_at(planted, site, each, store)
        known = figures(Given(latents, asked, 0), FAMILIES_OF_MODEL)
        found[told] = Judged(
            {metric_key(figure.metric, figure.params): figure for figure in known},
            recovery(_code_of(each), world, _read(latents, texts), features),
        )
    return found


def _at_sites(
    planted: Planted, world: PlantedWorld, cache: Path
) -> Iterator[tuple[str, str, Dictionary]]:
    code, others = trainings(world, cache)
    whole = dictionary(planted, code)
    yield "whole", SITE, whole
    for name, damage in DAMAGES.items():
        if not damage.files:
            yield damage.told, SITE, damaged(whole, name)
    for told, other in others.items():
        yield told, SITE, dictionary(planted, other)
    yield TOLD[ELSEWHERE], ABOVE, whole


def _read(latents: Latents, texts: Sequence[str]) -> Tensor:
    """(token, d) what the dictionary reads of texts of one length, in their order."""
    rows, x = [], []
    for part in latents.tokens(texts):
        rows.append(torch.as_tensor(part.batch.rows)[part.text_of_token])
        x.append(part.x_valid)
    order = torch.cat(rows).argsort(stable=True)
    return torch.cat(x)[order].float()


def table(worlds: Mapping[str, Mapping[str, Judged]], metrics: Sequence[str] = METRICS) -> str:
    """Return each damage by the truth and by what metrics say.

    Args:
        worlds: by name, every dictionary by what it is.
        metrics: by key.
    """
    heads = " | ".join(each.partition(":")[0] for each in metrics)
    lines = [
        f"| world | dictionary | recovered | {heads} |",
        f"|---|---|---|{'---|' * len(metrics)}",
    ]
    for name, found in worlds.items():
        lines += [
            f"| {name} | {told} | {_row(found['whole'], each, metrics)} |"
            for told, each in found.items()
        ]
    return "\n".join(lines)


def _row(whole: Judged, judged: Judged, metrics: Sequence[str]) -> str:
    cells = ["{:.3f} / {:.3f}".format(*judged.truth)]
    for key in metrics:
        change = Change.of(whole.figures[key], judged.figures[key])
        own = judged.figures[key].value
        first = "-" if own is None else f"{own:.3f}"
        cells.append("-" if change is None else first if judged is whole else change.told)
    return " | ".join(cells)


_HEAD = """### Beside the truth

Made by `python -m benchmarks.gate_truth` on generated worlds whose features are known
([audit.md](audit.md)): how much of the features that the tasks ask about is recovered, as F1 times
cosine and as correlation, and the change of what concept metrics say ± its standard error (\\*
where that is not paired by texts); bold where it is for the worse by more than three of them. Such
a world has one site, and no block above it."""
_MODEL = """The same on a language model whose residual stream has known features at its first
block: what needs a model, and the block above. Recovered is of all its features, of which the
tasks of `ravel` and `principled` ask about a quarter."""


def main() -> None:
    """Judge the damages on the worlds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    names = [DESIGN[0].name, DESIGN[3].name, PLANTED]
    add("--cache", type=Path, required=True, help="of trained dictionaries")
    add("--only", nargs="+", default=names, help=f"names of worlds, and {PLANTED!r}")
    add("--work", type=Path, default=Path("gate-simulation"))
    chosen = parser.parse_args()
    kinds: Sequence[Kind] = [each for each in DESIGN if each.name in chosen.only]
    with threads(1):
        parts = [_HEAD, table({each.name: measure(each, chosen.cache) for each in kinds})]
        if PLANTED in chosen.only:
            parts += [_MODEL, table({PLANTED: of_model(chosen.cache)}, OF_MODEL)]
    (chosen.work / TRUTH).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
