"""Who sees what: each damage of a known size, by every metric that needs no judge.

    python -m benchmarks.gate_damages --worlds DIR --trained DIR [--only NAME ...] [--slow] \\
        [--work DIR]

The TopK SAE of the bundled world, and of those in --worlds, is measured as in a run of the suite,
without controls; so is each of its damaged copies, what `gate_trainings.py` has trained, and copies
with nothing wrong: weights in bf16 and in fp16, and latents in another order. A change is compared
with its standard error, paired by texts where the metric says what each text adds to its error, and
judged by the rules of `evals/thresholds.toml` against the SAE as its baseline. What was measured is
kept in --work; `gate_simulation.py` puts the tables into docs/gate.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.foreign_dictionaries import AGAIN, WEIGHTS
from benchmarks.gate_damage_tables import TABLES, Compared, tables
from benchmarks.gate_worlds import BUNDLED, ELSEWHERE, HALF, SEEDS, TOLD, World, worlds
from pytest_sae.dictionaries.damaged import DAMAGES
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.families.registry import card_of
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.measure.given import measured
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.options import Options
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.session import EvalSession

#: Those that take seconds, and those that take most of the time.
FAMILIES = ("core", "removal", "tpp", "scr", "concepts", "absorption", "principled")
SLOW = ("erasure", "sparse_probing", "ravel")
BESIDE = "topk"
#: What is wrong with each, for people; in the order of the tables.
DAMAGED: Mapping[str, str] = {
    **{
        name: DAMAGES[name].told
        for name in (
            "dropped_01", "dropped_05", "dropped_20", "decoder_noise_05", "decoder_noise_10",
            "encoder_noise_10", "permuted_03", "k_less_10", "k_times_2.7",
        )
    },
    ELSEWHERE: TOLD[ELSEWHERE],
    "halved_50": DAMAGES["halved_50"].told,
    HALF: TOLD[HALF],
}  # fmt: skip
_KEPT = ("metric", "params", "value", "se", "n", "status", "reason", "influence")


def renumbered(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an SAE with its latents in another order."""
    order = torch.randperm(len(weights["W_dec"]), generator=torch.Generator().manual_seed(0))
    taken = {"W_enc": weights["W_enc"][:, order], "W_dec": weights["W_dec"][order]}
    return {**weights, **taken, "b_enc": weights["b_enc"][order]}


def _as(dtype: torch.dtype) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name: each.to(dtype) for name, each in weights.items()}


#: Copies with nothing wrong.
HARMLESS: Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "bf16": _as(torch.bfloat16),
    "fp16": _as(torch.float16),
    "renumbered": renumbered,
}


@dataclass(frozen=True)
class Place:
    """Where the dictionaries of a world are, and where what was measured of them is kept."""

    world: World
    work: Path

    def saes(self) -> Iterator[tuple[str, str]]:
        """Give every dictionary by name, as a value of `--sae`."""
        whole = self.world.saes / BESIDE
        yield BESIDE, str(whole)
        damaged = {each.name: each.sae for each in self.world.variants() if each.name in DAMAGED}
        yield from damaged.items()
        for name, change in HARMLESS.items():
            yield name, str(_copy(whole, self.work / "copies" / self.world.name / name, change))
        again = {each.name: each.sae for each in self.world.again()}
        if SEEDS[0] in again:  # the same state as one of these
            again.pop(AGAIN, None)
        yield from again.items()

    def kept(self, name: str) -> Path:
        """Return where what was measured of a dictionary is kept."""
        return self.work / "damages" / self.world.name / f"{name}.json"


def _copy(
    sae: Path, folder: Path, change: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> Path:
    if not folder.is_dir():
        shutil.copytree(sae, folder)
        changed = change(load_file(sae / WEIGHTS))
        save_file({name: each.contiguous() for name, each in changed.items()}, folder / WEIGHTS)
    return folder


def measure(place: Place, families: Sequence[str]) -> dict[str, list[Estimate]]:
    """Return all figures of every dictionary of a world; measured once, kept as JSON.

    Args:
        place: of the world.
        families: that are wanted.
    """
    world, session = place.world, None
    for name, sae in place.saes():
        kept = _read(place.kept(name))
        missing = [each for each in families if each not in kept]
        if missing:
            session = session or EvalSession(_options(world, place.work))
            place.kept(name).parent.mkdir(parents=True, exist_ok=True)
            found = {**kept, **_measured(session, sae, missing)}
            place.kept(name).write_text(json.dumps(found))
            print(world.name, name, flush=True)
    return known(place)


def known(place: Place) -> dict[str, list[Estimate]]:
    """Return all figures of those dictionaries of a world that have been measured."""
    there = [name for name, _ in place.saes() if place.kept(name).is_file()]
    return {name: _estimates(place.kept(name)) for name in there}


def _options(world: World, work: Path) -> Options:
    return Options(
        sae=(), model=world.model, device="cpu", dtype="float32", suite="standard",
        data=world.data, thresholds=None, report="", cache=str(work / "cache"), seed=0,
        gate=True, threads=1, asked=True,
    )  # fmt: skip


def _measured(session: EvalSession, text: str, families: Sequence[str]) -> dict[str, list[Any]]:
    (spec,) = resolve([text])
    sae = session.load(spec)
    found = {}
    for family in families:
        card = card_of(family)
        told = [
            asdict(replace(each, details={})) for each in measured(card, session.given(card, sae))
        ]
        found[family] = [{key: each[key] for key in _KEPT} for each in told]
    session.release(sae)
    return found


def _read(file: Path) -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = json.loads(file.read_text()) if file.is_file() else {}
    return kept


def _estimates(file: Path) -> list[Estimate]:
    return [Estimate(**each) for family in _read(file).values() for each in family]


def main() -> None:
    """Measure the worlds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--worlds", type=Path, help="what foreign_worlds.py made")
    add("--trained", type=Path, help="what gate_trainings.py made")
    add("--only", nargs="+", help=f"names of worlds, such as {BUNDLED}")
    add("--slow", action="store_true", help=f"with {', '.join(SLOW)} too")
    add("--as-kept", action="store_true", help="measure nothing: tables of what --work holds")
    add("--work", type=Path, default=Path("gate-simulation"))
    chosen = parser.parse_args()
    families = (*FAMILIES, *SLOW) if chosen.slow else FAMILIES
    rules = load_thresholds(shipped_thresholds(), "evals/thresholds.toml")
    compared = []
    for world in worlds(chosen.worlds, chosen.trained):
        if not chosen.only or world.name in chosen.only:
            place = Place(world, chosen.work)
            found = known(place) if chosen.as_kept else measure(place, families)
            if BESIDE in found:
                compared.append(Compared.of(world.name, found, BESIDE, rules))
    (chosen.work / TABLES).write_text("\n\n".join(tables(compared, DAMAGED, tuple(HARMLESS))))


if __name__ == "__main__":
    main()
