"""The command that measures one value again: complete, and of this one alone."""

from __future__ import annotations

import shlex

import pytest

from pytest_sae.options import FLAGS, add_options
from pytest_sae.records.rerun import SWITCHES, rerun

TEST = "evals/t.py::test_it[topk_1-l0]"


def command(*argv: str, saes: dict[str, str] | None = None) -> list[str]:
    found = {"topk_1": "saes/topk-1"} if saes is None else saes
    return shlex.split(rerun(TEST, "topk_1", found, argv))


def test_an_sae_is_named_alone_where_its_id_does_not_depend_on_the_others() -> None:
    saes = {"topk_1": "saes/topk-1", "b": "saes/b"}
    assert command(saes=saes) == ["pytest", TEST, "--sae=saes/topk-1"]
    glob = {"topk_1": "saes/*", "b": "saes/*"}
    assert command(saes=glob) == ["pytest", TEST, "--sae=saes/*"]
    renamed = {"topk_1": "one/sae", "b": "two/sae"}
    assert command(saes=renamed) == ["pytest", TEST, "--sae=one/sae", "--sae=two/sae"]
    assert command(saes={}) == ["pytest", TEST]
    named = {"topk_1": "topk_1@other/sae", "b": "saes/b"}
    assert command(saes=named) == ["pytest", TEST, "--sae=topk_1@other/sae"]


@pytest.mark.parametrize(
    "flag", [flag.name for flag in FLAGS if flag.name not in ("shard", "require")]
)
def test_a_flag_that_decides_what_is_measured_is_kept_however_it_is_typed(flag: str) -> None:
    for typed in ([f"--sae-{flag}=x y"], [f"--sae-{flag}", "x y"]):
        assert command("evals", *typed, "-x")[3:] == [f"--sae-{flag}=x y"]


@pytest.mark.parametrize(
    "typed",
    [["--sae", "saes/b"], ["--sae=saes/b"], ["--sae-shard=1/2"], ["--sae-baseline-update"],
     ["-n", "2"], ["-k", "l0"], ["evals/other.py"], ["--sae-audit"], ["-q"], ["--junitxml=x"]],
)  # fmt: skip
def test_what_would_measure_more_or_elsewhere_is_left_out(typed: list[str]) -> None:
    assert command(*typed) == ["pytest", TEST, "--sae=saes/topk-1"]


def test_every_switch_is_known_to_take_no_value() -> None:
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    switches = {
        name
        for option in parser.getgroup("sae").options
        if option.attrs()["nargs"] == 0
        for name in option.names()
    }
    assert switches == set(SWITCHES)


def test_switches_and_what_pytest_itself_depends_on_are_kept() -> None:
    typed = ["--sae-no-gate", "evals", "-c", "my.ini", "-p", "no:x", "--rootdir=."]
    assert command(*typed)[3:] == ["--sae-no-gate", "-c", "my.ini", "-p", "no:x", "--rootdir=."]


def test_tests_of_an_installed_package_are_named_by_their_module() -> None:
    argv = ["--pyargs", "pytest_sae.evals", "--sae=saes/topk-1"]
    told = rerun("test_core.py::test_it[topk_1-l0]", "topk_1", {"topk_1": "saes/topk-1"}, argv)
    assert told == (
        "pytest --pyargs 'pytest_sae.evals.test_core::test_it[topk_1-l0]' --sae=saes/topk-1"
    )
