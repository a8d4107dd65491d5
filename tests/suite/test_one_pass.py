"""However many families are measured, each text is run once at a site and encoded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.families import NAMES
from pytest_sae.session.session import EvalSession
from tests.sessions import options
from tests.suite.running import SAES

# It asks which questions the model can answer, and puts those again with latents clamped.
ASKING_TWICE = "unlearning"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> EvalSession:
    """A session on the bundled world that has measured everything on one SAE, some on another."""
    given = options(
        sae=(str(SAES / "topk"), str(SAES / "random")),
        cache=str(tmp_path_factory.mktemp("cache")),
        gate=False,
    )
    session = EvalSession(given)
    every = [name for name in NAMES if name != ASKING_TWICE]
    for spec, families in zip(resolve(given.sae), (every, ("tpp", "core")), strict=True):
        sae = session.load(spec)
        for family in families:
            assert session.measure(family, sae), family
        session.release(sae)
    return session


def test_no_text_is_run_again_at_a_site(session: EvalSession) -> None:
    work = session.store.work
    assert work.model_texts > 1000
    assert work.model_repeats == 0


def test_no_text_is_encoded_again_by_a_dictionary(session: EvalSession) -> None:
    work = session.store.work
    assert work.encoded_texts > 2000
    assert work.encoded_repeats == 0


def test_a_family_alone_costs_what_it_shares_with_all(session: EvalSession) -> None:
    """Every corpus family after the first encodes nothing."""
    alone = EvalSession(session.options)
    sae = alone.load(resolve([str(SAES / "topk")])[0])
    alone.measure("core", sae)
    texts = alone.store.work.encoded_texts
    assert texts == len(alone.tasks.corpus.texts)
    alone.measure("structure", sae)
    assert alone.store.work.encoded_texts == texts
    assert alone.store.work.model_passes == 0  # it was all cached


def test_only_questions_are_run_again_with_latents_clamped(session: EvalSession) -> None:
    other = EvalSession(replace(session.options, cache=None))
    sae = other.load(resolve([str(SAES / "topk")])[0])
    found = other.measure(ASKING_TWICE, sae)[0].estimate
    assert other.store.work.model_repeats <= found.n["questions"] * 2
    assert other.store.work.encoded_repeats == 0


def test_spliced_runs_are_counted_by_what_they_are_for(session: EvalSession) -> None:
    assert {"replace", "steer"} <= set(session.store.work.upper_passes)
    assert all(count > 0 for count in session.store.work.upper_passes.values())


def test_the_record_tells_bytes_and_seconds(session: EvalSession) -> None:
    record = session.describe()["work"]
    assert record["bytes_written"] == sum(
        path.stat().st_size for path in Path(session.options.cache).rglob("*.safetensors")
    )
    assert record["bytes_kept"] > 0
    assert {"model", "encode", "pool", "probes", "splice"} <= record["seconds"].keys()
    session.close()
