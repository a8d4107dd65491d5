"""Whatever a file holds, a family builds a dictionary of it or says in one sentence why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.encode import CASES, random_weights
from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.formats import registry
from pytest_sae.dictionaries.load import read
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError

OURS = (
    "sparsify",
    "llama_scope",
    "crosscoder",
    "clt",
    "switch_sae",
    "transcoder_circuits",
    "overcomplete",
    "variational",
    "signed_codes",
    "snmf",
)
SPOILERS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda t: t.T if t.dim() == 2 else t,
    "flat": lambda t: t.flatten(),
    "deeper": lambda t: t[None],
    "of two": lambda t: torch.stack([t, t]),
    "empty": lambda t: t.flatten()[:0],
    "one number": lambda t: t.flatten()[0] if t.numel() else t.sum(),
    "shorter": lambda t: t[: len(t) // 2] if t.dim() else t,
    "whole": lambda t: t.long(),
    "true": lambda t: t > 0,
    "complex": lambda t: t.to(torch.complex64),
    "half": lambda t: t.half(),
    "double": lambda t: t.double(),
    "nan": lambda t: t * torch.nan,
    "infinite": lambda t: torch.full_like(t, torch.inf) if t.is_floating_point() else t,
    "huge": lambda t: t * 3e38,
    "zero": lambda t: t * 0,
    "negative": lambda t: -(t.abs()) - 1 if t.is_floating_point() else t,
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.integers(2**62, 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["in", "out", "k"]), st.floats() | st.text(max_size=3)),
)


@cache
def whole(name: str) -> Content:
    with TemporaryDirectory() as directory:
        path = CASES[name].write(random_weights(d_in=24, d_sae=32), Path(directory))
        return read(path, CASES[name].settings)


def built_or_refused(name: str, what: Content) -> None:
    """As if the user had forced the family; any exception but DictionaryError fails the test."""
    registry.family(name).recognise(what)
    said = what.source
    try:
        prove(registry.family(name).build(what, device="cpu", dtype=None))
    except DictionaryError as error:
        said = str(error)
    assert what.source in said
    assert len(said) < 2000


def change(content: Content, name: str, value: Any) -> Content:
    return replace(content, config={**content.config, name: value})


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_spoiled_tensor_is_refused_or_harmless(name: str, spoiler: str) -> None:
    what = whole(name)
    for tensor in what.tensors:
        spoiled = {**what.tensors, tensor: SPOILERS[spoiler](what.tensors[tensor])}
        built_or_refused(name, replace(what, tensors=spoiled))


@pytest.mark.parametrize("name", OURS)
def test_a_missing_tensor_is_refused_or_harmless(name: str) -> None:
    what = whole(name)
    for missing in what.tensors:
        left = {each: tensor for each, tensor in what.tensors.items() if each != missing}
        built_or_refused(name, replace(what, tensors=left))
    with pytest.raises(DictionaryError):
        registry.family(name).build(replace(what, tensors={}), device="cpu", dtype=None)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("other", CASES)
def test_another_familys_content_is_refused_or_understood(name: str, other: str) -> None:
    built_or_refused(name, replace(whole(other), settings=dict(CASES[name].settings)))


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_configuration_and_setting_is_understood_or_refused(
    name: str, data: st.DataObject
) -> None:
    what = whole(name)
    keys = sorted({*what.config, "k", "trainer", "config", "use_batch_topk", "k_active_neurons"})
    for _ in range(data.draw(st.integers(1, 2))):
        what = change(what, data.draw(st.sampled_from(keys)), data.draw(VALUES))
    known = [*getattr(registry.family(name), "SETTINGS", ()), "site", "nonsense"]
    given_settings = data.draw(
        st.dictionaries(st.sampled_from(known), st.text(max_size=4) | st.just("topk"), max_size=2)
    )
    built_or_refused(name, replace(what, settings={**what.settings, **given_settings}))
