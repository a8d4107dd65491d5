"""Whatever a file holds, it loads or it is refused; nothing else ever happens."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError

KEYS = (
    "d_in",
    "d_sae",
    "k",
    "architecture",
    "apply_b_dec_to_input",
    "normalize_activations",
    "rescale_acts_by_decoder_norm",
    "reshape_activations",
    "dtype",
    "device",
    "metadata",
    "sae_lens_version",
    "activation_fn",
    "activation_fn_kwargs",
    "d_out",
    "residual_threshold",
    "max_iterations",
    "stop_on_duplicate_support",
)
INNER = (
    "model_name",
    "hook_name",
    "hook_name_out",
    "context_size",
    "prepend_bos",
    "sae_lens_version",
    "training_architecture",
    "training_architecture_details",
    "model_from_pretrained_kwargs",
    "hook_head_index",
)
scalars = st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.text(max_size=5)
odd = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars)
ARCHITECTURES = ("topk", "abstopk", "jumprelu", "standard", "transcoder", "matching_pursuit")
names = st.sampled_from([*ARCHITECTURES, "relu", "none", "5.1.0", "6.0.0"])
quietly = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
Changes = dict[str, Any]


def loads_or_is_refused(directory: Path) -> None:
    with contextlib.suppress(DictionaryError):
        assert load(directory).d_in == 32


@pytest.fixture
def broken(copy_of: Callable[[str], Path]) -> Path:
    return copy_of("topk")


@quietly
@given(
    st.dictionaries(st.sampled_from(KEYS), odd | names, max_size=2),
    st.dictionaries(st.sampled_from(INNER), odd | names, max_size=2),
    st.sets(st.sampled_from(KEYS), max_size=2),
)
def test_any_configuration(broken: Path, outer: Changes, inner: Changes, removed: set[str]) -> None:
    path = broken / "cfg.json"
    original = path.read_text()
    config = json.loads(original)
    config["metadata"].update(inner)
    config.update(outer)
    path.write_text(json.dumps({key: config[key] for key in config if key not in removed}))
    try:
        loads_or_is_refused(broken)
    finally:
        path.write_text(original)


@quietly
@given(st.integers(0, 1000), st.binary(min_size=1, max_size=9))
def test_any_damage_to_the_header_of_the_weights(broken: Path, place: int, new: bytes) -> None:
    path = broken / "sae_weights.safetensors"
    original = path.read_bytes()
    path.write_bytes(original[:place] + new + original[place + len(new) :])
    try:
        loads_or_is_refused(broken)
    finally:
        path.write_bytes(original)


@quietly
@given(st.binary(max_size=60))
def test_any_bytes_as_weights_or_configuration(broken: Path, content: bytes) -> None:
    for name in ("sae_weights.safetensors", "cfg.json"):
        path = broken / name
        original = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(DictionaryError):
            load(broken)
        path.write_bytes(original)
