"""Measuring a dictionary on recorded activations: does it fit, on which texts, and its latents.

fitted(recording, sae, dictionary, model) -> the site that it writes
corpus_of(recording, sizes, seed) -> Tasks
RecordedLatents(recording, dictionary, store, progress, written_site)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_sae.activations.latents import Latents, Progress
from pytest_sae.activations.recording import Column, Recording
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import TokenActivations
from pytest_sae.data import build
from pytest_sae.data.labelled_texts import LabelledTexts
from pytest_sae.data.tasks import Sizes, Tasks
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo, site_width
from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models.site import Site
from pytest_sae.numbers.estimate import Estimate, no_data

NO_TASKS = "the recording has no tasks: name their file with --sae-data"
NO_PIECES = "the recording does not say what its tokens stand for (pieces)"


def fitted(recording: Recording, sae: str, dictionary: Dictionary, model: str | None) -> Site:
    """Check that a dictionary belongs to a recording; return the site that it writes.

    What the dictionary does not declare is taken to be what was recorded.

    Args:
        recording: opened.
        sae: the dictionary's name in the run.
        dictionary: its declared model, sites, BOS and widths are compared.
        model: the value of --sae-model, which overrides what is declared.

    Returns:
        The site, as the recording describes it.

    Raises:
        ModelError: another model, width or BOS; the message names both.
        SiteError: another site.
    """
    info = dictionary.info
    _check_model(recording, sae, model or info.model)
    _check_bos(recording, sae, info)
    site_out = _site_out(recording, sae, info)
    widths = recording.about.widths
    second = "y" if site_out is not recording.site else "x"
    for name, width, column in (
        ("d_in", site_width(dictionary), "x"),
        ("d_out", dictionary.d_out, second),
    ):
        if width != widths[column]:
            raise ModelError(
                f"SAE {sae!r} has {name} {width}, but the vectors {column} of "
                f"{recording.directory} are {widths[column]} wide: was it trained on another site?"
            )
    return site_out


def corpus_of(recording: Recording, sizes: Sizes, seed: int) -> Tasks:
    """Return the recorded texts as the corpus of a run that has no other data, without tasks.

    Args:
        recording: opened.
        sizes: how many texts are taken.
        seed: of the choice.

    Raises:
        DataError: fewer texts than a corpus needs.
    """
    source = str(recording.directory)
    found = build.corpus(LabelledTexts(source, recording.texts, {}), sizes, seed)
    return build.collect(found, (), (), source)


def without_tasks(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return a family's estimates as without data, for a recording that is all the data."""
    return [no_data(each.metric, NO_TASKS, each.params) for each in estimates]


class RecordedLatents(Latents):
    """What a dictionary makes of recorded texts.

    Args:
        recording: gives the activations.
        dictionary: encodes.
        store: keeps what is computed from them.
        progress: called with (stage, done, total).
        written_site: from `fitted`.
    """

    def __init__(
        self,
        recording: Recording,
        dictionary: Dictionary,
        store: Store,
        progress: Progress,
        written_site: Site,
    ) -> None:
        context = recording.about.context or 0
        model, site = recording.model, recording.site
        super().__init__(dictionary, model, site, store, context, progress, written_site)
        self.recording = recording

    def can_read(self, texts: Sequence[str]) -> bool:
        """Whether all of the texts were recorded."""
        return self.recording.has(texts)

    def _stream(self, texts: tuple[str, ...], site: Site) -> TokenActivations:
        if (texts, site) not in self._streams:
            column: Column = "x" if site == self.site else "y"
            self._streams[texts, site] = self.recording.stream(texts, self.store, column)
        return self._streams[texts, site]


def _check_model(recording: Recording, sae: str, named: str | None) -> None:
    recorded = recording.about.model.name
    if named is None or named == recorded or Path(named).resolve() == Path(recorded).resolve():
        return
    raise ModelError(
        f"SAE {sae!r} belongs to the model {named}, but {recording.directory} was recorded of "
        f"{recorded}. Expected the same model: if it is that one under another name, say "
        f"--sae-model={recorded}."
    )


def _check_bos(recording: Recording, sae: str, info: DictionaryInfo) -> None:
    declared, recorded = info.prepend_bos, recording.about.prepend_bos
    if declared is None or recorded is None or declared == recorded:
        return
    raise ModelError(
        f"SAE {sae!r} declares prepend_bos = {declared}, but {recording.directory} was recorded "
        f"with {recorded}. Expected the same: record again {'with' if declared else 'without'} BOS."
    )


def _site_out(recording: Recording, sae: str, info: DictionaryInfo) -> Site:
    about = recording.about
    names = (about.site.hook_name, about.site.module)
    if info.hook_in and info.hook_in not in names:
        raise SiteError(
            f"SAE {sae!r} reads {info.hook_in}, but {recording.directory} holds {names[0]}. "
            f"Expected a recording of {info.hook_in}; if that is another name of the same tensor, "
            f"say --sae=site={names[0]}:{info.source}."
        )
    if info.hook_out in (None, info.hook_in, *names):
        return recording.site
    written = about.written
    if written is None or info.hook_out not in (written.hook_name, written.module):
        there = written.hook_name if written else "no second site"
        raise SiteError(
            f"SAE {sae!r} writes {info.hook_out}, but {recording.directory} holds {there}. "
            f"Expected a recording with --written={info.hook_out}."
        )
    return recording.written_site
