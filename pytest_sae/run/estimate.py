"""What a run will cost, before it: seconds, memory and disk of each stage, from counts and rates.

Costs(tasks, suite).of(dictionary, model, sites) -> Estimated      # .table -> lines
together([Estimated, ...]) -> what all cost, as a line

Counts are exact where a tokenizer tells them: what is read, encoded and written to the cache.
Memory is that of `session.memory`, which --sae-memory is held to. Seconds are counts over rates
that are timed on this machine within a second or two; what probes and spliced runs take beside is
an allowance in matrix products, from the bundled world, and a run may take half or twice as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.families.registry import cards
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.metrics.meta_structure import MOST, ROUNDS, WIDTH
from pytest_sae.metrics.weights import COMPARED
from pytest_sae.models import blocks
from pytest_sae.session import memory

if TYPE_CHECKING:
    from pytest_sae.data.tasks import Tasks
    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.models.model import LanguageModel
    from pytest_sae.models.site import Site
    from pytest_sae.session.suites import Suite

_TIMED = 0.3  # seconds that each rate is timed for
_PER_TOKEN = 10  # bytes of a token in the cache beside its activation: id, attention, validity
_UPPER = 4  # runs of the layers above the site for each text of the corpus
_EFFICIENCY = 0.5  # of matrix products as large as those that are timed
_NUMBER = 4  # bytes of a number in the cache: runs compute in float32 unless told otherwise
# Floating-point operations beside what is encoded, as they were on the bundled world: for each fit
# and labelled text, for each word, and for each token that is run above the site.
_FITTED = {"scr": 65e6, "removal": 45e6, "erasure": 120e6, "sparse_probing": 85e6, "tpp": 9e6,
           "concepts": 6e6}  # fmt: skip
_SPELLED = 9e7
_PATCHED = {"ravel": 6e3, "principled": 5e4, "unlearning": 5e4}
_STEP = {"core": "core", "structure": "structure"}


@dataclass(frozen=True)
class Cost:
    """What a stage costs.

    Args:
        stage: its name.
        seconds: of one process.
        memory: bytes that the process holds at most meanwhile.
        disk: bytes that are written to the cache.
    """

    stage: str
    seconds: float
    memory: int
    disk: int = 0


@dataclass(frozen=True)
class Estimated:
    """What a run costs on one dictionary.

    Args:
        costs: of the stages, in their order.
        tokens: that are encoded.
        needed: what memory is needed for.
    """

    costs: tuple[Cost, ...]
    tokens: int
    needed: memory.Needed

    @property
    def total(self) -> Cost:
        """All stages one after the other."""
        return Cost(
            "in all",
            sum(each.seconds for each in self.costs),
            max(each.memory for each in self.costs),
            sum(each.disk for each in self.costs),
        )

    @property
    def table(self) -> Iterator[str]:
        """Lines, of a stage each."""
        yield f"{'stage':<20}{'seconds':>10}{'memory':>12}{'disk':>12}"
        for each in (*self.costs, self.total):
            disk = told(each.disk) if each.disk else ""
            yield f"{each.stage:<20}{each.seconds:>10.1f}{told(each.memory):>12}{disk:>12}"


def told(size: int) -> str:
    """Return bytes for people, such as `1.5 GiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


class Costs:
    """What the dictionaries of a run cost, controls and judge left out.

    Args:
        tasks: of the run.
        suite: whose sizes are taken.
    """

    def __init__(self, tasks: Tasks, suite: Suite) -> None:
        self._tasks, self._suite = tasks, suite
        self.found: list[Estimated] = []

    def of(
        self, dictionary: Dictionary, model: LanguageModel, sites: tuple[Site, Site]
    ) -> Estimated:
        """Return what one costs, and remember it.

        Args:
            dictionary: loaded on the CPU.
            model: of its configuration; no weights are needed.
            sites: read and written.
        """
        read, written = sites
        latents = Latents(
            dictionary, model, read, Store(None), self._suite.context, _silent, written
        )
        rates = Rates.timed(dictionary, model)
        self.found.append(_Estimate(latents, self._tasks, self._suite, rates).whole)
        return self.found[-1]


def _silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Rates:
    """How fast this machine is.

    Args:
        products: floating-point operations of matrix products, per second.
        encode: seconds for a token.
    """

    products: float
    encode: float

    @classmethod
    def timed(cls, dictionary: Dictionary, model: LanguageModel) -> Rates:
        """Time both, for a moment each.

        Args:
            dictionary: encodes.
            model: whose width the products have.
        """
        width = int(model.hf.config.get_text_config().hidden_size)
        x, weight = torch.randn(512, width), torch.randn(width, 4 * width)
        tokens = torch.randn(64, dictionary.d_in).to(dictionary.device, dictionary.dtype)
        with torch.no_grad():
            product = _seconds(lambda: x @ weight)
            encode = _seconds(lambda: dictionary.encode(tokens).nonzero())
        return cls(2 * 512 * width * 4 * width / product, encode / len(tokens))


def _seconds(work: Callable[[], object]) -> float:
    """The fastest of several times: what else the machine does is no matter."""
    work()
    found: list[float] = []
    until = time.perf_counter() + _TIMED
    while not found or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


@dataclass(frozen=True)
class _Estimate:
    latents: Latents
    tasks: Tasks
    suite: Suite
    rates: Rates

    @property
    def whole(self) -> Estimated:
        families = [card.name for card in cards() if not card.judged and not card.of_judge]
        costs = (
            Cost("load", self._loading, self._memory("load")),
            Cost("model", self._model, self._memory("load"), self._disk),
            Cost("encode", self._encode, self._memory("encode")),
            *(
                Cost(each, self._own(each), self._memory(_STEP.get(each, "probes")))
                for each in families
            ),
        )
        return Estimated(costs, self._encoded, self._needed)

    @cached_property
    def _needed(self) -> memory.Needed:
        texts = memory.Texts.of(self.latents, self.tasks)
        return memory.Needed.of(self.latents.dictionary, texts)

    def _memory(self, step: str) -> int:
        hf = self.latents.model.hf
        model = _NUMBER * sum(int(each.numel()) for each in hf.parameters())
        return self._held + model + self._needed.steps()[step]

    @cached_property
    def _held(self) -> int:
        return memory.resident() - self._needed.weights

    @cached_property
    def _read(self) -> list[tuple[str, ...]]:
        """Sets of texts that are read at once, and encoded."""
        tasks = self.tasks
        found = [tasks.corpus.texts if tasks.corpus else (), erasure_texts(tasks)]
        found.append(tasks.preferences.texts if tasks.preferences else ())
        for each in tasks.unlearning:
            found += [each.forget, each.retain]
        return [tuple(texts) for texts in found if texts]

    @cached_property
    def _encoded(self) -> int:
        batches = (b for texts in self._read for b in self.latents.tokens(texts).batches)
        return sum(int(batch.valid.sum()) for batch in batches)

    @property
    def _sites(self) -> int:
        """How many tensors are kept of the held-out texts, and how many of others."""
        return len({self.latents.site, self.latents.written_site})

    @property
    def _disk(self) -> int:
        """Activations as they lie in the cache, padding included; those of short prompts aside."""
        width = self.latents.dictionary.d_out * _NUMBER + _PER_TOKEN
        batches = [b for texts in self._read for b in self.latents.tokens(texts).batches]
        sizes = [b.shape[0] * (b.shape[1] * width + 8) for b in batches]
        return int(sum(sizes)) * self._sites

    @property
    def _loading(self) -> float:
        # Read, hashed, proven: about as long as a few hundred tokens take.
        return 256 * self.rates.encode

    def _layers(self, above: bool) -> int:
        """Floating-point operations of a token in the blocks up to the site, or above it."""
        _, modules = blocks.find_blocks(self.latents.model.hf)
        layer = self.latents.site.layer + 1
        some = modules[layer:] if above else modules[:layer]
        sizes = [int(each.numel()) for block in some for each in block.parameters()]
        return 2 * sum(sizes)

    @property
    def _model(self) -> float:
        lower = self._layers(above=False) / _EFFICIENCY
        return self._encoded * lower / self.rates.products

    @property
    def _encode(self) -> float:
        return self._encoded * self.rates.encode

    def _own(self, family: str) -> float:
        """Seconds beside what is encoded for all families."""
        card = next(each for each in cards() if each.name == family)
        sizes = card.sizes.get(self.suite.name, {})
        operations = _FITTED.get(family, 0.0) * (sizes.get("fits") or 1) * self._labelled
        operations += _SPELLED * (sizes.get("words") or 0)
        repeats = (sizes.get("steps") or 1) * (sizes.get("masks") or 1)
        upper = self._layers(above=True) / _EFFICIENCY
        operations += _PATCHED.get(family, 0) * repeats * upper
        seconds = operations / self.rates.products
        if family == "core":
            seconds += self._corpus * (2 * self.rates.encode + _UPPER * upper / self.rates.products)
        return seconds + self._compared(family) / self.rates.products

    def _compared(self, family: str) -> float:
        """Floating-point operations of comparing decoder rows with each other."""
        d_sae, d = self.latents.dictionary.d_sae, self.latents.dictionary.d_out
        cosines = min(d_sae**2, COMPARED) * 2.0 * d
        fitted = min(d_sae, MOST)
        meta = (ROUNDS + 1) * (2.0 * fitted * fitted / WIDTH * d + (fitted / WIDTH) ** 3 / 3)
        return {"core": 2 * cosines, "structure": cosines + meta}.get(family, 0.0)

    @property
    def _labelled(self) -> int:
        return len(erasure_texts(self.tasks))

    @property
    def _corpus(self) -> int:
        return self._needed.texts.corpus_tokens


def together(found: Sequence[Estimated]) -> str:
    """Return what all dictionaries cost one after the other, the model being run once.

    Args:
        found: of each dictionary.
    """
    seconds = sum(each.total.seconds for each in found)
    again = sum(cost.seconds for each in found[1:] for cost in each.costs if cost.stage == "model")
    disk = max(each.total.disk for each in found)
    peak = max(each.total.memory for each in found)
    return (
        f"{seconds - again:.0f} s, {told(peak)} of memory and {told(disk)} of disk at most, for "
        f"{len(found)} SAE{'s' * (len(found) != 1)} one after the other, without controls or judge"
    )
