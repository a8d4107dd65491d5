"""The family is recognised from content; settings are checked; the user can force one."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.content import (
    Content,
    check_settings,
    declared,
    switch_setting,
    whole_setting,
)
from pytest_sae.dictionaries.formats import entry_points, registry, sae_lens
from pytest_sae.dictionaries.load import load, read
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import content, random
from tests.dictionaries.formats import dictionary_learning_files
from tests.tiny import tiny_sae

quietly = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_family_keeps_the_contract(name: str) -> None:
    family = registry.family(name)
    assert name == family.NAME
    assert list(inspect.signature(family.recognise).parameters) == ["content"]
    assert list(inspect.signature(family.build).parameters) == ["content", "device", "dtype"]
    assert not family.recognise(content({}))
    assert not family.recognise(content({"weight": torch.ones(2, 2)}, {"name": "something"}))


def test_a_name_that_is_no_family_is_told_the_nearest() -> None:
    with pytest.raises(DictionaryError, match="Did you mean 'gemma_scope'") as caught:
        registry.family("gemmascope")
    assert "sae_lens, " in str(caught.value)


def test_unknown_content_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.ones(2, 3)}, path)
    with pytest.raises(DictionaryError, match="no known family") as caught:
        load(path)
    for said in ("weight (2, 3)", "configuration has nothing", "--sae=family:"):
        assert said in str(caught.value)


def test_a_hundred_tensors_and_keys_are_not_all_listed() -> None:
    many = content(
        {f"t{i}": torch.ones(1) for i in range(100)}, {f"k{i}" * 99: i for i in range(99)}
    )
    with pytest.raises(DictionaryError, match="and 88 more") as caught:
        registry.recognised(many)
    assert len(str(caught.value)) < 2000


def test_content_that_two_recognise_names_both_and_how_to_say_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = {
        name: SimpleNamespace(NAME=name, recognise=lambda content: True) for name in ("one", "two")
    }
    monkeypatch.setattr(registry, "NAMES", tuple(two))
    monkeypatch.setattr(registry, "family", two.__getitem__)
    with pytest.raises(DictionaryError, match=r"one and two.*--sae=one:my sae"):
        registry.recognised(content({}))


def test_a_family_can_be_forced(tmp_path: Path) -> None:
    directory = tiny_sae(tmp_path / "sae", "topk")
    assert load(directory, family="sae_lens").fingerprint == load(directory).fingerprint
    for name in registry.NAMES:
        if name != "sae_lens":
            with pytest.raises(DictionaryError):
                load(directory, family=name)


def test_settings_that_no_family_has_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    directory = tiny_sae(tmp_path / "sae", "topk")
    with pytest.raises(DictionaryError, match=r"'modle'.*Did you mean 'model'") as caught:
        load(directory, settings=[("modle", "gpt2")])
    valid = ", ".join((*sae_lens.SETTINGS, "model, site, site_out, ignore"))
    assert f"Expected {valid}." in str(caught.value)


def test_model_and_site_may_be_said_for_any_family(tmp_path: Path) -> None:
    directory = tiny_sae(tmp_path / "sae", "topk")
    given = [("model", "gpt2"), ("site", "transformer.h.3"), ("site_out", "transformer.h.4")]
    info = load(directory, settings=given).info
    assert (info.model, info.hook_in, info.hook_out) == (
        "gpt2",
        "transformer.h.3",
        "transformer.h.4",
    )
    assert load(directory, settings=given).fingerprint == load(directory).fingerprint


def test_settings_come_before_the_configuration_and_site_out_follows_site() -> None:
    both = {"model": "a", "hook_in": "x", "hook_out": "y"}
    info = declared(content({}), "f", **both)
    assert (info.model, info.hook_in, info.hook_out) == ("a", "x", "y")
    info = declared(content({}, site="s"), "f", model="a", hook_in="x")
    assert (info.hook_in, info.hook_out) == ("s", "s")
    assert declared(content({}), "f").hook_out is None


@pytest.mark.parametrize("value", [3, [], {}, True, 2.5])
def test_a_declared_text_that_is_none_is_refused(value: object) -> None:
    for name in ("model", "hook_in", "hook_out"):
        if value:
            with pytest.raises(DictionaryError, match="Expected a text"):
                declared(content({}), "f", **{name: value})


def test_declared_numbers_that_make_no_sense_are_left_out() -> None:
    for odd in (0, -1, True, "8", 2.5, None):
        assert declared(content({}), "f", context_size=odd).context_size is None
    assert declared(content({}), "f", context_size=8, prepend_bos=1).prepend_bos is None
    assert declared(content({}), "f", context_size=8, prepend_bos=False).context_size == 8


@pytest.mark.parametrize("text", ["0", "-1", "9", "2.0", "", "1e1", "²", "eight", "1" * 5000])
def test_a_whole_setting_is_in_range(text: str) -> None:
    with pytest.raises(DictionaryError, match="whole number from 1 to 8"):
        whole_setting(content({}, k=text), "k", most=8)
    assert whole_setting(content({}, k="8"), "k", most=8) == 8
    assert whole_setting(content({}), "k") is None


def test_a_switch_is_true_or_false() -> None:
    assert switch_setting(content({}, on="True"), "on") is True
    assert switch_setting(content({}, on="0"), "on") is False
    assert switch_setting(content({}), "on") is None
    with pytest.raises(DictionaryError, match="true or false"):
        switch_setting(content({}, on="perhaps"), "on")
    check_settings(content({}, on="1"), "f", ("on",))


def test_a_family_of_another_package_is_asked_with_the_path_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = load(tiny_sae(tmp_path / "sae", "topk"))
    asked: list[object] = []

    def foreign(name: str, path: object, **options: object) -> object:
        asked.append((name, path, options["device"]))
        return made

    monkeypatch.setattr(entry_points, "names", lambda: ("mine",))
    monkeypatch.setattr(entry_points, "load", foreign)
    assert load("hub/anything", family="mine") is made
    assert asked == [("mine", "hub/anything", "cpu")]
    with pytest.raises(DictionaryError, match="takes no settings"):
        load("hub/anything", family="mine", settings=[("k", "3")])


def test_what_is_read_is_content_without_an_opinion(tmp_path: Path) -> None:
    kind = "AutoEncoderTopK"
    found = read(dictionary_learning_files.write(tmp_path, kind), [("k", "3")])
    assert found.source == str(tmp_path)
    assert found.weights == tmp_path / "ae.pt"
    assert found.config["trainer"]["dict_class"] == kind
    assert found.tensors.keys() == dictionary_learning_files.state_dict(kind).keys()
    assert found.settings == {"k": "3"}


def test_plain_values_among_the_weights_join_the_configuration_but_may_not_contradict_it(
    tmp_path: Path,
) -> None:
    torch.save({"w": torch.ones(2), "k": 3, "kind": "topk"}, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"k": 3, "layer": 1}))
    assert read(tmp_path).config == {"k": 3, "kind": "topk", "layer": 1}
    (tmp_path / "config.json").write_text(json.dumps({"k": 4}))
    with pytest.raises(DictionaryError, match="k = 4, the weights file 3"):
        read(tmp_path)


def test_a_configuration_that_names_another_file_does_not_make_it_read(tmp_path: Path) -> None:
    save_file({"secret": torch.ones(2)}, tmp_path / "outside.safetensors")
    directory = tiny_sae(tmp_path / "sae", "topk")
    before = load(directory).fingerprint
    config = json.loads((directory / "cfg.json").read_text())
    for name in ("weights", "sae_path", "path", "checkpoint_path", "from_pretrained_path"):
        config[name] = config["metadata"][name] = "../outside.safetensors"
    (directory / "cfg.json").write_text(json.dumps(config))
    assert load(directory).fingerprint == before


names_of_tensors = st.sampled_from(
    [
        *{name for shapes in dictionary_learning_files.SHAPES.values() for name in shapes},
        *("w_enc", "w_dec", "threshold", "k", "group_sizes", "pre_bias", "latent_bias"),
        *("affine_skip_connection", "scaling_factor", "W_skip", "decoder.linear.weight"),
    ]
)
sizes = st.lists(st.sampled_from([0, 1, 2, 3]), max_size=3)
keys = st.sampled_from(
    [
        "d_in",
        "d_sae",
        "architecture",
        "trainer",
        "activation",
        "activation_state_dict",
        "k",
        "buffer",
    ]
)
odd = st.sampled_from([None, 0, 2, 3, "x", "TopK", "jumprelu", [], {}, {"k": 2}, 1.5, True])
classes = st.fixed_dictionaries(
    {"dict_class": st.sampled_from(list(dictionary_learning_files.SHAPES)) | odd},
    optional=dict.fromkeys(("k", "lm_name", "submodule_name", "layer"), odd),
)
whole = st.sampled_from(list(dictionary_learning_files.SHAPES))


@pytest.mark.parametrize("name", ["sae_lens", "dictionary_learning", "openai", "gemma_scope"])
@quietly
@given(st.dictionaries(names_of_tensors, sizes), st.dictionaries(keys, odd | classes))
def test_a_forced_family_builds_any_content_or_refuses_it(
    name: str, shapes: Mapping[str, list[int]], config: Mapping[str, Any]
) -> None:
    tensors: dict[str, Tensor] = {key: random(*shape) for key, shape in shapes.items()}
    any_content = Content("s", Path("w.pt"), config, tensors)
    family = registry.family(name)
    with contextlib.suppress(DictionaryError):
        family.build(any_content, device="cpu", dtype=None)
    assert family.recognise(any_content) in (True, False)


@quietly
@given(
    whole,
    st.dictionaries(names_of_tensors, sizes, max_size=2),
    st.dictionaries(keys, odd | classes, max_size=2),
    classes,
)
def test_content_that_is_nearly_good_is_built_or_refused(
    kind: str, changed: Mapping[str, list[int]], config: Mapping[str, Any], trainer: dict[str, Any]
) -> None:
    tensors = dictionary_learning_files.state_dict(kind)
    tensors |= {name: random(*shape) for name, shape in changed.items()}
    config = {"trainer": {**trainer, "dict_class": trainer["dict_class"] or kind}, **config}
    with contextlib.suppress(DictionaryError):
        built = registry.build(
            Content("s", Path("w.pt"), config, tensors), "", device="cpu", dtype=None
        )
        assert built.d_sae == dictionary_learning_files.M
