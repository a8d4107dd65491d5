"""What gate_damages.py found, as tables: how each damage moves each metric, and who sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.gate_concepts import WANTED_TOLD, asked
from benchmarks.gate_outcomes import beside
from pytest_sae.families.registry import spec_of
from pytest_sae.gate.baseline import paired_error
from pytest_sae.gate.rules import Thresholds
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.plain import number
from pytest_sae.records.measurement import Measurement

#: The files of the section, where measured figures are kept: on models, and beside the truth.
TABLES, TRUTH = "damages.md", "truth.md"
RECONSTRUCTION = ("explained_variance", "ce_recovered")
#: What claims to say something of concepts, by the key of its headline.
CONCEPTS = (
    "removal", "tpp.rescaled:n=few", "tpp.margin:n=20", "scr.margin:direction=spurious,n=few",
    "scr.margin:direction=intended,n=few", "erasure",
    "sparse_probing.gain:k=16", "concept_deletion", "concept_insertion", "absorption", "ravel",
    "principled.control:k=2", "principled.sufficiency",
)  # fmt: skip
SIGMA = 3.0  # standard errors of a change that count as seen


@dataclass(frozen=True)
class Change:
    """How one metric moved.

    Args:
        worse: by how much it is worse, negative where it is better.
        se: standard error of that, None where it is not known.
        paired: whether it is paired by texts.
    """

    worse: float
    se: float | None
    paired: bool

    @classmethod
    def of(cls, before: Estimate, now: Estimate) -> Change | None:
        """Compare two values, None where there is none."""
        if before.value is None or now.value is None:
            return None
        sign = -1 if spec_of(now.metric).direction == "higher" else 1
        paired = paired_error(before.influence, now.influence)
        apart = None
        if before.se is not None and now.se is not None:
            apart = (before.se**2 + now.se**2) ** 0.5
        se = apart if paired is None else paired
        return cls(sign * (now.value - before.value), se, paired is not None)

    @property
    def seen(self) -> bool:
        """Whether it is worse by more than chance."""
        return self.se is not None and self.worse > max(SIGMA * self.se, 1e-6)

    @property
    def told(self) -> str:
        """It in a cell: how much the value changed, its error, bold where it is seen."""
        error = "" if self.se is None else f" ± {self.se:.1g}{'' if self.paired else ' *'}"
        text = f"{number(-self.worse) if self.worse <= 0 else '-' + number(self.worse)}{error}"
        return f"**{text}**" if self.seen else text


@dataclass(frozen=True)
class Compared:
    """One world: every dictionary beside the one that it was made of.

    Args:
        world: its name.
        changes: by dictionary, by key of the metric.
        regressed: by dictionary, what the rules call a regression.
        asked: by dictionary, what would be one, did concept metrics decide.
    """

    world: str
    changes: Mapping[str, Mapping[str, Change]]
    regressed: Mapping[str, Sequence[str]]
    asked: Mapping[str, Collection[str]]

    @classmethod
    def of(
        cls, world: str, found: Mapping[str, Sequence[Estimate]], whole: str, rules: Thresholds
    ) -> Compared:
        """Compare all dictionaries of a world with one of them.

        Args:
            world: its name.
            found: what was measured, by dictionary.
            whole: the one that is the baseline.
            rules: of the suite.
        """
        first = {metric_key(each.metric, each.params): each for each in found[whole]}
        changes, regressed, wanted = {}, {}, {}
        for name, estimates in found.items():
            pairs = ((metric_key(each.metric, each.params), each) for each in estimates)
            changes[name] = {
                key: change
                for key, each in pairs
                if key in first and (change := Change.of(first[key], each)) is not None
            }
            before, now = (
                [Measurement(name, each) for each in side] for side in (found[whole], estimates)
            )
            regressed[name] = sorted(beside(before, now, rules))
            wanted[name] = beside(before, now, asked())
        return cls(world, changes, regressed, wanted)

    def seen(self, name: str, keys: Sequence[str]) -> list[str]:
        """Return which of the metrics see what is wrong with a dictionary."""
        found = self.changes.get(name, {})
        return [key for key in keys if key in found and found[key].seen]

    def marked(self, name: str, key: str) -> str:
        """Return a metric that sees a dictionary, bold where it would be red, did it decide."""
        return f"**{_short(key)}**" if key in self.asked[name] else _short(key)


def tables(
    compared: Sequence[Compared], damaged: Mapping[str, str], harmless: Sequence[str]
) -> Iterator[str]:
    """Give the section of docs/gate.md: who sees what, then every change.

    Args:
        compared: the worlds.
        damaged: by dictionary, what is wrong with it.
        harmless: dictionaries with nothing wrong.
    """
    yield _HEAD
    yield _FOUND
    yield _who(compared, {**damaged, **{name: f"*{name}: nothing wrong*" for name in harmless}})
    for world in compared:
        yield _changes(world)


_HEAD = f"""## Who sees what

