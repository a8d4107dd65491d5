"""Dictionaries before a run: their files, and their sites as far as a configuration tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.errors import ModelError, PytestSAEError
from pytest_sae.run.checked import Checked, State, checked

if TYPE_CHECKING:
    from pytest_sae.activations.recording import Recording
    from pytest_sae.data.tasks import Spelling
    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.models.model import LanguageModel
    from pytest_sae.run.estimate import Costs


@dataclass(frozen=True)
class NeededWords:
    """What absorption needs of a vocabulary.

    Args:
        spelling: of the run's data.
        most: words that the suite takes.
        gates: whether a rule gates on it.
    """

    spelling: Spelling
    most: int | None
    gates: bool


class Outlines:
    """Models of their configurations alone, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, LanguageModel | ModelError] = {}

    def of(self, name: str) -> LanguageModel:
        """Return a model without weights.

        Raises:
            ModelError: it cannot be found, or is none that can be measured.
        """
        from pytest_sae.models.load import outline

        if name not in self._made:
            try:
                self._made[name] = outline(name)
            except ModelError as error:
                self._made[name] = error
        made = self._made[name]
        if isinstance(made, ModelError):
            raise made
        return made


@dataclass(frozen=True)
class Beside:
    """What the run has beside its dictionaries.

    Args:
        outlines: of models that were looked at before.
        context: most tokens of a text.
        model: in place of the declared one, None for that.
        words: what absorption needs, None where nothing of it is known.
        recording: the recorded activations, None where there are none that can be read.
        recorded: whether the run is on recorded activations, and needs no model.
        costs: estimates what the run will cost, None where nobody asks.
    """

    outlines: Outlines
    context: int
    model: str | None = None
    words: NeededWords | None = None
    recording: Recording | None = None
    recorded: bool = False
    costs: Costs | None = None


def saes(text: str, beside: Beside) -> Iterator[Checked]:
    """Give what is found of all dictionaries that a value of --sae names.

    Args:
        text: the value.
        beside: what else the run has.
    """
    from pytest_sae.dictionaries.spec import resolve

    try:
        specs = resolve([text])
    except PytestSAEError as error:
        yield Checked(f"SAE {text}", str(error), "bad")
        return
    for spec in specs:
        yield from _sae(spec, beside)


def _sae(spec: SAESpec, beside: Beside) -> Iterator[Checked]:
    from pytest_sae.session.remarks import remarks

    read: list[Dictionary] = []

    def look() -> str:
        read.append(_load(spec, beside.recorded))
        return _told(read[0])

    yield checked(f"SAE {spec.id}", look)
    for dictionary in read:
        for said in remarks(dictionary.info, beside.context, beside.recorded):
            yield Checked(f"SAE {spec.id}", said, "note")
        if beside.recorded:
            yield from _recorded(spec, dictionary, beside)
            continue
        yield from _unknown(spec, dictionary.info)
        info = replace(dictionary.info, model=beside.model or dictionary.info.model)
        what = f"model {info.model} of {spec.id}"
        yield from _placed(dictionary, str(info.model), what, beside.words, beside.outlines)
        if beside.costs:
            yield _estimated(spec, dictionary, str(info.model), beside)


def _estimated(spec: SAESpec, dictionary: Dictionary, model: str, beside: Beside) -> Checked:
    """What measuring it will cost, stage by stage."""
    from pytest_sae.session.loaded import sites_of

    costs = beside.costs
    assert costs is not None

    def look() -> str:
        outline = beside.outlines.of(model)
        found = costs.of(dictionary, outline, sites_of(dictionary.info, outline))
        return "\n".join(("estimated", *(f"     {line}" for line in found.table)))

    return checked(f"cost of {spec.id}", look)


def _unknown(spec: SAESpec, info: DictionaryInfo) -> Iterator[Checked]:
    """What nothing says, and the run finds out."""
    if info.perhaps:
        said = f"nothing says whether its model had {', '.join(info.perhaps)} in training"
        tried = "the run tries both on its first texts, and refuses if it matters"
        yield Checked(f"SAE {spec.id}", f"{said}: {tried}", "note")


