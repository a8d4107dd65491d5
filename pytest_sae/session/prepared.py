"""What runs read that depends on the model and the texts alone, made before there are any runs.

prepare_session(session, specs) -> problems
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_sae.activations.store import digest
from pytest_sae.activations.stream import TokenActivations, below, run
from pytest_sae.errors import PytestSAEError
from pytest_sae.session.record_activations import parts_of

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.session.session import EvalSession, LoadedSAE

_CORPUS = "corpus"


def prepare_session(session: EvalSession, specs: Sequence[SAESpec]) -> list[str]:
    """Put the activations that SAEs read into the cache: one pass of a model for all its sites.

    Args:
        session: whose texts and cache they are.
        specs: of the SAEs.

    Returns:
        Why SAEs were left out, a sentence each.

    Raises:
        PytestSAEError: texts or a cache that cannot be used.
    """
    streams: dict[str, TokenActivations] = {}
    problems = []
    for spec in specs:
        try:
            sae = session.load(spec)
        except PytestSAEError as error:
            problems.append(f"{spec.id}: {error}")
            continue
        streams |= {digest(each.key): each for each in _streams(session, sae)}
        session.release(sae)
    for _, together in groupby(sorted(streams.values(), key=_texts), _texts):
        run([*together])
    return problems


def _texts(stream: TokenActivations) -> str:
    return digest(stream.text_key)


def _streams(session: EvalSession, sae: LoadedSAE) -> Iterator[TokenActivations]:
    latents = session.latents(sae)
    for name, texts in parts_of(session.tasks).items():
        written = latents.written(texts)
        yield latents.tokens(texts)
        yield written
        # What runs splice into the layers above goes on from the stream below them.
        under = below(written) if name == _CORPUS and sae.model.predicts else None
        if under is not None:
            yield under