Made by `python -m benchmarks.gate_damages`: one TopK SAE of each world, its damaged copies
(`--sae=damage=NAME:PATH`), and copies with nothing wrong, measured on the same texts. *Seen* is a
change for the worse of more than {SIGMA:g} standard errors of the difference, which is paired by
texts where the metric says what each text adds to its error. *Regressed* is what the shipped rules
say of the copy with the whole SAE as its baseline; bold is a concept metric that would be red, did
its rule say {WANTED_TOLD}."""


_FOUND = """Every damage of every model is a regression beside a baseline, by `explained_variance`,
whose tolerance is that for an earlier state of the same SAE, and no copy with nothing wrong is
red. Of what says something of concepts, `principled.sufficiency`, which decides beside a baseline
by default, sees latents that are silent, halved or too many on `bundled`. `removal` or
`tpp.rescaled` see latents that are silent, halved, or whose rows changed about on `bundled` and
`neox`, half of a training on `bundled`, and on `neox` and `gpt2` a k that is too large; on `neox`
the block above as well, which `absorption` tells on `bundled`. `erasure`, `sparse_probing` and
`ravel`, which take longest, were measured of four of them, on `bundled` alone and before the errors
of the first two were told text by text. The rest
moves by less than its noise. Where the truth is known it is said why (*Beside the truth*, below):
there `removal` or `tpp.rescaled` sees everything that costs more than a hundredth of what is
recovered of the features that the tasks ask about, and what neither sees (one latent of a hundred
silent, decoder noise of 5 %; on one world of two one latent of twenty silent, decoder noise of
10 %, what the encoder reads off by a tenth, half of the training) costs less than that: the concept
is not hurt. Few of the latents that are damaged at random hold one. Halved latents recover as much
as before and are seen all the same. Read at the block above, everything is recovered and
reconstructed as before, and nothing can be done with it: `ravel` and `principled.control` fall from
1 to 0. A k that is too large lets `removal` and `erasure` rise, and `tpp.rescaled` fall. Paired by
texts, `erasure` sees what `removal` sees, but for decoder noise of 30 % and half of the training.
`scr.margin` and `sparse_probing.gain` see less than the others. On `neox` `removal` is below 0 for
the whole SAE, and rises with damage: it can decide nothing there, with any tolerance.

Two runs of one recipe are another question: other seeds lie up to 0.026 of 0.132 (`gpt2`) apart
in `removal`, and up to 0.023 of 0.046 (`gpt2`) and 0.07 of 0.22 (`neox`) in `tpp.rescaled`, so
that an `other_seed` that is sure to let them pass lets nearly every damage pass. Beside an
earlier state of the *same* SAE, `gate = "baseline"` can be chosen for `tpp.rescaled` with
`regression = { abs = 0.005, sigma = 3.6 }`. It is not the default: 3.6 is what keeps false alarms
below 1 % on `topk` of `neox`, where it was chosen; that holds for the other three SAEs of the two
foreign worlds (*Were concept metrics to decide*, above), and other models were not tried."""


def _who(compared: Sequence[Compared], told: Mapping[str, str]) -> str:
    lines = [
        "| world | dictionary | seen by reconstruction | seen by concept metrics | regressed |",
        "|---|---|---|---|---|",
    ]
    for name, what in told.items():
        for world in compared:
            if name in world.changes:
                cells = [world.world, what]
                cells += [
                    ", ".join(world.marked(name, key) for key in world.seen(name, keys)) or "-"
                    for keys in (RECONSTRUCTION, CONCEPTS)
                ]
                cells.append(", ".join(map(_short, world.regressed[name])) or "-")
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _changes(world: Compared) -> str:
    keys = [
        key
        for key in (*RECONSTRUCTION, *CONCEPTS)
        if any(key in found for found in world.changes.values())
    ]
    lines = [
        f"### What moved: {world.world}",
        "",
        "Change for the better ± its standard error; \\* where not paired; bold where seen.",
        "",
        f"| dictionary | {' | '.join(map(_short, keys))} |",
        f"|---|{'---|' * len(keys)}",
    ]
    for name, found in list(world.changes.items())[1:]:
        cells = [found[key].told if key in found else "-" for key in keys]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(key: str) -> str:
    return key.replace("direction=", "").replace(",n=20", "").replace(":n=20", "")
