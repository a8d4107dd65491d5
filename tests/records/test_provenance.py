"""What workers say about themselves."""

from __future__ import annotations

from dataclasses import replace

from pytest_sae.records.provenance import Provenance, united


def test_what_workers_say_is_united_whoever_did_what() -> None:
    one = {"device": "cpu", "models": {"a": "1"}, "work": {"passes": 3}}
    two = {"device": "cpu", "models": {"b": "2"}, "work": {"passes": 5}}
    found = united({"gw0": one, "gw1": two})
    assert found == Provenance(
        environment={"device": "cpu"}, models={"a": "1", "b": "2"}, data={},
        work={"gw0": {"passes": 3}, "gw1": {"passes": 5}},
    )  # fmt: skip
    assert one["models"] == {"a": "1"}
    both = united({"main": {**one, "models": {"a": "1", "b": "2"}}})
    assert replace(both, work={}) == replace(found, work={})
    apart = united({"gw0": one, "gw1": {**two, "device": "cuda"}})
    assert apart.environment == {"device": ["cpu", "cuda"]}
