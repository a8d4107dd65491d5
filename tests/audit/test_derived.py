"""What follows from two values is their ratio, or nothing where one of them is missing."""

from __future__ import annotations

from pytest_sae.audit.derived import with_derived
from pytest_sae.audit.values import Observation


def test_an_unshrunk_margin_is_the_margin_over_the_relative_bias_of_the_same_measurement():
    seen = [
        Observation("a", 0, "tpp.margin", "n=20", 0.4),
        Observation("a", 1, "tpp.margin", "n=20", 0.6),
        Observation("a", 0, "relative_bias", "", 0.8),
        Observation("a", 1, "relative_bias", "", 1.0),
        Observation("b", 0, "tpp.margin", "n=20", None),
        Observation("b", 0, "relative_bias", "", 1.0),
        Observation("c", 0, "tpp.margin", "n=20", 0.3),
        Observation("c", 0, "relative_bias", "", None),
        Observation("d", 0, "tpp.margin", "n=20", 0.3),
    ]
    found = with_derived(seen)
    assert found[: len(seen)] == tuple(seen)
    assert [(o.member, o.seed, o.setting, o.value) for o in found[len(seen) :]] == [
        ("a", 0, "n=20", 0.5),
        ("a", 1, "n=20", 0.6),
        ("b", 0, "n=20", None),
        ("c", 0, "n=20", None),
    ]
