"""What one process of a run holds: data, models, the cache; and measuring a family on an SAE."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from pytest_sae.activations.cache import prune
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.recording import Recording
from pytest_sae.activations.store import Store
from pytest_sae.data.sources import named_tasks
from pytest_sae.data.summary import summary
from pytest_sae.data.tasks import Tasks
from pytest_sae.dictionaries.base import Dictionary, site_width
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import OptionError
from pytest_sae.families.card import Card
from pytest_sae.families.registry import card_of
from pytest_sae.measure import recorded_latents, scr_and_tpp
from pytest_sae.measure.given import Given, marked, measured
from pytest_sae.measure.recorded_latents import RecordedLatents
from pytest_sae.models import tf32
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.prove import check_fit, prove
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined
from pytest_sae.numbers.keys import metric_key
from pytest_sae.records.measurement import Measurement
from pytest_sae.session import assumed, half_precision, memory, repeats
from pytest_sae.session.controls import NOTHING, Controls, Needed
from pytest_sae.session.judges import Judges
from pytest_sae.session.loaded import LoadedSAE, peak_memory, sites_of
from pytest_sae.session.remarks import remarks
from pytest_sae.session.suites import SUITES, Suite
from pytest_sae.session.threads import threads

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.measure.embedding import Embed
    from pytest_sae.options import Options

__all__ = ["EvalSession", "LoadedSAE"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Estimated:
    """What a family found, before it is tied to an SAE.

    Args:
        estimates: all of it.
        controls: by metric key, what the same metrics say of controls.
        seconds: that the family took, controls left out.
    """

    estimates: Sequence[Estimate]
    controls: Mapping[str, tuple[Control, ...]]
    seconds: float

    def measurements(self, sae: LoadedSAE, code: str) -> tuple[Measurement, ...]:
        """Return all of it as measurements of an SAE."""
        return tuple(
            sae.measured(
                each,
                seconds=self.seconds,
                code=code,
                controls=self.controls.get(metric_key(each.metric, each.params), ()),
            )
            for each in self.estimates
        )


class EvalSession:
    """Loads each thing once and measures each family once per SAE.

    Args:
        options: of the run.
        progress: called with (stage, done, total) on long steps.
        workers: processes of the run, which share the judge's budget.
        needed: by metric, controls that its bounds are relative to.
    """

    def __init__(
        self,
        options: Options,
        progress: Progress | None = None,
        workers: int = 1,
        needed: Needed = NOTHING,
    ) -> None:
        self.options = options
        self._needed = needed
        self.judges = Judges(options, workers)
        self.suite: Suite = SUITES[options.suite]
        self.progress = progress or _silent
        self.store = Store(options.cache)
        self._opened = time.time()
        self._models: dict[str, LanguageModel] = {}
        self._latents: dict[str, Latents] = {}
        self._controlled: dict[str, Controls] = {}
        self._estimated: dict[tuple[str, str], Estimated] = {}
        self._precision: dict[str, dict[str, object]] = {}
        self._remarks: dict[str, list[str]] = {}
        self._threads = ExitStack()
        self._threads.enter_context(threads(options.threads))

    def close(self) -> None:
        """Give threads back, drop everything that was loaded, and keep the cache's limit.

        What this session used stays, whatever the limit.
        """
        self._threads.close()
        self.judges.close()
        self._models.clear()
        self._latents.clear()
        self._controlled.clear()
        if self.options.cache_limit and self.store.directory is not None:
            prune(self.store.directory, self.options.cache_limit, since=self._opened)

    @cached_property
    def tasks(self) -> Tasks:
        """The texts of the run; read, and refused, before any model is loaded."""
        data, sizes, seed = self.options.data, self.suite.sizes, self.options.seed
        if self.recording and data is None:
            return recorded_latents.corpus_of(self.recording, sizes, seed)
        return named_tasks(data, sizes, seed)

    @cached_property
    def recording(self) -> Recording | None:
        """The recorded activations of the run, checked as a whole; None in a run with a model."""
        if self.options.activations is None:
            return None
        with self.store.work.timed("check recording"):
            return Recording.open(self.options.activations)

    def load(self, spec: SAESpec) -> LoadedSAE:
        """Load a dictionary with its model, check that they fit, and prove its sites.

        Raises:
            DataError, DictionaryError, ModelError: with what to do about it.
            OptionError: it needs more memory than --sae-memory allows.
        """
        tasks = self.tasks
        with self.store.work.timed("load dictionary"):
            dictionary = self._dictionary(spec, self._dtype)
        recorded = self.recording is not None
        if said := remarks(dictionary.info, self.suite.context, recorded):
            self._remarks[spec.id] = said
        if self.recording:
            return self._on_recording(spec, dictionary, self.recording)
        info = replace(dictionary.info, model=self.options.model or dictionary.info.model)
        require_site(info)
        model = self._model(str(info.model))
        site, site_out = sites_of(info, model)
        check_fit(spec.id, site_width(dictionary), model, site)
        check_fit(spec.id, dictionary.d_out, model, site_out, "d_out")
        for each in dict.fromkeys((*site.single, site_out)):
            prove(model, each)
        if info.perhaps:
            with self.store.work.timed("try processing"):
                assumed.require_known(info, dictionary, model, self._few_texts())
        fingerprints = {
            "sae": dictionary.fingerprint,
            "model": model.fingerprint,
            "site": " > ".join(dict.fromkeys((site.tensor, site_out.tensor))),
            "data": tasks.fingerprint,
            "suite": self._how_much,
        }
        sae = LoadedSAE(spec.id, dictionary, model, site, site_out, fingerprints)
        halved = half_precision.HALF.intersection((self._dtype, model.dtype))
        if halved and spec.id not in self._precision:
            with self.store.work.timed("compare precision"):
                exact = self._dictionary(spec, torch.float32)
                texts = self._few_texts()
                self._precision[spec.id] = half_precision.compared(sae, exact, texts, self.store)
        return self._within_memory(sae)

    def _on_recording(
        self, spec: SAESpec, dictionary: Dictionary, recording: Recording
    ) -> LoadedSAE:
        site_out = recorded_latents.fitted(recording, spec.id, dictionary, self.options.model)
        about = recording.about
        second = about.written if site_out is not recording.site else None
        tensors = [f"{each.module}:{each.reads}" for each in (about.site, second) if each]
        fingerprints = {
            "sae": dictionary.fingerprint,
            "model": about.model.fingerprint or f"unknown ({about.model.name})",
            "site": " > ".join(tensors),
            "data": self.tasks.fingerprint,
            "suite": self._how_much,
            "activations": recording.fingerprint,
        }
        return self._within_memory(
            LoadedSAE(spec.id, dictionary, recording.model, recording.site, site_out, fingerprints)
        )

    def release(self, sae: LoadedSAE) -> None:
        """Forget an SAE's latents, so that at most one SAE is resident."""
        self._latents.pop(sae.id, None)
        self._controlled.pop(sae.id, None)

    def model(self, sae: LoadedSAE) -> LanguageModel:
        """Return the SAE's model, loaded once per process.

        Raises:
            ModelError: the run is on recorded activations, without a model.
        """
        if isinstance(sae.model, AbsentModel):
            raise sae.model.missing()
        return sae.model

    def latents(self, sae: LoadedSAE) -> Latents:
        """Return the SAE's latents over any texts, each text encoded once."""
        if sae.id not in self._latents:
            self._latents[sae.id] = self._made(sae)
        return self._latents[sae.id]

    def _made(self, sae: LoadedSAE) -> Latents:
        if self.recording:
            return RecordedLatents(
                self.recording, sae.dictionary, self.store, self.progress, sae.site_out
            )
        return Latents(
            sae.dictionary,
            sae.model,
            sae.site,
            self.store,
            self.suite.context,
            self.progress,
            sae.site_out,
        )

    def _within_memory(self, sae: LoadedSAE) -> LoadedSAE:
        """Keep no more of an SAE's latents than the limit leaves, or say that it is too low."""
        if self.options.memory:
            latents = self.latents(sae)
            needed = memory.Needed.of(sae.dictionary, memory.Texts.of(latents, self.tasks))
            held = memory.resident() - needed.weights
            latents.keep(memory.kept_bytes(self.options.memory, sae.id, needed, held))
        return sae

    def measure(self, family: str, sae: LoadedSAE) -> tuple[Measurement, ...]:
        """Measure a family of metrics on an SAE, once.

        Args:
            family: a name in `families.FAMILIES`.
            sae: from `load`.

        Raises:
            DataError: the run's data lacks what the family needs.
            JudgeError: the judge cannot be asked.
        """
        card = card_of(family)
        given = self.given(card, sae)
        subject = given.asked().name if card.of_judge and given.judge else sae.id
        if (family, subject) not in self._estimated:
            started = time.perf_counter()
            estimates = self._estimates(card, given)
            seconds = time.perf_counter() - started
            controls = self._controls(sae).of(card, given, estimates)
            self._estimated[family, subject] = Estimated(estimates, controls, seconds)
        return self._estimated[family, subject].measurements(sae, card.code)

    def given(self, card: Card, sae: LoadedSAE) -> Given:
        """Return what a family measures an SAE from; only what its card asks for is loaded."""
        return Given(
            self.latents(sae),
            self.tasks,
            self.options.seed,
            card.sizes.get(self.suite.name, {}),
            judge=self.judges.judge_of(sae.model) if "judge" in card.uses else None,
            scorer=self.scorer if "scorer" in card.uses else None,
            embedder=self.embedder if "embedder" in card.uses else None,
            twin=self.twin if "twin" in card.uses else None,
        )

    @property
    def controls(self) -> str:
        """Which controls are measured: what was asked for, or what the suite does."""
        return self.options.controls or self.suite.controls

    def _controls(self, sae: LoadedSAE) -> Controls:
        if sae.id not in self._controlled:
            self._controlled[sae.id] = Controls(self.controls, self._needed)
        return self._controlled[sae.id]

    @property
    def scorer(self) -> LanguageModel | None:
        """The language model of the surprisal scorer, None if none was named."""
        return self._model(self.options.scorer) if self.options.scorer else None

    @property
    def embedder(self) -> Embed | None:
        """The model of the embedding scorer, None if none was named."""
        return self.judges.embedder(str(self._device))

    @cached_property
    def twin(self) -> Dictionary | None:
        """The second dictionary that seed agreement compares with, None if none was named.

        Raises:
            OptionError: the flag names more than one.
        """
        if self.options.twin is None:
            return None
        found = resolve([self.options.twin])
        if len(found) != 1:
            raise OptionError(
                f"--sae-twin={self.options.twin} is {len(found)} SAEs: "
                f"{', '.join(each.id for each in found)}. Expected one, of another seed."
            )
        with self.store.work.timed("load twin"):
            return self._dictionary(found[0], torch.float32)

    def unmeasured(self, family: str, sae: LoadedSAE, reason: str) -> tuple[Measurement, ...]:
        """Return all that a family measures, undefined for one reason."""
        card = card_of(family)
        return tuple(sae.measured(each, code=card.code) for each in card.absent(undefined, reason))

    def describe(self) -> dict[str, object]:
        """Return what the numbers were made with and what they cost, as plain builtins."""
        return {
            "device": str(self._device),
            "threads": self.options.threads,
            **({"precision": self._precision} if self._precision else {}),
            **({"remarks": self._remarks} if self._remarks else {}),
            **({"activations": self._recorded()} if self.options.activations else {}),
            "judges": self.judges.describe(),
            **({"model_products": tf32.SAID} if self._tf32 else {}),
            "models": {name: each.fingerprint for name, each in sorted(self._models.items())},
            "data": self._summary if "tasks" in vars(self) else {},
            "work": {
                **self.store.work.record(),
                "judges": self.judges.spent(),
                "peak_memory": peak_memory(),
            },
        }

    @property
    def _tf32(self) -> bool:
        return any(tf32.used(each.device, each.dtype) for each in self._models.values())

    @cached_property
    def _summary(self) -> dict[str, object]:
        return summary(self.tasks)

    @property
    def _how_much(self) -> str:
        repeats = f"/repeats={self.options.repeats}" if self.options.repeats > 1 else ""
        return f"{self.suite.name}/seed={self.options.seed}{repeats}"

    def _estimates(self, card: Card, given: Given) -> list[Estimate]:
        """Measure as often as was asked for, where anything is random."""
        blind = self.recording is not None and not self.recording.shows
        if card.shown and blind and given.judge is not None:
            return card.absent(not_applicable, recorded_latents.NO_PIECES)
        if self.options.repeats == 1 or not card.random:
            found = measured(card, given)
        else:
            seeds = repeats.seeds(given.seed, self.options.repeats)
            runs = [measured(card, replace(given, seed=seed)) for seed in seeds]
            found = repeats.combined(runs, seeds)
        taskless = self.recording is not None and self.options.data is None
        found = recorded_latents.without_tasks(found) if taskless and card.on_tasks else found
        return marked(found, card, given.tasks)

    def _recorded(self) -> dict[str, object]:
        told: dict[str, object] = {"directory": self.options.activations}
        if self.recording is None:
            return told
        about = self.recording.about.model_dump(exclude={"shards", "texts", "format", "version"})
        return {**told, "sha256": self.recording.fingerprint, **about}

    def _dictionary(self, spec: SAESpec, dtype: torch.dtype) -> Dictionary:
        return load(
            spec.path,
            device=self._device,
            dtype=dtype,
            family=spec.family,
            settings=spec.settings,
        )

    def _few_texts(self) -> Sequence[str]:
        corpus = self.tasks.corpus
        texts = corpus.texts if corpus else scr_and_tpp.erasure_texts(self.tasks)
        return texts[: half_precision.TEXTS]

    def _model(self, name: str) -> LanguageModel:
        if name not in self._models:
            with self.store.work.timed("load model"):
                self._models[name] = load_model(name, str(self._device), self._model_dtype)
        return self._models[name]

    @property
    def _dtype(self) -> torch.dtype:
        return _dtype(self.options.dtype)

    @property
    def _model_dtype(self) -> torch.dtype:
        return _dtype(self.options.model_dtype or self.options.dtype)

    @cached_property
    def _device(self) -> torch.device:
        if self.options.device != "auto":
            return torch.device(self.options.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(name: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""
