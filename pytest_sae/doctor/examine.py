"""An SAE examined: it is loaded, looked at on ten texts, and everything else is tried.

examine(spec, wanted) -> Examination
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Contextual, Dictionary, DictionaryInfo, site_width
from pytest_sae.dictionaries.content import COMMON
from pytest_sae.dictionaries.load import load, read
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.doctor import elsewhere, stored, understood
from pytest_sae.doctor.elsewhere import OtherSite, Seen
from pytest_sae.doctor.figures import explained
from pytest_sae.doctor.readings import Reading, Rebuild, applied, readings
from pytest_sae.doctor.suspicion import (
    REFUSED,
    SPARSITY,
    UNKNOWN,
    Finding,
    Measured,
    Tried,
    suspicions,
)
from pytest_sae.doctor.weights import Look, look
from pytest_sae.errors import DictionaryError, ModelError, PytestSAEError
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel

if TYPE_CHECKING:
    from pytest_sae.dictionaries.content import Content
    from pytest_sae.dictionaries.spec import SAESpec

TEXTS = 10
OTHERS = 30  # whose principal components are compared with
_HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class DoctorRequest:
    """What the user says.

    Args:
        texts: at least ten, and others for principal components.
        model: in place of the one that is declared, None for that.
        try_models: others that the SAE may have been trained on.
        device: where to compute.
        dtype: type to compute in, as --sae-dtype spells it.
    """

    texts: Sequence[str]
    model: str | None = None
    try_models: Sequence[str] = ()
    device: str = "auto"
    dtype: str = "float32"


@dataclass(frozen=True)
class Examination:
    """What was found out about one SAE.

    Args:
        id: its name in a run.
        understood: what was understood of its files, in words, by subject.
        measured: as it stands, None where it cannot be loaded or placed.
        declared_l0: as its files say, None if they do not.
        look: of its rows, None where it has none.
        tried: all that was tried.
        findings: what smells.
    """

    id: str
    understood: Mapping[str, str]
    measured: Measured | None = None
    declared_l0: float | None = None
    look: Look | None = None
    tried: Sequence[Tried] = ()
    findings: Sequence[Finding] = ()


@torch.no_grad()
def examine(spec: SAESpec, wanted: DoctorRequest) -> Examination:
    """Return what was understood of an SAE, and what smells.

    Args:
        spec: the SAE.
        wanted: texts, and what the user says.
    """
    return _Patient(spec, wanted).examined()


@dataclass
class _Patient:
    """One SAE while it is examined."""

    spec: SAESpec
    wanted: DoctorRequest
    content: Content | None = None
    refused: str = ""
    understood: dict[str, str] = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)
    l0: float | None = None
    _models: dict[tuple[str, str], LanguageModel] = field(default_factory=dict)

    def examined(self) -> Examination:
        dictionary = self._loaded()
        others = self._others(dictionary is not None)
        first = dictionary or next((each.dictionary for each in others), self._exact())
        if first is None:
            return self._told(None, None)
        self.l0 = understood.declared_l0(self.content, first, self.spec.path)
        self.understood |= understood.of_files(first, self.content, self.spec, self.wanted.dtype)
        model = self._model_of(first.info)
        if model is None:
            self._try_models(first, of_other_names=False)
            return self._told(None, _look_at(first))
        measured = self._measured(dictionary, others, first, model)
        found = suspicions(measured, self.tried, _look_at(first), self.l0)
        self._try_models(first, self._doubtful(measured, found))
        return self._told(measured, _look_at(first))

    def _loaded(self) -> Dictionary | None:
        try:
            with suppress(DictionaryError):
                self.content = read(self.spec.path, self.spec.settings)
            return self._load(self.wanted.dtype)
        except PytestSAEError as error:
            self.refused = str(error)
            return None

    def _load(self, dtype: str) -> Dictionary:
        return load(
            self.spec.path,
            device=self._device,
            dtype=getattr(torch, dtype),
            family=self.spec.family,
            settings=self.spec.settings,
        )

    def _exact(self) -> Dictionary | None:
        """The dictionary in float32, for a run in half precision that it cannot be loaded for."""
        if self.wanted.dtype in _HALF:
            with suppress(PytestSAEError):
                return self._load("float32")
        return None

    def _others(self, loaded: bool) -> list[stored.Stored]:
        if self.content is None:
            return []
        dtype = getattr(torch, self.wanted.dtype)
        family = self.spec.family
        return list(stored.others(self.content, family, self._device, dtype, loaded))

    def _model_of(self, info: DictionaryInfo) -> LanguageModel | None:
        info = replace(info, model=self.wanted.model or info.model)
        try:
            require_site(info)
            model = self._model(str(info.model), self.wanted.dtype)
        except PytestSAEError as error:
            self.refused = self.refused or str(error)
            return None
        self.understood["model"] = (
            f"{info.model}, {model.layers} blocks ({type(model.hf).__name__}), fingerprint "
            f"{model.fingerprint[:12]}"
        )
        return model

    def _measured(
        self,
        dictionary: Dictionary | None,
        others: Sequence[stored.Stored],
        first: Dictionary,
        model: LanguageModel,
    ) -> Measured | None:
        bos = first.info.prepend_bos is not False
        places = self._places(first, model)
        if not places:
            return None
        try:
            there = self._seen(model, places, first, bos)
        except ModelError as error:
            self.refused = self.refused or str(error)
            self._try_dtype(first)
            return None
        here = there.pop(0) if places[0].cause == "" else None
        measured = None
        if here is not None:
            self.understood["texts"] = _of_texts(here, self.wanted.texts)
            if dictionary is not None:
                measured = self._figures(dictionary, here)
                self._try_readings(dictionary, here)
            self._try_stored(others, here, dictionary is None)
            self._try_bos(first, model, bos)
            self._try_dtype(first)
        for place, seen in zip((each for each in places if each.cause), there, strict=True):
            self._try(place.cause, place.what, first, seen, place.settings)
        return measured

    def _places(self, dictionary: Dictionary, model: LanguageModel) -> list[OtherSite]:
        """The declared place first, if the model has it and it is as wide."""
        found = []
        try:
            here = elsewhere.declared(model, dictionary.info)
            self.understood["site"] = understood.of_site(here)
            found.append(here)
        except ModelError as error:
            self.refused = self.refused or str(error)
        found += elsewhere.others(model, dictionary.info)
        return [each for each in found if self._fits(dictionary, model, each)]

    def _fits(self, dictionary: Dictionary, model: LanguageModel, place: OtherSite) -> bool:
        with suppress(ModelError):
            widths = model.width(place.site), model.width(place.site_out)
            if widths == (site_width(dictionary), dictionary.d_out):
                return True
            if not place.cause:
                self.refused = self.refused or (
                    f"it reads {site_width(dictionary)} numbers and writes {dictionary.d_out}, and "
                    f"{place.site.hook_name} of {model.name} has {widths[0]}: was it trained on "
                    "another model?"
                )
        return False

    def _seen(
        self, model: LanguageModel, places: Sequence[OtherSite], dictionary: Dictionary, bos: bool
    ) -> list[Seen]:
        texts = self.wanted.texts[:TEXTS], self.wanted.texts[TEXTS : TEXTS + OTHERS]
        limits = (understood.CONTEXT, dictionary.info.context_size, model.positions)
        context = min(limit for limit in limits if limit)
        prepare = dictionary.in_context if isinstance(dictionary, Contextual) else None
        found = elsewhere.seen(model, places, texts, bos, context, prepare)
        return [replace(each, x=each.x.to(dictionary.device, dictionary.dtype)) for each in found]

    def _figures(self, reading: Dictionary | Reading, seen: Seen) -> Measured:
        rebuild = reading.rebuild if isinstance(reading, Reading) else reading.reconstruct
        y_hat = applied(rebuild, seen.x)
        l0 = _l0(reading.encode, seen.x)
        k = max(1, min(round(l0), seen.y.shape[1] // 2))
        leading = seen.components(_as_many(4 * k))
        return Measured(
            explained(seen.y, y_hat),
            explained(seen.y[seen.first], y_hat[seen.first], seen.y.mean(0)),
            l0,
            leading.of_rank(seen.y, k),
            leading.largest(seen.y, k),
            len(seen.y),
        )

    def _try(
        self,
        cause: str,
        what: str,
        reading: Dictionary | Reading,
        seen: Seen,
        settings: Mapping[str, str] | None = None,
        advice: str = "",
    ) -> Measured:
        line = self._line(settings or {})
        figures = self._figures(reading, seen)
        self.tried.append(Tried(cause, what, figures, line, "" if line else advice))
        return figures

    def _try_readings(self, dictionary: Dictionary, seen: Seen, what: str = "") -> None:
        if isinstance(dictionary, Contextual):
            return
        for each in readings(dictionary, seen.x, seen.y, self.l0):
            told = f"{what}, {each.what}" if what else each.what
            self._try(each.cause, told, each, seen, each.settings, each.advice)

    def _try_stored(self, others: Sequence[stored.Stored], seen: Seen, deeper: bool) -> None:
        for each in others:
            if (each.dictionary.d_in, each.dictionary.d_out) == (seen.x.shape[1], seen.y.shape[1]):
                found = self._try(
                    each.cause, each.what, each.dictionary, seen, each.settings, each.advice
                )
                if deeper and found.ev < found.largest:
                    self._try_readings(each.dictionary, seen, each.what)

    def _try_bos(self, dictionary: Dictionary, model: LanguageModel, bos: bool) -> None:
        with suppress(PytestSAEError):  # a tokenizer without BOS, an encoder with its own frame
            place = elsewhere.declared(model, dictionary.info)
            (seen,) = self._seen(model, [place], dictionary, not bos)
            what = "texts without BOS" if bos else "texts that begin with BOS"
            advice = f"set prepend_bos to {str(not bos).lower()} in its metadata"
            self._try("wrong BOS", what, dictionary, seen, advice=advice)

    def _try_dtype(self, first: Dictionary) -> None:
        if self.wanted.dtype not in _HALF:
            return
        with suppress(PytestSAEError):
            dictionary = self._load("float32")
            model = self._model(self.wanted.model or str(first.info.model), "float32")
            place = elsewhere.declared(model, first.info)
            (seen,) = self._seen(model, [place], dictionary, first.info.prepend_bos is not False)
            figures = self._figures(dictionary, seen)
            self.tried.append(
                Tried("wrong dtype", "computed in float32", figures, "--sae-dtype=float32")
            )

    def _doubtful(self, measured: Measured | None, found: Sequence[Finding]) -> bool:
        """Whether models of other names are worth loading."""
        known = any(each.cause not in (UNKNOWN, SPARSITY) for each in found)
        return not known and (measured is None or measured.ev < measured.largest)

    def _try_models(self, dictionary: Dictionary, of_other_names: bool) -> None:
        """Try what the user names, other revisions of the declared model, and perhaps others."""
        for each in self._candidates(dictionary):
            if each.cause == "wrong model" and not (of_other_names or self.wanted.try_models):
                continue
            with suppress(PytestSAEError):
                model = self._model(each.pinned, self.wanted.dtype)
                place = elsewhere.declared(model, dictionary.info)
                if self._fits(dictionary, model, replace(place, cause=each.cause)):
                    bos = dictionary.info.prepend_bos is not False
                    (seen,) = self._seen(model, [place], dictionary, bos)
                    figures = self._figures(dictionary, seen)
                    what, line = f"on {each.name}", f"--sae-model={each.name}"
                    self.tried.append(Tried(each.cause, what, figures, line))
            self._models.pop((each.pinned, self.wanted.dtype), None)  # one at a time

    def _candidates(self, dictionary: Dictionary) -> Iterator[elsewhere.Candidate]:
        name = self.wanted.model or str(dictionary.info.model)
        own = name.partition("@")[0]
        for each in self.wanted.try_models:
            same = each.partition("@")[0] == own
            yield elsewhere.Candidate("wrong revision" if same else "wrong model", each, each)
        model = self._models.get((name, self.wanted.dtype))
        if model is not None:
            width = int(model.hf.config.get_text_config().hidden_size)
            yield from elsewhere.candidates(name, width)

    def _told(self, measured: Measured | None, rows: Look | None) -> Examination:
        found = suspicions(measured, self.tried, rows, self.l0)
        if self.refused:
            found = [Finding(REFUSED, self.refused), *found]
        return Examination(
            self.spec.id, self.understood, measured, self.l0, rows, self.tried, found
        )

    def _line(self, settings: Mapping[str, str]) -> str:
        """What to type for settings; empty where the family does not take them."""
        family = self.spec.family
        if settings and not set(settings) <= set(COMMON):
            if not self.understood.get("format", "").startswith("sae_lens"):
                return ""
            family = family or "sae_lens"
        if not settings:
            return ""
        pairs = [
            f"{name}={value}" for name, value in {**dict(self.spec.settings), **settings}.items()
        ]
        return f"--sae={','.join([*filter(None, [family]), *pairs])}:{self.spec.path}"

    def _model(self, name: str, dtype: str) -> LanguageModel:
        if (name, dtype) not in self._models:
            self._models[name, dtype] = load_model(name, self._device, getattr(torch, dtype))
        return self._models[name, dtype]

    @property
    def _device(self) -> str:
        if self.wanted.device != "auto":
            return self.wanted.device
        return "cuda" if torch.cuda.is_available() else "cpu"


def _l0(encode: Rebuild, x: Tensor) -> float:
    return float((applied(lambda piece: (encode(piece) != 0).sum(1), x)).double().mean())


def _as_many(count: int) -> int:
    """The next power of two, so that readings of nearly the same sparsity share components."""
    return int(2 ** math.ceil(math.log2(count)))


def _look_at(dictionary: Dictionary) -> Look | None:
    rows = dictionary.decoder_rows
    return None if rows is None else look(dictionary.encoder_rows, rows)


def _of_texts(seen: Seen, texts: Sequence[str]) -> str:
    out = f", {seen.left_out} far larger tokens left out" if seen.left_out else ""
    measured = f"{min(TEXTS, len(texts))} texts, {len(seen.x)} tokens{out}"
    return f"{measured}; components of {len(seen.others)} others"