def _recorded(spec: SAESpec, dictionary: Dictionary, beside: Beside) -> Iterator[Checked]:
    """Whether the recorded activations are those that it reads."""
    from pytest_sae.measure.recorded_latents import fitted

    recording = beside.recording
    if recording is None:
        return  # it was said before why

    def look() -> str:
        fitted(recording, spec.id, dictionary, beside.model)
        return f"recorded at {recording.about.site.hook_name}, which is what it reads"

    yield checked(f"activations of {spec.id}", look)


def _load(spec: SAESpec, recorded: bool) -> Dictionary:
    from pytest_sae.dictionaries.load import load
    from pytest_sae.dictionaries.preflight import require_site

    dictionary = load(spec.path, family=spec.family, settings=spec.settings)
    if not recorded:  # else what it does not declare is what was recorded
        require_site(dictionary.info)
    return dictionary


def _told(dictionary: Dictionary) -> str:
    from pytest_sae.dictionaries.base import site_width

    info = dictionary.info
    written = "" if info.hook_out in (None, info.hook_in) else f" to {info.hook_out}"
    return (
        f"{info.family}, {dictionary.d_sae} latents of {site_width(dictionary)} inputs, "
        f"{info.hook_in}{written} of {info.model}"
    )


def _placed(
    dictionary: Dictionary, name: str, what: str, words: NeededWords | None, outlines: Outlines
) -> Iterator[Checked]:
    """What its model is, whether it is here, and whether it has the dictionary's sites."""
    try:
        model = outlines.of(name)
    except PytestSAEError as error:
        yield Checked(what, str(error), "bad")
        return
    yield checked(what, lambda: _fitted(dictionary, model))
    if not Path(name).expanduser().exists() and name != _world():
        yield _cached(name, what)
    if words is not None:
        yield from _spelled(model, what, words)


def _fitted(dictionary: Dictionary, model: LanguageModel) -> str:
    """Look for the sites, and compare their widths where the configuration tells them."""
    from pytest_sae.dictionaries.base import site_width
    from pytest_sae.models.outline import width
    from pytest_sae.session.loaded import sites_of

    site, site_out = sites_of(dictionary.info, model)
    pairs = ((site, site_width(dictionary), "d_in"), (site_out, dictionary.d_out, "d_out"))
    for each, own, size in pairs:
        found = width(model, each)
        if found not in (None, own):
            raise ModelError(
                f"{each.hook_name} is {found} wide there, and the SAE has {size} {own}: was it "
                "trained on another model? Pass --sae-model."
            )
    return (
        f"{type(model.hf).__name__} of {model.layers} blocks, has {site.hook_name} ({site.reads})"
    )


def _world() -> str:
    from pytest_sae.models.load import WORLD

    return WORLD


def _cached(name: str, what: str) -> Checked:
    """Whether a model of the hub is on this machine."""
    from huggingface_hub import constants

    from pytest_sae.models import hub

    named = hub.parse(name)
    try:
        here = hub.weights_cached(name)
    except PytestSAEError as error:
        return Checked(f"weights of {what}", str(error), "bad")
    if here:
        return Checked(f"weights of {what}", "in the hub's cache")
    command = hub.download_command(named)
    if constants.HF_HUB_OFFLINE:
        said = f"not in the hub's cache, and HF_HUB_OFFLINE is set. Expected them there: {command}"
        return Checked(f"weights of {what}", said, "bad")
    said = f"not in the hub's cache: the run will fetch them, or do so before it: {command}"
    return Checked(f"weights of {what}", said, "note")


def _spelled(model: LanguageModel, what: str, words: NeededWords) -> Iterator[Checked]:
    """Whether its vocabulary has words enough for absorption."""
    from pytest_sae.measure.absorption import why_not

    problem = why_not(model.tokenizer, words.spelling, words.most, 0)
    if problem:
        state: State = "bad" if words.gates else "note"
        yield Checked(f"absorption with the {what}", problem, state)
